//! Fashion-MNIST: 28 x 28 grey images of ten kinds of clothing, in the official idx files.
//!
//! Source: Xiao, Rasul, Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
//! Learning Algorithms*, arXiv:1708.07747, 2017.
//!
//! Without `root` the bundled subset is used (2,000 + 500 + 1,000 images), with `root` the files in
//! that folder, gzipped or not:
//!
//! | file | split |
//! |---|---|
//! | `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` | training |
//! | `validation-images-idx3-ubyte`, `validation-labels-idx1-ubyte` | validation, where they exist |
//! | `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte` | test |
//!
//! Their other usual names are known too: `train-images.idx3-ubyte`, `test-` for `t10k-`, a folder for
//! each file, a folder `raw` around all.
//!
//! The official set has no validation files. Validation is then the end of the training file: the
//! last images of each class, 5,000 in all unless `validation` says otherwise (a tenth of a file
//! with fewer than 50,000 images). They are never trained on, however few images `train` takes.
//!
//! **Other files.** The content of the files decides what tables call the data: `Fashion-MNIST` where
//! they are the official ones (gzipped by whomever) or the bundled part of them, else the name of
//! their folder. Official images are normalised by the mean 0.2860 and the deviation 0.3530 of the
//! 60,000 training images, others by the mean and deviation of their own training images in use.
//!
//! `train`, `validation` and `test` take a balanced part: the first images of each class in the
//! file's order (of an end, the last).

mod edition;
mod idx;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::images::{Counts, Files, Images, partition};
use edition::edition;
use idx::{Idx, REPLACE, find, read_idx};
use litesnn_framework::data::{Archive, DataStore, Dataset, Form, Normalisation, Source, SourceFile, Splits};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NAME: &str = "fashion-mnist";
const CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
/// What the two files of a split hold, as their names have it.
const CONTENTS: [&str; 2] = ["images-idx3", "labels-idx1"];
const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;
/// Images taken from the end of a training file that has no validation file beside it.
const HELD_OUT: usize = 5_000;
/// Settings of `fashion-mnist`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FashionMnist {
    /// Folder with the official files; absent: the bundled subset of 2,000 + 500 + 1,000 images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Number of images to train on, balanced over the classes; absent: all there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "images"))]
    pub train: Option<NonZeroUsize>,
    /// Number of images to validate on, balanced over the classes; absent: all there are, or 5,000
    /// from the end of the training file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "images"))]
    pub validation: Option<NonZeroUsize>,
    /// Number of images to test on, balanced over the classes; absent: all there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "images"))]
    pub test: Option<NonZeroUsize>,
}

register! {
    kind: Dataset,
    name: "fashion-mnist",
    settings: FashionMnist,
    version: 1,
    summary: "28 x 28 grey images of ten kinds of clothing; a subset is bundled",
    paper: "Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017",
    examples: [
        "[dataset.fashion-mnist]",
        "[dataset.fashion-mnist]\ntrain = 1000\nvalidation = 200\ntest = 500",
    ],
    file: "fashion_mnist.rs",
}

#[typetag::serde(name = "fashion-mnist")]
impl Dataset for FashionMnist {
    fn form(&self) -> ([i64; 3], usize) {
        ([1, SIDE as i64, SIDE as i64], CLASSES.len())
    }

    fn files(&self, store: &DataStore) -> Result<Vec<PathBuf>> {
        let folder = self.folder(store)?;
        let splits = ["train", "validation", "t10k"].into_iter();
        Ok(splits.flat_map(|split| CONTENTS.map(|content| find(&folder, split, content))).flatten().collect())
    }

    fn open(&self, store: &DataStore) -> Result<Splits> {
        let folder = self.folder(store)?;
        let mut sums = Vec::new();
        let has_validation = CONTENTS.iter().any(|content| find(&folder, "validation", content).is_some());
        let validation = match has_validation {
            true => Some(read(&folder, "validation", &mut sums)?),
            false => None,
        };
        let (train, test) = (read(&folder, "train", &mut sums)?, read(&folder, "t10k", &mut sums)?);
        let edition = edition(&sums);
        let files = Files { train, validation, test, edition };
        let count = |wanted: Option<NonZeroUsize>| wanted.map(NonZeroUsize::get);
        let counts = Counts {
            train: count(self.train),
            validation: count(self.validation),
            test: count(self.test),
            held_out: HELD_OUT,
        };
        partition(NAME, files, counts)?.into_splits(
            &SOURCE.title(edition, &folder, None),
            CLASSES.map(str::to_owned).to_vec(),
            Normalisation { mean: vec![0.2860], std: vec![0.3530] },
        )
    }
}

/// The full set, for `root = "fashion-mnist-full"`: without `root` the bundled subset is used.
/// Addresses are those of the authors' page; sizes and SHA-256 those in TensorFlow Datasets
/// (`url_checksums/fashion_mnist.txt`). Debian's package `dataset-fashion-mnist` packs its files
/// anew: their checksums are others.
const SOURCE: Source = Source {
    name: NAME,
    title: "Fashion-MNIST",
    folder: "fashion-mnist-full",
    licence: "MIT",
    citation: "Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017",
    page: "https://github.com/zalandoresearch/fashion-mnist",
    archives: &[
        Archive {
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
            bytes: 26_421_880,
            sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            form: Form::File,
        },
        Archive {
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
            bytes: 29_515,
            sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            form: Form::File,
        },
        Archive {
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",
            bytes: 4_422_102,
            sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            form: Form::File,
        },
        Archive {
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",
            bytes: 5_148,
            sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            form: Form::File,
        },
    ],
    files: &[
        SourceFile {
            name: "train-images-idx3-ubyte.gz",
            bytes: 26_421_880,
            sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        },
        SourceFile {
            name: "train-labels-idx1-ubyte.gz",
            bytes: 29_515,
            sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        },
        SourceFile {
            name: "t10k-images-idx3-ubyte.gz",
            bytes: 4_422_102,
            sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        },
        SourceFile {
            name: "t10k-labels-idx1-ubyte.gz",
            bytes: 5_148,
            sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ],
};

litesnn_framework::inventory::submit! { SOURCE }

impl FashionMnist {
    /// The folder that `root` names, or the bundled one.
    fn folder(&self, store: &DataStore) -> Result<PathBuf> {
        match &self.root {
            Some(root) => {
                let folder = store.resolve(root);
                match folder.is_dir() {
                    true => Ok(folder),
                    false => Err(Error::Content {
                        path: folder,
                        message: "is not a folder that exists".into(),
                        hint: "`root` is the folder with the official files; without it the bundled subset is used".into(),
                    }),
                }
            }
            None => store.find(NAME).ok_or_else(|| {
                let folders: Vec<_> = store.folders().iter().map(|folder| format!("`{}`", folder.display())).collect();
                refusal(format!(
                    "there is no folder `{NAME}` with the bundled subset in {}; name the folder of the official files as `root`",
                    if folders.is_empty() { "any folder for data".to_owned() } else { folders.join(" or ") }
                ))
            }),
        }
    }
}

fn refusal(message: String) -> Error {
    Error::Plugin { kind: "dataset", name: NAME.into(), message }
}

/// Reads `<name>-images-idx3-ubyte` and `<name>-labels-idx1-ubyte`, and adds the SHA-256 of both to
/// `sums`.
fn read(folder: &Path, name: &str, sums: &mut Vec<(String, String)>) -> Result<Images> {
    let [of_images, of_labels] = CONTENTS;
    let Idx { path: images_file, bytes: images, sha256: images_sum } =
        read_idx(folder, name, of_images, &[SIDE, SIDE])?;
    let Idx { path: labels_file, bytes: labels, sha256: labels_sum } = read_idx(folder, name, of_labels, &[])?;
    sums.extend([(format!("{name}-{of_images}-ubyte"), images_sum), (format!("{name}-{of_labels}-ubyte"), labels_sum)]);
    if images.len() / PIXELS != labels.len() {
        return Err(Error::Content {
            path: labels_file,
            message: format!(
                "has {} labels, and `{}` has {} images",
                labels.len(),
                images_file.display(),
                images.len() / PIXELS
            ),
            hint: "both files have to come from the same set".into(),
        });
    }
    if let Some(position) = labels.iter().position(|&label| usize::from(label) >= CLASSES.len()) {
        return Err(Error::Content {
            path: labels_file,
            message: format!("has label {} at position {position}; labels are 0 to 9", labels[position]),
            hint: REPLACE.into(),
        });
    }
    Ok(Images::new([1, SIDE, SIDE], images, labels))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Read, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use litesnn_framework::data::{Edition, Split};
    use litesnn_framework::plugin::Kind;
    use tempfile::TempDir;

    use super::*;

    fn bundled() -> DataStore {
        DataStore::new(vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/data")])
    }

    fn settings(json: &str) -> FashionMnist {
        serde_json::from_str(json).unwrap()
    }

    fn classes(split: &Split) -> Vec<usize> {
        let labels = Vec::<i64>::try_from(&split.labels).unwrap();
        (0..CLASSES.len()).map(|class| labels.iter().filter(|&&label| label as usize == class).count()).collect()
    }

    fn rows(split: &Split) -> Vec<Vec<u8>> {
        let bytes = Vec::<u8>::try_from(&split.images.flatten(0, -1)).unwrap();
        bytes.chunks(PIXELS).map(<[u8]>::to_vec).collect()
    }

    fn idx(dimensions: &[u32], content: &[u8]) -> Vec<u8> {
        let sizes = dimensions.iter().flat_map(|size| size.to_be_bytes());
        [0, 0, 8, dimensions.len() as u8].into_iter().chain(sizes).chain(content.iter().copied()).collect()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// A folder as the official set has it: no validation files. Image `i` has the class `i % 10`
    /// and `i` in its first two bytes.
    fn official(train: usize, test: usize) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, count) in [("train", train), ("t10k", test)] {
            let mut pixels = vec![7; count * PIXELS];
            for (index, image) in pixels.chunks_mut(PIXELS).enumerate() {
                image[..2].copy_from_slice(&(index as u16).to_be_bytes());
            }
            let labels: Vec<u8> = (0..count).map(|index| (index % 10) as u8).collect();
            let write =
                |what: &str, content: &[u8]| fs::write(folder.path().join(format!("{name}-{what}")), content).unwrap();
            write("images-idx3-ubyte.gz", &gzip(&idx(&[count as u32, 28, 28], &pixels)));
            write("labels-idx1-ubyte", &idx(&[count as u32], &labels));
        }
        folder
    }

    fn name(folder: &TempDir) -> String {
        folder.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    fn open(folder: &TempDir, change: impl FnOnce(&mut FashionMnist)) -> Result<Splits> {
        let mut settings = FashionMnist { root: Some(folder.path().to_owned()), ..FashionMnist::default() };
        change(&mut settings);
        settings.open(&DataStore::new(Vec::new()))
    }

    /// The message and the hint of opening a folder after `name` was replaced by `content`.
    fn message(name: &str, content: &[u8]) -> String {
        let folder = official(20, 10);
        let _ = fs::remove_file(folder.path().join(format!("{name}.gz")));
        fs::write(folder.path().join(name), content).unwrap();
        let error = open(&folder, |_| {}).unwrap_err();
        let text = format!("{error}\n{}", error.hint().unwrap_or_default());
        assert!(text.contains(name), "the message names the file: {text}");
        text
    }

    #[test]
    fn the_bundled_subset_is_balanced_and_its_splits_are_disjoint() {
        let splits = FashionMnist::default().open(&bundled()).unwrap();
        assert_eq!(
            (splits.info.title.as_str(), splits.info.edition),
            ("Fashion-MNIST (2000/500/1000)", Edition::Subset)
        );
        assert_eq!(splits.info.shape, [1, 28, 28]);
        assert_eq!(splits.train.images.size(), [2000, 1, 28, 28]);
        assert_eq!(splits.train.images.kind(), tch::Kind::Uint8);
        assert_eq!(splits.train.labels.kind(), tch::Kind::Int64);
        assert_eq!(classes(&splits.train), [200; 10]);
        assert_eq!(classes(&splits.validation), [50; 10]);
        assert_eq!(classes(&splits.test), [100; 10]);
        let mut all = [rows(&splits.train), rows(&splits.validation), rows(&splits.test)].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 3500);
    }

    /// The mean and deviation of the full set describe the subset as well.
    #[test]
    fn the_normalisation_fits_the_bundled_images() {
        let splits = FashionMnist::default().open(&bundled()).unwrap();
        let images = splits.train.images.to_kind(tch::Kind::Float) / 255.0;
        let mean = images.mean(tch::Kind::Float).double_value(&[]);
        let deviation = images.std(false).double_value(&[]);
        assert!((mean - 0.2860).abs() < 0.01, "{mean}");
        assert!((deviation - 0.3530).abs() < 0.01, "{deviation}");
    }

    #[test]
    fn a_part_is_balanced_and_the_digest_follows_the_content() {
        let all = FashionMnist::default().open(&bundled()).unwrap();
        let part = settings(r#"{ "train": 105, "validation": 20, "test": 10 }"#).open(&bundled()).unwrap();
        assert_eq!(part.info.title, "Fashion-MNIST (105/20/10)");
        assert_eq!(classes(&part.train), [11, 11, 11, 11, 11, 10, 10, 10, 10, 10]);
        assert_eq!(rows(&part.train), rows(&all.train)[..105]);
        assert_eq!(classes(&part.validation), [2; 10]);
        assert_ne!(part.info.digest, all.info.digest);
        let spelled_out = settings(r#"{ "train": 2000, "validation": 500, "test": 1000 }"#).open(&bundled()).unwrap();
        assert_eq!(spelled_out.info.digest, all.info.digest);
    }

    #[test]
    fn without_validation_files_the_end_of_the_training_file_is_held_out() {
        let folder = official(200, 10);
        let splits = open(&folder, |_| {}).unwrap();
        assert_eq!(splits.info.title, format!("{} (180/20/10)", name(&folder)));
        let number = |row: &Vec<u8>| u16::from_be_bytes([row[0], row[1]]);
        let numbers = |split: &Split| rows(split).iter().map(number).collect::<Vec<_>>();
        assert_eq!(numbers(&splits.train), (0..180).collect::<Vec<_>>());
        assert_eq!(numbers(&splits.validation), (180..200).collect::<Vec<_>>());
        let few = open(&folder, |settings| settings.train = NonZeroUsize::new(10)).unwrap();
        assert_eq!(numbers(&few.train), (0..10).collect::<Vec<_>>());
        assert_eq!(numbers(&few.validation), (180..200).collect::<Vec<_>>());
    }

    /// Needs Debian's package `dataset-fashion-mnist`. What is written past the test harness is
    /// counted by `make test`.
    #[test]
    fn the_official_files_are_read() {
        let root = "/usr/share/datasets/fashion-mnist";
        if !Path::new(root).is_dir() {
            writeln!(io::stderr(), "test skipped: there is no {root}").unwrap();
            return;
        }
        let splits = settings(&format!(r#"{{ "root": "{root}" }}"#)).open(&bundled()).unwrap();
        assert_eq!(splits.info.title, "Fashion-MNIST (55000/5000/10000)");
        assert_eq!(splits.info.edition, Edition::Official);
        assert_eq!((&splits.normalisation.mean[..], &splits.normalisation.std[..]), (&[0.2860][..], &[0.3530][..]));
        let part = settings(&format!(r#"{{ "root": "{root}", "train": 1000 }}"#)).open(&bundled()).unwrap();
        assert_eq!((part.info.title.as_str(), part.info.edition), ("Fashion-MNIST (1000/5000/10000)", Edition::Subset));
        assert_eq!(classes(&splits.train), [5500; 10]);
        assert_eq!(classes(&splits.validation), [500; 10]);
        assert_eq!(classes(&splits.test), [1000; 10]);
        let images = splits.train.images.to_kind(tch::Kind::Float) / 255.0;
        assert!((images.mean(tch::Kind::Float).double_value(&[]) - 0.2860).abs() < 0.001);
        assert!((images.std(false).double_value(&[]) - 0.3530).abs() < 0.001);
    }

    /// Files under `root` were called Fashion-MNIST whatever they held, and normalised as it.
    #[test]
    fn other_files_are_called_by_their_folder_and_normalised_by_their_own_images() {
        let folder = official(200, 10);
        let splits = open(&folder, |_| {}).unwrap();
        assert_eq!(
            (splits.info.title, splits.info.edition),
            (format!("{} (180/20/10)", name(&folder)), Edition::Other)
        );
        // All but the first two bytes of each image of 784 are 7; those are the image's number.
        let images: Vec<f64> = (0..180_u16)
            .flat_map(|image| image.to_be_bytes().into_iter().chain(std::iter::repeat_n(7, PIXELS - 2)))
            .map(|value| f64::from(value) / 255.0)
            .collect();
        let mean = images.iter().sum::<f64>() / images.len() as f64;
        let variance = images.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / images.len() as f64;
        let Normalisation { mean: found, std } = splits.normalisation;
        assert!((f64::from(found[0]) - mean).abs() < 1e-7 && (f64::from(std[0]) - variance.sqrt()).abs() < 1e-7);
    }

    /// One changed byte is enough, in images and labels alike; how a file is packed is no matter.
    #[test]
    fn a_changed_byte_of_the_bundled_files_is_noticed_and_another_packing_is_not() {
        let copied = |change: &str| {
            let folder = TempDir::new().unwrap();
            for split in ["train", "validation", "t10k"] {
                for what in ["images-idx3-ubyte", "labels-idx1-ubyte"] {
                    let file = format!("{split}-{what}");
                    let packed = fs::read(bundled().find(NAME).unwrap().join(format!("{file}.gz"))).unwrap();
                    let mut content = Vec::new();
                    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut content).unwrap();
                    if file == change {
                        *content.last_mut().unwrap() ^= 1;
                    }
                    fs::write(folder.path().join(file), content).unwrap();
                }
            }
            open(&folder, |_| {}).unwrap().info.edition
        };
        assert_eq!(copied("none"), Edition::Subset);
        for file in ["train-images-idx3-ubyte", "validation-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
            assert_eq!(copied(file), Edition::Other, "{file}");
        }
    }

    /// As torchvision, Kaggle and programs that unpack archives leave them.
    #[test]
    fn the_files_are_found_under_their_other_usual_names() {
        let names = |split: &str, content: &str| {
            [
                format!("raw/{split}-{content}-ubyte"),
                format!("{split}-{}-ubyte", content.replace('-', ".")),
                format!("{split}-{0}-ubyte/{split}-{0}-ubyte", content.replace('-', ".")),
                format!("{split}-{content}-ubyte/{split}-{}-ubyte", content.replace('-', ".")),
                format!("{}-{content}-ubyte.gz", if split == "t10k" { "test" } else { split }),
            ]
        };
        let digest = |folder: &TempDir| open(folder, |_| {}).unwrap().info.digest;
        let usual = digest(&official(40, 10));
        for form in 0..5 {
            let (from, to) = (official(40, 10), TempDir::new().unwrap());
            for (split, content) in
                ["train", "t10k"].into_iter().flat_map(|split| CONTENTS.map(|content| (split, content)))
            {
                let path = to.path().join(&names(split, content)[form]);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::copy(find(from.path(), split, content).unwrap(), path).unwrap();
            }
            assert_eq!(digest(&to), usual, "{}", names("train", "images-idx3")[form]);
        }
    }

    #[test]
    fn asking_for_more_than_there_is_names_what_there_is() {
        for (json, there) in [
            (r#"{ "train": 2001 }"#, "`train` = 2001 is more than there is: 2000 images"),
            (r#"{ "validation": 501 }"#, "`validation` = 501 is more than there is: 500 images"),
            (r#"{ "test": 60000 }"#, "`test` = 60000 is more than there is: 1000 images"),
        ] {
            let error = settings(json).open(&bundled()).unwrap_err().to_string();
            assert!(error.contains(there), "{error}");
        }
        let folder = official(100, 10);
        let error = open(&folder, |settings| settings.train = NonZeroUsize::new(91)).unwrap_err().to_string();
        assert!(error.contains("90 images are available"), "{error}");
        let error = open(&folder, |settings| settings.validation = NonZeroUsize::new(100)).unwrap_err().to_string();
        assert!(error.contains("which have 100 images"), "{error}");
    }

    #[test]
    fn settings_are_checked_when_they_are_read() {
        assert!(serde_json::from_str::<FashionMnist>(r#"{ "train": 0 }"#).is_err());
        let error = serde_json::from_str::<FashionMnist>(r#"{ "trian": 10 }"#).unwrap_err().to_string();
        assert!(error.contains("trian") && error.contains("train"), "{error}");
        assert!(litesnn_framework::plugin::find(Kind::Dataset, NAME).is_some());
        let named: Box<dyn Dataset> = serde_json::from_str(r#"{ "fashion-mnist": { "train": 10 } }"#).unwrap();
        assert_eq!(serde_json::to_string(&named).unwrap(), r#"{"fashion-mnist":{"train":10}}"#);
    }

    #[test]
    fn folders_and_files_that_are_not_there_are_named() {
        let error = FashionMnist::default().open(&DataStore::new(vec!["/nowhere".into()])).unwrap_err().to_string();
        assert!(error.contains("`/nowhere`") && error.contains("`root`"), "{error}");
        let error = settings(r#"{ "root": "/nowhere/at/all" }"#).open(&bundled()).unwrap_err().to_string();
        assert!(error.contains("`/nowhere/at/all` is not a folder"), "{error}");
        let folder = official(20, 10);
        fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
        let error = open(&folder, |_| {}).unwrap_err().to_string();
        assert!(error.contains("t10k-labels-idx1-ubyte.gz"), "{error}");
        assert!(error.contains("it has `t10k-images-idx3-ubyte.gz`, `train-images-idx3-ubyte.gz`"), "{error}");
    }

    #[test]
    fn damaged_files_are_refused() {
        const IMAGES: &str = "train-images-idx3-ubyte";
        const LABELS: &str = "train-labels-idx1-ubyte";
        let whole = gzip(&idx(&[20, 28, 28], &(0..20 * PIXELS).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
        let cases = [
            (IMAGES, Vec::new(), "ends too early"),
            (IMAGES, vec![0, 0], "ends too early"),
            (IMAGES, whole[..whole.len() / 2].to_vec(), "ends too early"),
            (IMAGES, whole[..12].to_vec(), "ends too early"),
            (IMAGES, whole[..whole.len() - 4].to_vec(), "ends too early"),
            (IMAGES, [&whole[..], b"and something more"].concat(), "is damaged"),
            (IMAGES, idx(&[20], &[0; 20]), "starts with the bytes [00, 00, 08, 01]"),
            (IMAGES, b"<html>not here</html>".to_vec(), "starts with the bytes [3c, 68, 74, 6d]"),
            (IMAGES, idx(&[20, 32, 32], &[0; 20 * 1024]), "has records of [32, 32]"),
            (IMAGES, idx(&[20, u32::MAX, u32::MAX], &[]), "has records of"),
            (IMAGES, idx(&[u32::MAX, 28, 28], &[]), "promises 4294967295 records"),
            (
                IMAGES,
                idx(&[1_000_000, 28, 28], &[]),
                "promises 784000000 bytes (1000000 records) in its header and holds only 0",
            ),
            (IMAGES, idx(&[0, 28, 28], &[]), "promises 0 records"),
            (IMAGES, idx(&[20, 28, 28], &[0; 20 * PIXELS - 1]), "holds only 15679"),
            (IMAGES, idx(&[20, 28, 28], &[0; 20 * PIXELS + 1]), "holds more"),
            (IMAGES, gzip(&idx(&[1, 28, 28], &vec![0; 50 << 20])), "holds more"),
            (LABELS, idx(&[19], &[0; 19]), "has 19 labels"),
            (LABELS, idx(&[20], &[10; 20]), "has label 10 at position 0"),
            (LABELS, idx(&[20, 28, 28], &[0; 20 * PIXELS]), "starts with the bytes [00, 00, 08, 03]"),
        ];
        for (name, content, expected) in cases {
            let text = message(name, &content);
            assert!(text.contains(expected), "`{expected}` is not in: {text}");
            assert!(text.lines().nth(1).is_some_and(|hint| !hint.is_empty()), "no hint: {text}");
        }
        let mut flipped = whole;
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        message(IMAGES, &flipped);
    }
}
