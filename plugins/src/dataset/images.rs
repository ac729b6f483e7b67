//! Labelled images of eight bits a value: what the readers of image data sets share.
//!
//! A reader turns its files into [`Images`], and [`partition`] into training, validation and test
//! images: balanced parts of what there is, and validation images held out of the training files
//! where no file is set aside for them.

use std::ops::Range;

use tch::Tensor;

use litesnn_framework::data::{DataInfo, Edition, Normalisation, Split, Splits};
use litesnn_framework::{Error, Result};

/// Images and their labels, decoded.
#[derive(Debug)]
pub struct Images {
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Images {
    /// `pixels` are the images one after another, each `shape` (channels, height, width) in this
    /// order; one label an image.
    ///
    /// # Panics
    ///
    /// When `pixels` are not as many as shape and labels say: a reader checks its files before.
    pub fn new(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<u8>) -> Images {
        assert_eq!(
            pixels.len(),
            labels.len() * shape.iter().product::<usize>(),
            "a reader checks the size of its files"
        );
        Images { shape, pixels, labels }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    fn all(&self) -> Vec<usize> {
        (0..self.len()).collect()
    }

    fn take(&self, indices: &[usize]) -> Images {
        let size = self.shape.iter().product::<usize>();
        let pixels = |index: usize| -> Range<usize> { index * size..(index + 1) * size };
        Images {
            shape: self.shape,
            pixels: indices.iter().flat_map(|&index| &self.pixels[pixels(index)]).copied().collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
        }
    }

    fn split(&self) -> Result<Split> {
        let labels: Vec<i64> = self.labels.iter().copied().map(i64::from).collect();
        let [channels, height, width] = self.shape.map(|size| size as i64);
        Ok(Split {
            images: Tensor::f_from_slice(&self.pixels)?.f_reshape([labels.len() as i64, channels, height, width])?,
            labels: Tensor::f_from_slice(&labels)?,
        })
    }
}

/// What the files of a data set hold.
#[derive(Debug)]
pub struct Files {
    /// The training files.
    pub train: Images,
    /// The validation files, where the set has some.
    pub validation: Option<Images>,
    /// The test files.
    pub test: Images,
    /// What the files are: all of the published data set, a part of it, or other data.
    pub edition: Edition,
}

/// How many images of each split are asked for; `None`: all there are, and for validation without
/// files of its own `held_out`.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// To train on.
    pub train: Option<usize>,
    /// To validate on.
    pub validation: Option<usize>,
    /// To test on.
    pub test: Option<usize>,
    /// Validation images that are taken from the end of the training files unless `validation` says
    /// how many; a tenth of files with fewer than ten times as many.
    pub held_out: usize,
}

/// The images in use.
#[derive(Debug)]
pub struct Parts {
    /// Trained on.
    pub train: Images,
    /// Watched during training.
    pub validation: Images,
    /// Measured at the end.
    pub test: Images,
    /// [`Edition::Official`] where the files are that and all of their images are in use.
    pub edition: Edition,
}

/// Chooses the images in use: of each split the first ones of each class in the file's order,
/// balanced.
///
/// Without validation files, validation is the end of the training files: the last images of each
/// class. They are never trained on, however few images are asked for.
///
/// # Errors
///
/// When more images are asked for than there are; `name` is the plugin's.
pub fn partition(name: &str, files: Files, counts: Counts) -> Result<Parts> {
    let Files { train, validation, test, edition } = files;
    let there = train.len() + validation.as_ref().map_or(0, Images::len) + test.len();
    let first = |images: &Images, order: &[usize], key: &str, wanted: Option<usize>| match wanted {
        Some(wanted) if wanted > order.len() => Err(refusal(
            name,
            format!("`{key}` = {wanted} is more than there is: {} images are available", order.len()),
        )),
        wanted => Ok(images.take(&balanced(&images.labels, order, wanted.unwrap_or(order.len())))),
    };
    let (validation, left) = match validation {
        Some(images) => (first(&images, &images.all(), "validation", counts.validation)?, train.all()),
        None => {
            let (held_out, left) = hold_out(name, &train, counts)?;
            (train.take(&held_out), left)
        }
    };
    let train = first(&train, &left, "train", counts.train)?;
    let test = first(&test, &test.all(), "test", counts.test)?;
    let edition = match edition {
        Edition::Official if train.len() + validation.len() + test.len() < there => Edition::Subset,
        edition => edition,
    };
    Ok(Parts { train, validation, test, edition })
}

fn refusal(name: &str, message: String) -> Error {
    Error::Plugin { kind: "dataset", name: name.into(), message }
}

/// Splits training files into their end, for validation, and what is left to train on.
fn hold_out(name: &str, train: &Images, counts: Counts) -> Result<(Vec<usize>, Vec<usize>)> {
    let total = train.len();
    let wanted = counts.validation.unwrap_or(counts.held_out.min(total / 10));
    if wanted >= total {
        return Err(refusal(
            name,
            format!(
                "`validation` = {wanted} does not fit: it is taken from the end of the training files, which have {total} images, \
                 and some have to be left to train on"
            ),
        ));
    }
    let backwards: Vec<usize> = train.all().into_iter().rev().collect();
    let held_out = balanced(&train.labels, &backwards, wanted);
    let mut left = train.all();
    left.retain(|index| held_out.binary_search(index).is_err());
    Ok((held_out, left))
}

/// `wanted` of the indices in `order`, ascending: class after class the first of each, then the
/// second of each, and so on.
fn balanced(labels: &[u8], order: &[usize], wanted: usize) -> Vec<usize> {
    let mut seen = [0_usize; 256];
    let mut ranked: Vec<(usize, u8, usize)> = order
        .iter()
        .map(|&index| {
            let label = labels[index];
            let rank = seen[usize::from(label)];
            seen[usize::from(label)] += 1;
            (rank, label, index)
        })
        .collect();
    ranked.sort_unstable();
    let mut chosen: Vec<usize> = ranked.into_iter().take(wanted).map(|(_, _, index)| index).collect();
    chosen.sort_unstable();
    chosen
}

impl Parts {
    /// The opened data set; `title` is its name in tables, and the numbers of images are put behind
    /// it.
    ///
    /// `published` are the mean and deviation of the published training images. Other data are
    /// normalised by the mean and deviation of their own training images in use:
    ///
    /// ```text
    /// mean_c = sum of x / n        std_c = sqrt(sum of x² / n - mean_c²)        x in 0..1, n values of channel c
    /// ```
    pub fn into_splits(self, title: &str, classes: Vec<String>, published: Normalisation) -> Result<Splits> {
        let Parts { train, validation, test, edition } = &self;
        let shape = train.shape.map(|size| size as i64);
        let mut digest = digest(&[train, validation, test]);
        let normalisation = match edition {
            Edition::Official | Edition::Subset => published,
            Edition::Other => {
                let own = measured(train);
                // The same images can be a part of published data, with other inputs: then the work
                // is another one.
                for value in own.mean.iter().chain(&own.std) {
                    digest.update(&value.to_le_bytes());
                }
                own
            }
        };
        Ok(Splits {
            info: DataInfo {
                shape,
                classes,
                digest: digest.finalize().to_hex().to_string(),
                title: format!("{title} ({}/{}/{})", train.len(), validation.len(), test.len()),
                edition: *edition,
            },
            normalisation,
            preparation: None,
            measured: None,
            train: train.split()?,
            validation: validation.split()?,
            test: test.split()?,
        })
    }
}

/// Mean and deviation of each channel, of values in 0..1. A channel that has one value everywhere
/// says nothing: its deviation is taken to be 1, so that it becomes 0.
fn measured(images: &Images) -> Normalisation {
    let [channels, height, width] = images.shape;
    let mut sums = vec![(0_u64, 0_u64); channels];
    for (index, plane) in images.pixels.chunks_exact(height * width).enumerate() {
        let (sum, squares) = &mut sums[index % channels];
        for value in plane.iter().copied().map(u64::from) {
            *sum += value;
            *squares += value * value;
        }
    }
    let count = (images.len() * height * width) as f64;
    let moments = |(sum, squares): (u64, u64)| {
        let mean = sum as f64 / count;
        (mean / 255.0, (squares as f64 / count - mean * mean).max(0.0).sqrt() / 255.0)
    };
    let moments: Vec<(f64, f64)> = sums.into_iter().map(moments).collect();
    Normalisation {
        mean: moments.iter().map(|(mean, _)| *mean as f32).collect(),
        std: moments.iter().map(|(_, std)| if *std > 1e-6 { *std as f32 } else { 1.0 }).collect(),
    }
}

/// Identifies the content in use, whatever files and settings it came from.
fn digest(splits: &[&Images]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    for images in splits {
        hasher.update(&(images.labels.len() as u64).to_le_bytes());
        hasher.update(&images.labels);
        hasher.update(&images.pixels);
    }
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of one value, which is their position; class `position % classes`.
    fn images(count: u8, classes: u8) -> Images {
        Images::new([1, 1, 1], (0..count).collect(), (0..count).map(|index| index % classes).collect())
    }

    fn parts(counts: Counts) -> Result<[Vec<u8>; 3]> {
        let files = Files { train: images(30, 3), validation: None, test: images(6, 3), edition: Edition::Official };
        let parts = partition("pictures", files, counts)?;
        Ok([parts.train.pixels, parts.validation.pixels, parts.test.pixels])
    }

    const ALL: Counts = Counts { train: None, validation: None, test: None, held_out: 6 };

    #[test]
    fn validation_is_the_end_of_the_training_files_and_never_trained_on() {
        let [train, validation, test] = parts(Counts { held_out: 3, ..ALL }).unwrap();
        assert_eq!((train, validation), ((0..27).collect(), vec![27, 28, 29]));
        assert_eq!(test, [0, 1, 2, 3, 4, 5]);
        // A tenth, where `held_out` is more than that.
        assert_eq!(parts(ALL).unwrap()[1], [27, 28, 29]);
        let [train, validation, _] = parts(Counts { train: Some(4), validation: Some(6), ..ALL }).unwrap();
        assert_eq!((train, validation), (vec![0, 1, 2, 3], (24..30).collect()));
    }

    #[test]
    fn without_validation_images_all_are_trained_on() {
        let [train, validation, _] = parts(Counts { validation: Some(0), ..ALL }).unwrap();
        assert_eq!((train.len(), validation.len()), (30, 0));
        let files = Files { train: images(3, 3), validation: None, test: images(3, 3), edition: Edition::Official };
        let parts = partition("pictures", files, Counts { validation: Some(0), ..ALL }).unwrap();
        let normalisation = Normalisation { mean: vec![0.5], std: vec![0.5] };
        let splits = parts.into_splits("Pictures", vec![String::new(); 3], normalisation).unwrap();
        assert_eq!(splits.validation.images.size(), [0, 1, 1, 1]);
        assert_eq!(splits.info.title, "Pictures (3/0/3)");
    }

    #[test]
    fn a_part_has_as_many_of_each_class_whatever_the_order_of_the_file() {
        let labels = [0, 0, 0, 0, 1, 1, 2, 0, 2, 1];
        let all: Vec<usize> = (0..labels.len()).collect();
        assert_eq!(balanced(&labels, &all, 6), [0, 1, 4, 5, 6, 8]);
        assert_eq!(balanced(&labels, &all, 4), [0, 1, 4, 6]);
        assert_eq!(balanced(&labels, &all, 10), all);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        for (counts, text) in [
            (Counts { train: Some(28), ..ALL }, "`train` = 28 is more than there is: 27 images are available"),
            (Counts { test: Some(7), ..ALL }, "`test` = 7 is more than there is: 6 images are available"),
            (Counts { validation: Some(30), ..ALL }, "`validation` = 30 does not fit"),
        ] {
            let error = parts(counts).unwrap_err().to_string();
            assert!(error.starts_with("dataset `pictures`: ") && error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_part_of_official_files_is_a_subset_and_all_of_them_is_official() {
        let edition = |edition, counts| {
            let files = Files { train: images(30, 3), validation: None, test: images(6, 3), edition };
            partition("pictures", files, counts).unwrap().edition
        };
        let whole =
            [ALL, Counts { validation: Some(0), ..ALL }, Counts { train: Some(24), validation: Some(6), ..ALL }];
        for counts in whole {
            assert_eq!(edition(Edition::Official, counts), Edition::Official, "{counts:?}");
        }
        let parts = [Counts { train: Some(26), ..ALL }, Counts { test: Some(5), ..ALL }];
        for counts in parts {
            assert_eq!(edition(Edition::Official, counts), Edition::Subset, "{counts:?}");
        }
        assert_eq!(edition(Edition::Subset, ALL), Edition::Subset);
        assert_eq!(edition(Edition::Other, ALL), Edition::Other);
    }

    /// Guards against constants of the published data on other data.
    #[test]
    fn other_data_are_normalised_by_their_own_training_images() {
        let published = || Normalisation { mean: vec![0.5; 2], std: vec![0.25; 2] };
        let made = |edition| {
            // Two channels: 0, 51, 102, 153 and 255 everywhere.
            let train = Images::new([2, 1, 2], vec![0, 51, 255, 255, 102, 153, 255, 255], vec![0, 1]);
            let test = Images::new([2, 1, 2], vec![9; 4], vec![0]);
            let files = Files { train, validation: None, test, edition };
            let counts = Counts { validation: Some(0), ..ALL };
            partition("pictures", files, counts).unwrap().into_splits("P", vec![], published()).unwrap()
        };
        for edition in [Edition::Official, Edition::Subset] {
            let splits = made(edition);
            assert_eq!((splits.normalisation.mean, splits.normalisation.std), (vec![0.5; 2], vec![0.25; 2]));
        }
        let other = made(Edition::Other);
        // Of 0, 0.2, 0.4 and 0.6: mean 0.3, variance 0.05.
        let near = |found: f32, expected: f32| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        near(other.normalisation.mean[0], 0.3);
        near(other.normalisation.std[0], 0.05_f32.sqrt());
        assert_eq!((other.normalisation.mean[1], other.normalisation.std[1]), (1.0, 1.0));
        assert_eq!(made(Edition::Official).info.digest, made(Edition::Subset).info.digest);
        assert_ne!(other.info.digest, made(Edition::Subset).info.digest);
    }
}
