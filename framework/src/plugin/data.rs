//! Data sets: from files in their official form to tensors.

use std::path::{Path, PathBuf};

use tch::Tensor;

use crate::Result;

/// A data set. Settings name where its files lie and how much of them to use.
#[typetag::serde]
pub trait Dataset: std::fmt::Debug + Send + Sync {
    /// Reads the files and splits them. `seed` is not passed on purpose: a data set is the same for every trial.
    fn open(&self, store: &DataStore) -> Result<Splits>;
}

/// Where data sets are looked for.
#[derive(Debug, Clone)]
pub struct DataStore {
    folders: Vec<PathBuf>,
}

impl DataStore {
    /// Looks in `folders`, in this order.
    pub fn new(folders: Vec<PathBuf>) -> DataStore {
        DataStore { folders }
    }

    /// The folders that are searched.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The first folder `name` that exists below one of the store's folders.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_dir())
    }

    /// `root` as it stands when absolute, else below the working directory or the store.
    pub fn resolve(&self, root: &Path) -> PathBuf {
        if root.is_dir() {
            root.to_owned()
        } else {
            self.find(&root.to_string_lossy()).unwrap_or_else(|| root.to_owned())
        }
    }
}

/// Images (or feature maps) with their labels.
#[derive(Debug)]
pub struct Split {
    /// `[N, C, H, W]`, u8 (0..255) or f32, on the CPU.
    pub images: Tensor,
    /// `[N]`, i64, class indices.
    pub labels: Tensor,
}

impl Split {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.size()[0] as usize
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Per-channel normalisation (x - mean) / std; u8 images are divided by 255 first.
#[derive(Debug, Clone)]
pub struct Normalisation {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
}

/// What a network has to know about its data.
#[derive(Debug, Clone)]
pub struct DataInfo {
    /// Channels, height, width.
    pub shape: [i64; 3],
    /// Names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// Digest over the content of all files read: part of a trial's identity.
    pub digest: String,
    /// What to call the data in a table, with its subset, for example `Fashion-MNIST (2000/500/1000)`.
    pub title: String,
}

/// An opened data set.
#[derive(Debug)]
pub struct Splits {
    /// Facts that do not depend on the split.
    pub info: DataInfo,
    /// How inputs are normalised.
    pub normalisation: Normalisation,
    /// Trained on.
    pub train: Split,
    /// Watched during training, never trained on.
    pub validation: Split,
    /// Measured once, at the end.
    pub test: Split,
}
