//! What the readers of CIFAR-10 and CIFAR-100 share: their settings, and where the images come
//! from.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use litesnn_framework::Result;
use litesnn_framework::data::{DataStore, Splits, note};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::images::Counts;
use super::record_files::RecordFiles;

/// Images taken from the end of the training files for validation.
const HELD_OUT: usize = 5_000;

/// Channels, height and width of an image.
pub const SHAPE: [usize; 3] = [3, 32, 32];
/// What the authors say of a licence.
pub const LICENCE: &str = "none stated";
/// The technical report on both data sets.
pub const CITATION: &str = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009";
/// The authors' page of both data sets.
pub const PAGE: &str = "https://www.cs.toronto.edu/~kriz/cifar.html";

/// Settings of a CIFAR data set.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CifarSettings {
    /// Folder with the official binary files, or the folder around it; absent: the archive's folder
    /// in a folder for data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Number of images to train on, balanced over the classes; absent: all that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<NonZeroUsize>,
    /// Number of images to validate on, from the end of the training files, balanced; absent:
    /// 5,000; 0: none, all may be trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// Number of images to test on, balanced over the classes; absent: all there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<NonZeroUsize>,
    /// What tables say of files that are not the official ones, for example "JPEG q75"; absent:
    /// the name of their folder.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "note")]
    pub note: Option<String>,
}

impl CifarSettings {
    /// The files that [`CifarSettings::open`] reads.
    pub fn files(&self, set: &RecordFiles, store: &DataStore) -> Result<Vec<PathBuf>> {
        set.files(self.root.as_deref(), store)
    }

    /// Reads the files of `set`, and takes the images that these settings ask for.
    pub fn open(&self, set: &RecordFiles, store: &DataStore) -> Result<Splits> {
        let counts = Counts {
            train: self.train.map(NonZeroUsize::get),
            validation: self.validation,
            test: self.test.map(NonZeroUsize::get),
            held_out: HELD_OUT,
        };
        set.open(self.root.as_deref(), store, counts, self.note.as_deref())
    }
}
