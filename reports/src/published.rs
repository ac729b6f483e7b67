//! The numbers of published tables, kept as data under `published/`, and what they are compared
//! with.
//!
//! A manifest says `reproduces = "lite-snn/table4"`; that is the name of a [`Reproduction`] of a
//! [`Publication`]. Its rows are the rows of the printed table; one with a `variant` is repeated by
//! that variant of the manifest. A row of another system may be repeated by the manifest of that
//! system ([`PrintedRow::elsewhere`]).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::Error;
use crate::metric::{self, Metric};

/// One file of `published/`: a table of a paper, or a figure without printed numbers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Publication {
    /// Heading.
    pub title: String,
    /// Where it is printed.
    pub source: String,
    /// The printed columns; empty for a figure.
    #[serde(default)]
    pub columns: Vec<Quantity>,
    /// It is a figure over the points of a sweep, which may also be variants.
    #[serde(default)]
    pub sweep: bool,
    /// What a reader has to know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The parts that a manifest can reproduce.
    #[serde(rename = "part")]
    pub parts: Vec<Reproduction>,
    /// The rows, in print's order.
    #[serde(default, rename = "row")]
    pub rows: Vec<PrintedRow>,
    /// Lines of the figure that compares schemes of optimization over scales.
    pub schemes: Option<Schemes>,
}

/// What one manifest reproduces: a table, or the columns of one data set in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reproduction {
    /// What `reproduces` says.
    pub name: String,
    /// Key of its values in the rows.
    #[serde(default)]
    pub values: String,
    /// Data set.
    pub data: String,
    /// The recorded titles of that data set, whole and in its official files. They speak for
    /// records that have no `data_edition`.
    pub titles: Vec<String>,
    /// The manifest of this project that reproduces it.
    pub manifest: String,
    /// How far a mean may be from print. What has none is shown, not checked.
    #[serde(default)]
    pub tolerance: BTreeMap<Quantity, Tolerance>,
}

/// A printed row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrintedRow {
    /// Heading of the block of rows that it stands in.
    pub block: Option<String>,
    /// First column.
    pub name: String,
    /// Key of the reference; the name without it.
    pub cite: Option<String>,
    /// The variant of the part's manifest that repeats it.
    pub variant: Option<String>,
    /// What repeats it in place of the part's manifest: a manifest of its own system, by part.
    #[serde(default)]
    pub elsewhere: BTreeMap<String, Elsewhere>,
    /// Which operations it counts.
    #[serde(default)]
    pub count: Count,
    /// Tolerances that differ from the part's.
    #[serde(default)]
    pub tolerance: BTreeMap<Quantity, Tolerance>,
    /// The numbers by part.
    pub values: BTreeMap<String, BTreeMap<Quantity, Printed>>,
}

/// A variant of the manifest of a compared system.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// The manifest of this project; it says that it reproduces the part.
    pub manifest: String,
    /// The variant.
    pub variant: String,
}

/// Which operations a row counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Count {
    /// Those of the spiking network.
    #[default]
    Snn,
    /// Those of an ANN of the same network.
    Ann,
}

/// How far a mean may be from the published number.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// In the quantity's unit.
    pub absolute: Option<f64>,
    /// As a fraction of the expected number.
    pub relative: Option<f64>,
    /// The number that is expected, where it is not the printed one.
    pub expected: Option<f64>,
}

impl Tolerance {
    /// The largest difference from `expected` that is allowed.
    pub fn allowed(&self, expected: f64) -> f64 {
        self.absolute.unwrap_or(0.0) + self.relative.unwrap_or(0.0) * expected.abs()
    }
}

/// The schemes of optimization and the scales that they are compared at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schemes {
    /// Names of the scales.
    pub scales: Vec<String>,
    /// The schemes.
    pub scheme: Vec<Scheme>,
}

/// A scheme with its variant at each scale.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// Name.
    pub name: String,
    /// A variant for each scale.
    pub variants: Vec<String>,
}

/// A column of a published table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // The names say it.
pub enum Quantity {
    Accuracy,
    ModelSize,
    BitSynops,
    Bitwidth,
    Timesteps,
    /// Search and retraining together.
    WholeCost,
    /// The search.
    DesignCost,
    RetrainCost,
    Additions,
    Multiplications,
    Energy,
}

impl Quantity {
    /// The quantity as it is measured here, in the printed unit.
    pub fn metric(self, count: Count) -> Metric {
        match (self, count) {
            (Quantity::Accuracy, _) => metric::PUBLISHED_ACCURACY,
            (Quantity::ModelSize, _) => metric::PUBLISHED_MODEL_SIZE,
            (Quantity::BitSynops, _) => metric::PUBLISHED_BIT_SYN_OPS,
            (Quantity::Bitwidth, _) => metric::PUBLISHED_BITS,
            (Quantity::Timesteps, _) => metric::TIMESTEPS,
            (Quantity::WholeCost, _) => metric::COST_IN_DAYS.whole,
            (Quantity::DesignCost, _) => metric::COST_IN_DAYS.search,
            (Quantity::RetrainCost, _) => metric::COST_IN_DAYS.retrain,
            (Quantity::Additions, Count::Snn) => metric::ADDITIONS,
            (Quantity::Multiplications, Count::Snn) => metric::MULTIPLICATIONS,
            (Quantity::Energy, Count::Snn) => metric::PUBLISHED_ENERGY,
            (Quantity::Additions | Quantity::Multiplications, Count::Ann) => metric::ANN_OPERATIONS,
            (Quantity::Energy, Count::Ann) => metric::ANN_ENERGY,
        }
    }
}

/// A number as it is printed: `95.60 ± 0.24`, `32 (FP)`, `searched (6)`, `searched`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Printed {
    /// The text.
    pub text: String,
    /// The number in it.
    pub value: Option<f64>,
    /// What follows `±`.
    pub deviation: Option<f64>,
}

impl TryFrom<String> for Printed {
    type Error = String;

    fn try_from(text: String) -> Result<Printed, String> {
        let number = |part: &str| {
            let parsed = part.trim().parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
            parsed.ok_or_else(|| format!("`{text}` is not a number as tables print it"))
        };
        let (value, deviation) = if text == "searched" {
            (None, None)
        } else if let Some(inner) = text.strip_prefix("searched (").and_then(|rest| rest.strip_suffix(')')) {
            (Some(number(inner)?), None)
        } else if let Some(bits) = text.strip_suffix(" (FP)") {
            (Some(number(bits)?), None)
        } else if let Some((mean, deviation)) = text.split_once(" ± ") {
            (Some(number(mean)?), Some(number(deviation)?))
        } else {
            (Some(number(&text)?), None)
        };
        Ok(Printed { text, value, deviation })
    }
}

impl Printed {
    /// Measured minus printed, with the printed decimals; `None` where one of them is no number.
    pub fn difference(&self, measured: f64) -> Option<String> {
        let difference = measured - self.value.filter(|_| measured.is_finite())?;
        let digits = self.text.split(' ').next().and_then(|number| number.split_once('.'));
        let decimals = digits.map_or(0, |(_, digits)| digits.len());
        let text = format!("{difference:+.decimals$}");
        let zero = !text.contains(|digit| matches!(digit, '1'..='9'));
        Some(if zero { text[1..].to_owned() } else { text })
    }
}

impl Publication {
    /// The manifests that repeat rows of a part, the part's own first.
    pub fn manifests<'a>(&'a self, part: &'a Reproduction) -> Vec<&'a str> {
        let mut manifests = vec![part.manifest.as_str()];
        for elsewhere in self.rows.iter().filter_map(|row| row.elsewhere(part)) {
            if !manifests.contains(&elsewhere.manifest.as_str()) {
                manifests.push(&elsewhere.manifest);
            }
        }
        manifests
    }
}

impl PrintedRow {
    /// What repeats the row of a part in place of the part's manifest.
    pub fn elsewhere(&self, part: &Reproduction) -> Option<&Elsewhere> {
        self.elsewhere.get(&part.values)
    }

    /// The printed numbers of a part.
    pub fn values(&self, part: &Reproduction) -> Option<&BTreeMap<Quantity, Printed>> {
        self.values.get(&part.values)
    }

    /// The tolerance of a quantity.
    pub fn tolerance(&self, part: &Reproduction, quantity: Quantity) -> Option<Tolerance> {
        self.tolerance.get(&quantity).or_else(|| part.tolerance.get(&quantity)).copied()
    }

    /// The short name and the full reference of a row of another system.
    pub fn reference(&self) -> Option<(&'static str, &'static str)> {
        let found = REFERENCES.get_key_value(self.cite.as_ref().unwrap_or(&self.name));
        found.map(|(name, reference)| (name.as_str(), reference.as_str()))
    }
}

const FILES: [(&str, &str); 6] = [
    ("table2.toml", include_str!("../published/table2.toml")),
    ("table3.toml", include_str!("../published/table3.toml")),
    ("table4.toml", include_str!("../published/table4.toml")),
    ("table5.toml", include_str!("../published/table5.toml")),
    ("figure2c.toml", include_str!("../published/figure2c.toml")),
    ("figure3.toml", include_str!("../published/figure3.toml")),
];

static PUBLICATIONS: LazyLock<Vec<Publication>> = LazyLock::new(|| {
    let parse = |(name, text): &(&str, &str)| {
        toml_edit::de::from_str(text).unwrap_or_else(|error| panic!("published/{name}: {error}"))
    };
    FILES.iter().map(parse).collect()
});

static REFERENCES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    toml_edit::de::from_str(include_str!("../published/references.toml"))
        .unwrap_or_else(|error| panic!("published/references.toml: {error}"))
});

/// Every publication.
pub fn all() -> &'static [Publication] {
    &PUBLICATIONS
}

/// What `experiment.reproduces` can name.
pub fn names() -> Vec<String> {
    all().iter().flat_map(|publication| &publication.parts).map(|part| part.name.clone()).collect()
}

/// The publication and its part that has a name; an unknown name is an error with the known ones.
pub fn find(name: &str, experiment: &str) -> Result<(&'static Publication, &'static Reproduction), Error> {
    let parts = || all().iter().flat_map(|publication| publication.parts.iter().map(move |part| (publication, part)));
    parts().find(|(_, part)| part.name == name).ok_or_else(|| Error::UnknownPublication {
        name: name.to_owned(),
        experiment: experiment.to_owned(),
        known: names(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(part: &str, name: &str) -> (&'static Reproduction, &'static PrintedRow) {
        let (publication, part) = find(part, "").unwrap();
        (part, publication.rows.iter().find(|row| row.name == name && row.values(part).is_some()).unwrap())
    }

    fn printed(part: &str, name: &str, quantities: &[Quantity]) -> Vec<String> {
        let (part, row) = row(part, name);
        quantities.iter().map(|quantity| row.values(part).unwrap()[quantity].text.clone()).collect()
    }

    #[test]
    fn every_number_is_well_formed_and_belongs_to_a_column() {
        let mut numbers = 0;
        for publication in all() {
            assert!(publication.source.contains("Table") || publication.source.contains("Figure"));
            for part in &publication.parts {
                assert!(!part.titles.is_empty(), "{}", part.name);
                assert!(part.name.starts_with("lite-snn/") && part.manifest.ends_with(".toml"), "{}", part.name);
                let shown = publication.rows.iter().filter(|row| row.values(part).is_some()).count();
                assert_eq!(shown > 0, !publication.columns.is_empty(), "{}", part.name);
                for row in &publication.rows {
                    for tolerance in part.tolerance.values().chain(row.tolerance.values()) {
                        assert!(tolerance.absolute.is_some() != tolerance.relative.is_some(), "{}", row.name);
                        assert!(tolerance.allowed(1.0) > 0.0, "{}", row.name);
                    }
                }
            }
            for row in &publication.rows {
                assert!(row.variant.is_some() || row.reference().is_some(), "{} has no reference", row.name);
                for (key, elsewhere) in &row.elsewhere {
                    assert!(row.values.contains_key(key) && row.variant.is_none(), "{}: {key}", row.name);
                    // Rows are found by their variant, whatever their manifest.
                    let of_variant = |other: &&PrintedRow| {
                        other.variant.as_ref() == Some(&elsewhere.variant)
                            || other.elsewhere.get(key).is_some_and(|other| other.variant == elsewhere.variant)
                    };
                    assert_eq!(publication.rows.iter().filter(of_variant).count(), 1, "{}", elsewhere.variant);
                }
                for (key, values) in &row.values {
                    assert!(publication.parts.iter().any(|part| part.values == *key), "{}: {key}", row.name);
                    for (quantity, printed) in values {
                        assert!(publication.columns.contains(quantity), "{}: {quantity:?}", row.name);
                        assert!(printed.value.is_some() || printed.text == "searched", "{}", printed.text);
                        numbers += 1;
                    }
                }
            }
            for scheme in publication.schemes.iter().flat_map(|schemes| &schemes.scheme) {
                assert_eq!(scheme.variants.len(), publication.schemes.as_ref().unwrap().scales.len());
            }
        }
        // As many as the paper prints in Tables 2 to 5.
        assert_eq!(numbers, 191 + 17 + 24 + 24);
    }

    #[test]
    fn the_papers_own_rows_are_the_printed_ones() {
        use Quantity::*;
        let table2 = [Accuracy, ModelSize, BitSynops, Bitwidth, Timesteps];
        for (part, name, expected) in [
            (
                "lite-snn/table2-cifar10",
                "LitE-SNN (large)",
                ["95.60 ± 0.24", "3.60", "2863", "searched", "searched (6)"],
            ),
            (
                "lite-snn/table2-cifar10",
                "LitE-SNN (medium)",
                ["94.52 ± 0.05", "1.23", "913", "searched", "searched (5)"],
            ),
            (
                "lite-snn/table2-cifar10",
                "LitE-SNN (small)",
                ["91.98 ± 0.15", "0.55", "298", "searched", "searched (4)"],
            ),
            (
                "lite-snn/table2-cifar100",
                "LitE-SNN (large)",
                ["77.10 ± 0.04", "3.62", "3590", "searched", "searched (6)"],
            ),
            (
                "lite-snn/table2-cifar100",
                "LitE-SNN (medium)",
                ["74.51 ± 0.35", "1.27", "1110", "searched", "searched (5)"],
            ),
            (
                "lite-snn/table2-cifar100",
                "LitE-SNN (small)",
                ["69.55 ± 0.11", "0.59", "372", "searched", "searched (4)"],
            ),
            ("lite-snn/table2-cifar10", "SpikeDHS", ["95.50", "56.00", "41781", "32 (FP)", "6"]),
            ("lite-snn/table2-cifar100", "Yan et al. (2024)", ["74.78", "110.20", "16544", "32 (FP)", "3"]),
            ("lite-snn/table3", "LitE-SNN", ["94.14 ± 0.06", "0.30", "37", "searched", "searched (3)"]),
            ("lite-snn/table3", "Yang et al. (2022)", ["92.90", "0.36", "768", "32 (FP)", "32"]),
        ] {
            assert_eq!(printed(part, name, &table2), expected, "{part} {name}");
        }
        for (name, expected) in [
            ("A + P + Q + T (large)", ["94.73", "3.43", "2426", "7.04"]),
            ("A + P + Q + T (medium)", ["92.76", "1.40", "1001", "7.04"]),
            ("A + P + Q + T (small)", ["85.99", "0.73", "505", "7.04"]),
            ("LitE-SNN (large)", ["95.60", "3.60", "2863", "5.01"]),
            ("LitE-SNN (medium)", ["94.52", "1.23", "913", "4.99"]),
            ("LitE-SNN (small)", ["91.98", "0.55", "298", "4.48"]),
        ] {
            assert_eq!(
                printed("lite-snn/table4", name, &[Accuracy, ModelSize, BitSynops, DesignCost]),
                expected,
                "{name}"
            );
        }
        for (name, expected) in [
            ("ANN (large)", ["970.12", "970.12", "4.46"]),
            ("ANN (medium)", ["413.53", "413.53", "1.90"]),
            ("ANN (small)", ["221.63", "221.63", "1.02"]),
            ("AutoSNN", ["585.60", "28.31", "0.63"]),
            ("SpikeDHS", ["1305.65", "23.89", "1.26"]),
            ("LitE-SNN (large)", ["705.01", "11.94", "0.68"]),
            ("LitE-SNN (medium)", ["271.41", "4.78", "0.26"]),
            ("LitE-SNN (small)", ["129.74", "2.39", "0.13"]),
        ] {
            assert_eq!(printed("lite-snn/table5", name, &[Additions, Multiplications, Energy]), expected, "{name}");
        }
    }

    #[test]
    fn the_numbers_of_table_5_and_table_2_agree_with_each_other() {
        let value = |part: &str, name: &str, quantity: Quantity| {
            let (part, row) = row(part, name);
            row.values(part).unwrap()[&quantity].value.unwrap()
        };
        for publication in all().iter().filter(|publication| publication.columns.contains(&Quantity::Energy)) {
            for row in &publication.rows {
                let of = |quantity| row.values["cifar10"][&quantity].value.unwrap();
                let energy = (0.9 * of(Quantity::Additions) + 3.7 * of(Quantity::Multiplications)) * 1e-3;
                assert!((energy - of(Quantity::Energy)).abs() < 0.0051, "{}: {energy}", row.name);
            }
        }
        // Bit-SynOps in full precision: 32 bits an addition.
        let bits = value("lite-snn/table2-cifar10", "SpikeDHS", Quantity::BitSynops);
        assert!((bits / value("lite-snn/table5", "SpikeDHS", Quantity::Additions) - 32.0).abs() < 0.01);
    }

    #[test]
    fn what_no_table_prints_is_refused() {
        for text in ["", "9x", "-1", "1 ± ", "searched (", "inf", "1.2 (GP)"] {
            assert!(Printed::try_from(text.to_owned()).is_err(), "{text}");
        }
        let printed = Printed::try_from("95.60 ± 0.24".to_owned()).unwrap();
        assert_eq!((printed.value, printed.deviation), (Some(95.6), Some(0.24)));
        let difference = |measured| printed.difference(measured);
        for (measured, text) in [(95.71, "+0.11"), (95.6, "0.00"), (95.597, "0.00"), (10.0, "-85.60")] {
            assert_eq!(difference(measured).unwrap(), text);
        }
        assert_eq!(difference(f64::NAN), None);
        assert_eq!(Printed::try_from("searched (6)".to_owned()).unwrap().difference(5.0).unwrap(), "-1");
        assert_eq!(Printed::try_from("searched".to_owned()).unwrap().difference(5.0), None);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = find("lite-snn/table9", "mine").unwrap_err();
        assert!(error.to_string().contains("`lite-snn/table9`") && error.to_string().contains("`mine`"), "{error}");
        assert!(error.hint().unwrap().contains("`lite-snn/table4`"));
    }
}
