//! `litesnn report --check`: results at the paper's settings against the published numbers and
//! their tolerances.

use crate::Error;
use crate::published::find;
use crate::trials::{ExperimentResults, SeedGroup};

/// One number of print against its measured mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// `lite-snn/table4, LitE-SNN (large), accuracy: ...` with all numbers, for a person.
    pub text: String,
    /// Whether the mean is within the tolerance.
    pub inside: bool,
}

/// What was compared, and what could not be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Check {
    /// Every number that was compared.
    pub verdicts: Vec<Comparison>,
    /// Rows of ours that have no result at the paper's settings, and why.
    pub unchecked: Vec<String>,
}

impl Check {
    /// Numbers outside of their tolerance.
    pub fn outside(&self) -> impl Iterator<Item = &Comparison> {
        self.verdicts.iter().filter(|verdict| !verdict.inside)
    }
}

/// Compares every row of every published table that an experiment reproduces.
pub fn check(experiments: &[ExperimentResults]) -> Result<Check, Error> {
    let mut check = Check::default();
    for experiment in experiments {
        for name in experiment.reproduces() {
            let (publication, part) = find(name, &experiment.name)?;
            for row in publication.rows.iter() {
                let own = row.variant.as_ref().filter(|_| experiment.is_of_own_manifest(publication, part));
                // A compared system is no row that has to run.
                let ran = |variant: &&String| experiment.of_variant(variant).next().is_some();
                let elsewhere = row.elsewhere(part).map(|elsewhere| &elsewhere.variant).filter(ran);
                let (Some(variant), Some(values)) = (own.or(elsewhere), row.values(part)) else { continue };
                let (at_paper_settings, others): (Vec<&SeedGroup>, Vec<&SeedGroup>) =
                    experiment.of_variant(variant).partition(|group| group.not_comparable(name).is_none());
                if at_paper_settings.is_empty() {
                    let mut reasons: Vec<String> =
                        others.into_iter().filter_map(|group| why_not(group, name)).collect();
                    reasons.dedup();
                    let why = match reasons.is_empty() {
                        true => "not run".to_owned(),
                        false => format!("not comparable ({})", reasons.join("; ")),
                    };
                    check.unchecked.push(format!("{name}, {}: {why}", row.name));
                }
                for group in at_paper_settings {
                    for (quantity, printed) in values {
                        let (Some(tolerance), Some(value)) = (row.tolerance(part, *quantity), printed.value) else {
                            continue;
                        };
                        let metric = quantity.metric(row.count);
                        let (mean, deviation) = group.measured(&metric);
                        let expected = tolerance.expected.unwrap_or(value);
                        let allowed = tolerance.allowed(expected);
                        let shown = |value: f64| metric.format_finely(value);
                        let mut text = format!(
                            "{name}, {}, {}: measured {} ({}), published {}",
                            row.name,
                            metric.heading(),
                            metric.format_spread(mean, deviation),
                            group.seeds(),
                            printed.text
                        );
                        if tolerance.expected.is_some() {
                            text.push_str(&format!(", expected {}", shown(expected)));
                        }
                        text.push_str(&format!(", tolerance ± {}", shown(allowed)));
                        if let Some(mixed) = group.mixed() {
                            text.push_str(&format!(" (mixes results of different machines, {mixed})"));
                        }
                        // No number is not a number within the tolerance.
                        check.verdicts.push(Comparison { text, inside: (mean - expected).abs() <= allowed });
                    }
                }
            }
        }
    }
    Ok(check)
}

/// Why a row is not compared, with the profile that it was run with.
fn why_not(group: &SeedGroup, name: &str) -> Option<String> {
    let why = group.not_comparable(name)?;
    let profile = &group.first().profile;
    Some(if profile.is_empty() { why } else { format!("profile {profile}: {why}") })
}
