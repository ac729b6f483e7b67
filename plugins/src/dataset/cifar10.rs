//! CIFAR-10: 32 x 32 colour images of ten classes, in the official binary files.
//!
//! Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, technical report,
//! University of Toronto, 2009.
//!
//! The folder is `cifar-10-batches-bin`, as the archive `cifar-10-binary.tar.gz` has it
//! (`litesnn data fetch cifar10`):
//!
//! | file | holds |
//! |---|---|
//! | `data_batch_1.bin` ... `data_batch_5.bin` | 10,000 training records each |
//! | `test_batch.bin` | 10,000 test records |
//! | `batches.meta.txt` | the names of the classes, a line each |
//!
//! A record is one byte with the label, then 32 x 32 bytes each of red, green and blue.
//!
//! Validation images are the last ones of each class in the training files, 5,000 in all unless
//! `validation` says otherwise; they are never trained on, however few images `train` takes.
//! `train`, `validation` and `test` take a balanced part. The paper searches on half of the
//! training images (`train = 25000`) and retrains on all (`validation = 0`).
//!
//! Images are normalised by the mean and deviation of the 50,000 official training images, by
//! channel.
//!
//! **Other files.** The SHA-256 of the files decides what tables call the data: `CIFAR-10` where they
//! are the official ones, else `CIFAR-10` with the `note`, or without one the name of their folder.
//! Other files are normalised by the mean and deviation of their own training images in use.

use std::path::PathBuf;

use super::cifar::{CITATION, CifarSettings, LICENCE, PAGE, SHAPE};
use super::record_files::{RecordFiles, Records};
use litesnn_framework::data::{Archive, DataStore, Dataset, Form, Source, SourceFile, Splits};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NAME: &str = "cifar10";
const TRAINING: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];

/// Settings of `cifar10`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Cifar10(pub CifarSettings);

register! {
    kind: Dataset,
    name: "cifar10",
    settings: Cifar10,
    version: 1,
    summary: "32 x 32 colour images of ten classes; `litesnn data fetch cifar10` brings them",
    paper: "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009",
    examples: [
        "[dataset.cifar10]",
        "[dataset.cifar10]\ntrain = 25000\nvalidation = 5000",
        "[dataset.cifar10]\nroot = \"/data/cifar-10-batches-bin\"\nvalidation = 0",
    ],
    file: "cifar10.rs",
}

#[typetag::serde(name = "cifar10")]
impl Dataset for Cifar10 {
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
    records: Records { labels: 1, class: 0, classes: 10, shape: SHAPE },
    train: &TRAINING,
    test: &["test_batch.bin"],
    names: "batches.meta.txt",
    normalisation: ([0.491_399_68, 0.482_158_27, 0.446_531_24], [0.247_032_33, 0.243_485_05, 0.261_587_68]),
};

/// The archive's size and SHA-256 are those in TensorFlow Datasets (`url_checksums/cifar10.txt`),
/// the files' SHA-256 those in torchvision-ruby (`lib/torchvision/datasets/cifar10.rb`).
const SOURCE: Source = Source {
    name: NAME,
    title: "CIFAR-10",
    folder: "cifar-10-batches-bin",
    licence: LICENCE,
    citation: CITATION,
    page: PAGE,
    archives: &[Archive {
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        bytes: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        form: Form::TarGz { root: "cifar-10-batches-bin" },
    }],
    files: &[
        SourceFile {
            name: "data_batch_1.bin",
            bytes: 30_730_000,
            sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        },
        SourceFile {
            name: "data_batch_2.bin",
            bytes: 30_730_000,
            sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        },
        SourceFile {
            name: "data_batch_3.bin",
            bytes: 30_730_000,
            sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        },
        SourceFile {
            name: "data_batch_4.bin",
            bytes: 30_730_000,
            sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        },
        SourceFile {
            name: "data_batch_5.bin",
            bytes: 30_730_000,
            sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        },
        SourceFile {
            name: "test_batch.bin",
            bytes: 30_730_000,
            sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
    ],
};

litesnn_framework::inventory::submit! { SOURCE }

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use litesnn_framework::data::{Edition, Split};
    use tempfile::TempDir;

    use super::*;

    /// A folder of the official form with 20 records in each file. Record `i` of file `f` has label
    /// `i % 10`, red `i`, green `f`, blue 7; the first red value is 200.
    fn folder() -> TempDir {
        let folder = TempDir::new().unwrap();
        for (number, name) in TRAINING.iter().chain(&["test_batch.bin"]).enumerate() {
            let mut content = Vec::new();
            for index in 0..20 {
                content.push(index % 10);
                content.push(200);
                content.extend(std::iter::repeat_n(index, 1023));
                content.extend(std::iter::repeat_n(number as u8, 1024));
                content.extend(std::iter::repeat_n(7, 1024));
            }
            fs::write(folder.path().join(name), content).unwrap();
        }
        let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
        fs::write(folder.path().join("batches.meta.txt"), names).unwrap();
        folder
    }

    fn open(folder: &Path, json: &str) -> Result<Splits> {
        let mut settings: Cifar10 = serde_json::from_str(json).unwrap();
        settings.0.root = Some(folder.to_owned());
        settings.open(&DataStore::new(Vec::new()))
    }

    fn failure(folder: &Path) -> (String, String) {
        let error = open(folder, "{}").unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    }

    fn classes(split: &Split) -> Vec<i64> {
        let counts = split.labels.bincount::<tch::Tensor>(None, 10);
        Vec::<i64>::try_from(counts).unwrap()
    }

    #[test]
    fn records_become_images_with_planes_of_red_green_and_blue() {
        let folder = folder();
        let splits = open(folder.path(), "{}").unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!((splits.info.title, splits.info.edition), (format!("{name} (90/10/20)"), Edition::Other));
        assert_eq!(splits.info.shape, [3, 32, 32]);
        assert_eq!((splits.info.classes.len(), splits.info.classes[9].as_str()), (10, "truck"));
        assert_eq!(splits.train.images.size(), [90, 3, 32, 32]);
        assert_eq!(splits.train.images.kind(), tch::Kind::Uint8);
        let value = |image, channel, y, x| splits.train.images.int64_value(&[image, channel, y, x]);
        // Image 43 is record 3 of file 2.
        assert_eq!(splits.train.labels.int64_value(&[43]), 3);
        assert_eq!([value(43, 0, 0, 0), value(43, 0, 0, 1), value(43, 0, 31, 31)], [200, 3, 3]);
        assert_eq!([value(43, 1, 0, 0), value(43, 1, 31, 31), value(43, 2, 0, 0), value(43, 2, 31, 31)], [2, 2, 7, 7]);
        assert_eq!(splits.test.images.int64_value(&[0, 1, 0, 0]), 5);
    }

    #[test]
    fn the_end_of_the_training_files_is_held_out_and_parts_are_balanced() {
        let folder = folder();
        let splits =
            open(folder.path(), r#"{ "train": 30, "validation": 20, "test": 10, "note": "made up" }"#).unwrap();
        assert_eq!(splits.info.title, "CIFAR-10, made up (30/20/10)");
        // Of the first 30 images of 1024 values: red is their number in the file, the first one 200.
        let red = |index: usize| std::iter::once(200.0).chain(std::iter::repeat_n((index % 20) as f64, 1023));
        let reds: Vec<f64> = (0..30).flat_map(red).map(|value| value / 255.0).collect();
        let mean = reds.iter().sum::<f64>() / reds.len() as f64;
        assert!((f64::from(splits.normalisation.mean[0]) - mean).abs() < 1e-6, "{:?}", splits.normalisation);
        assert_eq!(splits.normalisation.std[2], 1.0, "blue is 7 everywhere");
        assert_eq!(classes(&splits.train), [3; 10]);
        assert_eq!(classes(&splits.validation), [2; 10]);
        let files = splits.validation.images.select(1, 1).select(1, 0).select(1, 0);
        assert_eq!(Vec::<u8>::try_from(files).unwrap(), [4; 20], "all of the last file");
        let all = open(folder.path(), r#"{ "validation": 0 }"#).unwrap();
        assert_eq!((all.train.len(), all.validation.len(), all.test.len()), (100, 0, 20));
        assert!(open(folder.path(), r#"{ "train": 91 }"#).unwrap_err().to_string().contains("90 images are available"));
    }

    #[test]
    fn the_folder_is_found_in_the_store_and_below_root() {
        let data = TempDir::new().unwrap();
        let store = DataStore::new(vec!["/nowhere".into(), data.path().to_owned()]);
        let error = Cifar10::default().open(&store).unwrap_err();
        let text = format!("{error}\n{}", error.hint().unwrap_or_default());
        for part in ["`cifar-10-batches-bin`", "`/nowhere`", "litesnn data fetch cifar10"] {
            assert!(text.contains(part), "{text}");
        }
        fs::rename(folder().keep(), data.path().join("cifar-10-batches-bin")).unwrap();
        assert_eq!(Cifar10::default().open(&store).unwrap().train.len(), 90);
        assert_eq!(open(data.path(), "{}").unwrap().train.len(), 90);
        let (text, hint) = failure(Path::new("/nowhere/at/all"));
        assert!(text.contains("`/nowhere/at/all` is not a folder"), "{text}");
        assert!(hint.contains("litesnn data fetch cifar10"), "{hint}");
    }

    #[test]
    fn files_that_are_not_right_are_named_with_what_was_expected() {
        let folder = folder();
        let bytes = fs::read(folder.path().join("data_batch_3.bin")).unwrap();
        let mut labelled = bytes.clone();
        labelled[12 * 3073] = 17;
        for (content, expected) in [
            (&bytes[..61_459], "has 61459 bytes, which is no whole number of records of 3073 bytes"),
            (&bytes[..61_459], "the official file has 30730000 bytes, 10000 records"),
            (&[][..], "has 0 bytes"),
            (b"<html>not found</html>", "has 22 bytes"),
            (&labelled, "has label 17 in record 12, and labels are 0 to 9"),
        ] {
            fs::write(folder.path().join("data_batch_3.bin"), content).unwrap();
            let (text, hint) = failure(folder.path());
            assert!(text.contains("data_batch_3.bin") && text.contains(expected), "`{expected}` is not in: {text}");
            assert!(hint.contains("litesnn data fetch cifar10"), "{hint}");
        }
        fs::remove_file(folder.path().join("data_batch_3.bin")).unwrap();
        assert!(failure(folder.path()).0.contains("has no file `data_batch_3.bin`"));
        fs::write(folder.path().join("data_batch_3.bin"), bytes).unwrap();
        fs::write(folder.path().join("batches.meta.txt"), "one\ntwo\n").unwrap();
        assert!(failure(folder.path()).0.contains("batches.meta.txt` has 2 names, and there are 10 classes"));
    }

    /// A file that is larger than memory is refused by its size alone.
    #[test]
    fn a_file_that_is_far_too_large_is_not_read() {
        let folder = folder();
        let file = fs::File::create(folder.path().join("test_batch.bin")).unwrap();
        file.set_len(3073 * 1_000_000_000).unwrap();
        let (text, _) = failure(folder.path());
        assert!(text.contains("more than 1000000 records of 3073 bytes"), "{text}");
    }

    #[test]
    fn settings_are_checked_when_they_are_read() {
        for json in [r#"{ "train": 0 }"#, r#"{ "note": " " }"#, r#"{ "note": "a\nb" }"#, r#"{ "coarse": true }"#] {
            assert!(serde_json::from_str::<Cifar10>(json).is_err(), "{json}");
        }
        let named: Box<dyn Dataset> = serde_json::from_str(r#"{ "cifar10": { "validation": 0 } }"#).unwrap();
        assert_eq!(serde_json::to_string(&named).unwrap(), r#"{"cifar10":{"validation":0}}"#);
    }

    /// Needs the data. What is written past the test harness is counted by `make test`.
    #[test]
    fn the_real_files_are_read() {
        let data = std::env::var_os("LITESNN_DATA").map(PathBuf::from).unwrap_or_default();
        if !data.join(SOURCE.folder).is_dir() {
            writeln!(std::io::stderr(), "test skipped: LITESNN_DATA names no folder with {}", SOURCE.folder).unwrap();
            return;
        }
        let splits = Cifar10::default().open(&DataStore::new(vec![data])).unwrap();
        assert_eq!((splits.train.len(), splits.validation.len(), splits.test.len()), (45_000, 5_000, 10_000));
        assert_eq!(splits.info.classes[0], "airplane");
        assert_eq!((classes(&splits.train), classes(&splits.test)), (vec![4_500; 10], vec![1_000; 10]));
        let images = splits.train.images.to_kind(tch::Kind::Float) / 255.0;
        for (channel, (mean, deviation)) in splits.normalisation.mean.iter().zip(&splits.normalisation.std).enumerate()
        {
            let plane = images.select(1, channel as i64);
            let found = (plane.mean(tch::Kind::Double).double_value(&[]), plane.std(false).double_value(&[]));
            assert!((found.0 - f64::from(*mean)).abs() < 0.002, "{found:?}");
            assert!((found.1 - f64::from(*deviation)).abs() < 0.005, "{found:?}");
        }
    }
}
