//! The plan: every trial of a manifest, in the order in which trials can run.

use std::path::PathBuf;

use super::comparisons::{Comparison, comparisons};
use super::file::Mark;
use super::layers::{Request, stack};
use super::planner::{Planner, Surroundings};
use super::spelling::{did_you_mean, listed};
use super::stack::Stack;
use super::sweep::sweep;
use super::tree::{Tree, lookup, path};
use super::trial::Trial;
use super::variants::{Variant, variants};
use crate::ground::{ConfigLayer, Problem};
use crate::{Error, Result};

/// What a manifest asks for.
#[derive(Debug)]
pub struct Plan {
    /// Name of the experiment.
    pub name: String,
    /// One sentence for the report.
    pub description: String,
    /// The profile that was chosen.
    pub profile: Option<String>,
    /// The manifest.
    pub source: PathBuf,
    /// The trials. A trial comes after the one whose design it takes; apart from that they are in
    /// the order of the variants, then of the points of the sweep, then of the seeds.
    pub trials: Vec<Trial>,
    /// The rows that are compared, in the order of the manifest.
    pub comparisons: Vec<Comparison>,
}

impl Plan {
    /// The trials that `wanted` names and those that they wait for, in the same order, with the
    /// comparisons of which a trial of both rows is left.
    #[must_use]
    pub fn only(self, wanted: impl Fn(&Trial) -> bool) -> Plan {
        let mut kept: Vec<bool> = self.trials.iter().map(wanted).collect();
        // A trial stands before those that wait for it.
        for index in (0..self.trials.len()).rev().filter(|index| kept[*index]).collect::<Vec<_>>() {
            let mut waits_for = vec![index];
            while let Some(index) = waits_for.pop() {
                kept[index] = true;
                waits_for.extend(self.trials[index].depends_on.into_iter().chain(self.trials[index].taught_by));
            }
        }
        let places: Vec<usize> =
            kept.iter().scan(0, |count, kept| Some(std::mem::replace(count, *count + usize::from(*kept)))).collect();
        let of_row = |row: usize| {
            let is_there = |index: &usize| kept[*index] && self.trials[*index].is_of_row(&self.trials[row]);
            (0..self.trials.len()).find(is_there).map(|index| places[index])
        };
        let pair = |compared: &Comparison| Some(Comparison { a: of_row(compared.a)?, b: of_row(compared.b)? });
        let comparisons = self.comparisons.iter().filter_map(pair).collect();
        let moved = |trial: Trial| Trial {
            depends_on: trial.depends_on.map(|index| places[index]),
            taught_by: trial.taught_by.map(|index| places[index]),
            ..trial
        };
        let trials =
            self.trials.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(trial, _)| moved(trial)).collect();
        Plan { trials, comparisons, ..self }
    }
}

/// Reads a manifest with all its layers and lays out its trials; the error lists every problem that
/// was found.
pub fn load(request: &Request) -> Result<Plan> {
    lay_out(request, &|_, _| Vec::new())
}

/// [`load`], with the problems that the settings of a trial have with their surroundings.
pub(super) fn lay_out(request: &Request, surroundings: &Surroundings) -> Result<Plan> {
    let mut problems = Vec::new();
    let base = stack(request, &mut problems).map_err(Error::Manifest)?;
    let merged = base.merged();
    problems.extend(unknown_publication(request, &base, &merged));
    let variants = variants(&base, &merged, &mut problems);
    let sweep = sweep(&base, &merged, &mut problems);
    let mut planner = Planner::new(&base, request, &variants, &sweep, surroundings);
    planner.plan(&mut problems);
    let (trials, found) = planner.into_trials();
    gather(found, &variants, &mut problems);
    let comparisons = comparisons(&base, &merged, &trials, &mut problems);
    let (name, description) = trials.first().map_or_else(Default::default, |trial| {
        let experiment = &trial.manifest.experiment;
        (experiment.name.clone(), experiment.description.clone())
    });
    if !problems.is_empty() {
        // In the order of the files; what has no place comes last.
        problems.sort_by_key(|problem| {
            problem.location.as_ref().map_or((true, PathBuf::new(), 0), |at| (false, at.path.clone(), at.offset))
        });
        problems.dedup_by(|one, other| same(one, other));
        return Err(Error::Manifest(problems));
    }
    let (profile, source) = (request.profile.clone(), request.manifest.clone());
    Ok(Plan { name, description, profile, source, trials, comparisons })
}

/// A publication that nobody knows would be found by the report, when all is trained.
fn unknown_publication(request: &Request, base: &Stack, merged: &Tree) -> Option<Problem> {
    let at = path(["experiment", "reproduces"]);
    let name = lookup(merged, &at)?.as_str()?;
    let known = &request.publications;
    (!known.is_empty() && !known.iter().any(|known| known == name)).then(|| {
        let message = format!("`experiment.reproduces` cannot be `{name}`{}", did_you_mean(name, known));
        base.problem(&at, Mark::Value, message, Some(format!("known are {}", listed(known))))
    })
}

/// Adds the problems of the variants, each once. One that depends on the variant names those that
/// it concerns.
fn gather(found: Vec<(usize, Problem)>, variants: &[Variant], problems: &mut Vec<Problem>) {
    let mut distinct: Vec<(Problem, Vec<usize>)> = Vec::new();
    for (variant, problem) in found {
        match distinct.iter_mut().find(|(other, _)| same(other, &problem)) {
            Some((_, concerned)) if concerned.contains(&variant) => {}
            Some((_, concerned)) => concerned.push(variant),
            None => distinct.push((problem, vec![variant])),
        }
    }
    for (mut problem, concerned) in distinct {
        if depends_on_variant(&problem, &concerned, variants) {
            let names: Vec<&str> = concerned.iter().map(|index| variants[*index].name.as_str()).collect();
            problem.message = format!("in variant {}: {}", listed(&names), problem.message);
        }
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

/// Whether two problems are one: what several variants take from one axis is wrong once.
fn same(one: &Problem, other: &Problem) -> bool {
    let of_variant = |problem: &Problem| matches!(problem.layer, ConfigLayer::Variant(_));
    let one_place = one.location.is_some() && one.location == other.location && one.message == other.message;
    one == other || one_place && of_variant(one) && of_variant(other)
}

/// Whether a problem is not there in every variant that has the same setting.
fn depends_on_variant(problem: &Problem, concerned: &[usize], variants: &[Variant]) -> bool {
    if matches!(problem.layer, ConfigLayer::Variant(_) | ConfigLayer::Sweep) {
        return false;
    }
    let key: Vec<String> = problem.key.iter().flat_map(|key| key.split('.')).map(str::to_owned).collect();
    let setter = |variant: &Variant| variant.stack.origin(&key).map(|overlay| overlay.layer.clone());
    let is_set = concerned.iter().any(|index| setter(&variants[*index]).is_some());
    let alike = |variant: &&Variant| !is_set || setter(variant).as_ref() == Some(&problem.layer);
    concerned.len() < variants.iter().filter(alike).count()
}

#[cfg(test)]
mod tests;
