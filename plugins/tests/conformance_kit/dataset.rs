//! Data sets with faults.
//!
//! ```text
//! image = 155 · label + noise
//! ```

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use litesnn_framework::data::{DataInfo, DataStore, Dataset, Edition, Normalisation, Split, Splits};
use litesnn_framework::ground::Stream;
use litesnn_framework::plugin::Descriptor;
use litesnn_framework::{Error, Result, descriptor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{each_breaks, keeps_all, with};

/// Noise of two brightnesses.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Faulty {
    /// Folder with its files, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<PathBuf>,
    /// Images of each split.
    #[serde(default = "twenty")]
    count: u16,
    /// What is wrong with it.
    #[serde(default)]
    #[schemars(with = "String")]
    fault: Fault,
}

fn twenty() -> u16 {
    20
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    LabelsAsColumn,
    LabelsFromOne,
    BytesNotDivided,
    TestsOnTraining,
    DigestOfTheMoment,
    NamesNoFolder,
    NoImages,
}

const FAULTY: Descriptor = descriptor! {
    kind: Dataset,
    name: "faulty",
    settings: Faulty,
    version: 1,
    summary: "noise with a fault",
    paper: "none",
    examples: ["[dataset.faulty]\ncount = 20"],
    file: "dataset.rs",
};

/// Each fault with the rules that it breaks.
pub const BROKEN: &[(&str, &[&str])] = &[
    ("labels-as-column", &["shapes"]),
    ("labels-from-one", &["labels"]),
    ("bytes-not-divided", &["normalisation"]),
    ("tests-on-training", &["splits"]),
    ("digest-of-the-moment", &["same-digest"]),
    ("names-no-folder", &["missing-files"]),
    ("no-images", &["extremes"]),
];

#[typetag::serde(name = "faulty")]
impl Dataset for Faulty {
    fn form(&self) -> ([i64; 3], usize) {
        ([1, 4, 4], 2)
    }

    fn open(&self, store: &DataStore) -> Result<Splits> {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let opened = OPENED.fetch_add(1, Ordering::Relaxed);
        if self.fault == Fault::NamesNoFolder && store.folders().is_empty() {
            let message = "could not open the file".into();
            return Err(Error::Plugin { kind: "dataset", name: "faulty".into(), message });
        }
        if self.count == 0 && self.fault != Fault::NoImages {
            let message = "`count` = 0 leaves nothing to train on".into();
            return Err(Error::Plugin { kind: "dataset", name: "faulty".into(), message });
        }
        let count = i64::from(self.count);
        let split = |purpose: &str| {
            let labels = Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(2);
            let noise = Stream::open(0, purpose, 0).uniform(&[count, 1, 4, 4], 0.0, 100.0);
            let images = (labels.view([-1, 1, 1, 1]) * 155 + noise).to_kind(Kind::Uint8);
            let labels = match self.fault {
                Fault::LabelsAsColumn => labels.view([-1, 1]),
                Fault::LabelsFromOne => labels + 1,
                _ => labels,
            };
            Split { images, labels }
        };
        let digest = match self.fault {
            Fault::DigestOfTheMoment => opened.to_string(),
            _ => self.count.to_string(),
        };
        let (mean, std) = if self.fault == Fault::BytesNotDivided { (127.0, 82.0) } else { (0.5, 0.32) };
        Ok(Splits {
            info: DataInfo {
                shape: [1, 4, 4],
                classes: vec!["dark".into(), "bright".into()],
                digest,
                title: "noise".into(),
                edition: Edition::Other,
            },
            normalisation: Normalisation { mean: vec![mean], std: vec![std] },
            preparation: None,
            measured: None,
            train: split("train"),
            validation: split("validation"),
            test: split(if self.fault == Fault::TestsOnTraining { "train" } else { "test" }),
        })
    }
}

#[test]
fn a_data_set_without_fault_keeps_every_rule() {
    keeps_all(&FAULTY);
}

#[test]
fn a_data_set_with_a_fault_breaks_the_rules_about_it() {
    each_breaks(BROKEN, &[], |fault| with(&FAULTY, format!("[dataset.faulty]\ncount = 20\nfault = \"{fault}\"")));
}
