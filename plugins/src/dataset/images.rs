//! Labelled images of eight bits a value: what the readers of image data sets share.
//!
//! A reader turns its files into [`Images`], and [`partition`] into training, validation and test
//! images: balanced parts of what there is, and validation images held out of the training files
//! where no file is set aside for them.

use std::ops::Range;

use tch::Tensor;

use litesnn_framework::data::{DataInfo, Normalisation, Split, Splits};
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
    let Files { train, validation, test } = files;
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
    Ok(Parts { train, validation, test })
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
    pub fn into_splits(self, title: &str, classes: Vec<String>, normalisation: Normalisation) -> Result<Splits> {
        let Parts { train, validation, test } = &self;
        let shape = train.shape.map(|size| size as i64);
        Ok(Splits {
            info: DataInfo {
                shape,
                classes,
                digest: digest(&[train, validation, test]),
                title: format!("{title} ({}/{}/{})", train.len(), validation.len(), test.len()),
            },
            normalisation,
            preparation: None,
            train: train.split()?,
            validation: validation.split()?,
            test: test.split()?,
        })
    }
}

/// Identifies the content in use, whatever files and settings it came from.
fn digest(splits: &[&Images]) -> String {
    let mut hasher = blake3::Hasher::new();
    for images in splits {
        hasher.update(&(images.labels.len() as u64).to_le_bytes());
        hasher.update(&images.labels);
        hasher.update(&images.pixels);
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of one value, which is their position; class `position % classes`.
    fn images(count: u8, classes: u8) -> Images {
        Images::new([1, 1, 1], (0..count).collect(), (0..count).map(|index| index % classes).collect())
    }

    fn parts(counts: Counts) -> Result<[Vec<u8>; 3]> {
        let files = Files { train: images(30, 3), validation: None, test: images(6, 3) };
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
        let files = Files { train: images(3, 3), validation: None, test: images(3, 3) };
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
}
