//! CIFAR-100: 32 x 32 colour images of a hundred classes, in the official binary files.
//!
//! Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, technical report,
//! University of Toronto, 2009.
//!
//! The folder is `cifar-100-binary`, as the archive `cifar-100-binary.tar.gz` has it
//! (`litesnn data fetch cifar100`):
//!
//! | file | holds |
//! |---|---|
//! | `train.bin` | 50,000 training records |
//! | `test.bin` | 10,000 test records |
//! | `fine_label_names.txt` | the names of the hundred classes, a line each |
//!
//! A record is one byte with the coarse label (twenty of them, not used here), one with the fine
//! label, which is the class, then 32 x 32 bytes each of red, green and blue.
//!
//! Validation images are the last ones of each class in the training file, 5,000 in all unless
//! `validation` says otherwise; they are never trained on, however few images `train` takes.
//! `train`, `validation` and `test` take a balanced part.
//!
//! Images are normalised by the mean and deviation of the 50,000 official training images, by
//! channel.
//!
//! **Other files.** The SHA-256 of the files decides what tables call the data: `CIFAR-100` where they
//! are the official ones, else `CIFAR-100` with the `note`, or without one the name of their folder.
//! Other files are normalised by the mean and deviation of their own training images in use.

use std::path::PathBuf;

use super::cifar::{CITATION, CifarSettings, LICENCE, PAGE, SHAPE};
use super::record_files::{RecordFiles, Records};
use litesnn_framework::data::{Archive, DataStore, Dataset, Form, Source, SourceFile, Splits};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NAME: &str = "cifar100";

/// Settings of `cifar100`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Cifar100(pub CifarSettings);

register! {
    kind: Dataset,
    name: "cifar100",
    settings: Cifar100,
    version: 1,
    summary: "32 x 32 colour images of a hundred classes; `litesnn data fetch cifar100` brings them",
    paper: "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009",
    examples: [
        "[dataset.cifar100]",
        "[dataset.cifar100]\ntrain = 25000\nvalidation = 5000",
        "[dataset.cifar100]\nroot = \"/data/cifar-100-binary\"\nvalidation = 0",
    ],
    file: "cifar100.rs",
}

#[typetag::serde(name = "cifar100")]
impl Dataset for Cifar100 {
    fn form(&self) -> ([i64; 3], usize) {
        FILES.form()
    }

    fn files(&self, store: &DataStore) -> Result<Vec<PathBuf>> {
        self.0.files(&FILES, store)
    }

    fn open(&self, store: &DataStore) -> Result<Splits> {
        self.0.open(&FILES, store)
    }
}

const FILES: RecordFiles = RecordFiles {
    source: &SOURCE,
    records: Records { labels: 2, class: 1, classes: 100, shape: SHAPE },
    train: &["train.bin"],
    test: &["test.bin"],
    names: "fine_label_names.txt",
    normalisation: ([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]),
};

/// The archive's size and SHA-256 are those in TensorFlow Datasets (`url_checksums/cifar100.txt`),
/// the files' SHA-256 those in torchvision-ruby (`lib/torchvision/datasets/cifar100.rb`).
const SOURCE: Source = Source {
    name: NAME,
    title: "CIFAR-100",
    folder: "cifar-100-binary",
    licence: LICENCE,
    citation: CITATION,
    page: PAGE,
    archives: &[Archive {
        url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        bytes: 168_513_733,
        sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        form: Form::TarGz { root: "cifar-100-binary" },
    }],
    files: &[
        SourceFile {
            name: "train.bin",
            bytes: 153_700_000,
            sha256: "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        },
        SourceFile {
            name: "test.bin",
            bytes: 30_740_000,
            sha256: "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
        },
    ],
};

litesnn_framework::inventory::submit! { SOURCE }

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use litesnn_framework::data::Edition;
    use tempfile::TempDir;

    use super::*;

    /// A folder of the official form. Record `i` has the coarse label `i / 5`, the fine label
    /// `i % 100` and its number in every pixel.
    fn folder() -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, count) in [("train.bin", 200_u8), ("test.bin", 100)] {
            let record = |index: u8| [index / 10, index % 100].into_iter().chain(std::iter::repeat_n(index, 3072));
            fs::write(folder.path().join(name), (0..count).flat_map(record).collect::<Vec<u8>>()).unwrap();
        }
        let names: String = (0..100).map(|class| format!("class {class}\n")).collect();
        fs::write(folder.path().join("fine_label_names.txt"), names).unwrap();
        folder
    }

    fn open(folder: &Path, json: &str) -> Result<Splits> {
        let mut settings: Cifar100 = serde_json::from_str(json).unwrap();
        settings.0.root = Some(folder.to_owned());
        settings.open(&DataStore::new(Vec::new()))
    }

    #[test]
    fn the_fine_label_is_the_class() {
        let folder = folder();
        let splits = open(folder.path(), r#"{ "validation": 100 }"#).unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!((splits.info.title, splits.info.edition), (format!("{name} (100/100/100)"), Edition::Other));
        assert_eq!((splits.info.classes.len(), splits.info.classes[42].as_str()), (100, "class 42"));
        assert_eq!(splits.train.images.size(), [100, 3, 32, 32]);
        for (split, first) in [(&splits.train, 0), (&splits.validation, 100), (&splits.test, 0)] {
            assert_eq!(Vec::<i64>::try_from(&split.labels).unwrap(), (0..100).collect::<Vec<_>>());
            assert_eq!(split.images.int64_value(&[37, 0, 0, 0]), first + 37);
            assert_eq!(split.images.int64_value(&[37, 2, 31, 31]), first + 37);
        }
    }

    #[test]
    fn a_file_of_the_ten_class_form_is_refused() {
        let folder = folder();
        fs::write(folder.path().join("test.bin"), vec![0; 3073 * 20]).unwrap();
        let error = open(folder.path(), "{}").unwrap_err();
        let text = format!("{error}\n{}", error.hint().unwrap_or_default());
        for part in ["test.bin` has 61460 bytes", "records of 3074 bytes", "30740000", "litesnn data fetch cifar100"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn settings_are_checked_when_they_are_read() {
        assert!(serde_json::from_str::<Cifar100>(r#"{ "fine": true }"#).is_err());
        let named: Box<dyn Dataset> = serde_json::from_str(r#"{ "cifar100": { "train": 100 } }"#).unwrap();
        assert_eq!(serde_json::to_string(&named).unwrap(), r#"{"cifar100":{"train":100}}"#);
    }
}
