//! Gratings: waves in one of several directions, with a random phase, in noise. Made here, so that
//! no file is needed.
//!
//! Source: the usual stimulus of visual neuroscience.
//!
//! ```text
//! x(u, v) = 128 + 80 · sin(2 pi (u cos a + v sin a) / 4 + phase) + noise          a = pi · label / classes
//! ```
//!
//! A data set that lies in files reads them from a setting `root`, by `store.resolve(root)`; the
//! error for a file that is missing is `Error::Content`, with the file, what is wrong and what
//! would mend it.

use litesnn_framework::data::{DataInfo, DataStore, Dataset, Edition, Normalisation, Split, Splits};
use litesnn_framework::ground::Stream;
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::num::NonZeroU16;
use tch::{Device, Kind, Tensor};

/// Height and width of an image.
const SIDE: i64 = 16;

/// Settings of `template-dataset`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateDataset {
    /// Number of directions.
    #[schemars(range(min = 2, max = 16), extend("x-unit" = "classes"))]
    pub classes: u16,
    /// Images of each class to train on; a quarter as many, at least one, to validate and to test
    /// on.
    #[schemars(extend("x-unit" = "images"))]
    pub images: NonZeroU16,
}

impl Default for TemplateDataset {
    fn default() -> Self {
        TemplateDataset { classes: 4, images: NonZeroU16::new(100).expect("100 is not zero") }
    }
}

register! {
    kind: Dataset,
    name: "template-dataset",
    settings: TemplateDataset,
    version: 1,
    summary: "gratings in noise, told apart by their direction",
    paper: "the usual stimulus of visual neuroscience",
    examples: ["[dataset.template-dataset]\nclasses = 4\nimages = 40"],
    file: "template_dataset.rs",
}

#[typetag::serde(name = "template-dataset")]
impl Dataset for TemplateDataset {
    fn form(&self) -> ([i64; 3], usize) {
        ([1, SIDE, SIDE], self.classes as usize)
    }

    fn open(&self, _store: &DataStore) -> Result<Splits> {
        let count = i64::from(self.images.get());
        let fewer = (count / 4).max(1);
        Ok(Splits {
            info: DataInfo {
                shape: [1, SIDE, SIDE],
                classes: (0..self.classes).map(|class| format!("direction {class}")).collect(),
                // The images follow from these alone.
                digest: format!("gratings-1-{}-{count}", self.classes),
                title: format!("gratings ({} directions, {count} images each)", self.classes),
                edition: Edition::Other,
            },
            normalisation: Normalisation { mean: vec![0.5], std: vec![0.24] },
            preparation: None,
            measured: None,
            train: self.split("train", count),
            validation: self.split("validation", fewer),
            test: self.split("test", fewer),
        })
    }
}

impl TemplateDataset {
    fn split(&self, name: &str, of_each: i64) -> Split {
        let classes = i64::from(self.classes);
        let count = of_each * classes;
        let mut random = Stream::open(0, &format!("gratings/{name}"), 0);
        let labels = Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(classes);
        let angle = (&labels * (PI / classes as f64)).to_kind(Kind::Float).view([-1, 1, 1]);
        let phase = random.uniform(&[count, 1, 1], 0.0, 2.0 * PI);
        let place = Tensor::arange(SIDE, (Kind::Float, Device::Cpu));
        let along = place.view([1, 1, -1]) * angle.cos() + place.view([1, -1, 1]) * angle.sin();
        let wave: Tensor = (along * (2.0 * PI / 4.0) + phase).sin() * 80.0 + 128.0;
        let noise = random.normal(&[count, SIDE, SIDE]) * 20.0;
        let images = (wave + noise).clamp(0.0, 255.0).to_kind(Kind::Uint8).unsqueeze(1);
        Split { images, labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_direction_has_as_many_images() {
        let splits = TemplateDataset::default().open(&DataStore::new(Vec::new())).unwrap();
        let counts = Vec::<i64>::try_from(splits.train.labels.bincount::<Tensor>(None, 0)).unwrap();
        assert_eq!(counts, [100; 4]);
        assert_eq!(splits.test.images.size(), [100, 1, SIDE, SIDE]);
    }
}
