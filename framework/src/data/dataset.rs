//! Data sets: from files in their official form to tensors.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

use super::DataSummary;
use crate::ground::Stream;
use crate::{Error, Result};

/// A data set. Settings name where its files lie and how much of them to use.
#[typetag::serde]
pub trait Dataset: std::fmt::Debug + Send + Sync {
    /// Reads the files and splits them. `seed` is not passed on purpose: a data set is the same for
    /// every trial.
    fn open(&self, store: &DataStore) -> Result<Splits>;

    /// Channels, height and width of a sample and the number of classes, without reading a file.
    fn form(&self) -> ([i64; 3], usize);

    /// The files that [`open`](Dataset::open) reads (or folders, where a change of their entries
    /// tells of any change). While none of them changes, what is known of the data is kept from one
    /// process to the next; empty where that cannot be said.
    fn files(&self, _store: &DataStore) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    /// The input of a sound that a user has, made by the code that makes the inputs of this data set's
    /// own clips. `measured` is [`Splits::measured`] of the data that the network was trained on.
    ///
    /// # Errors
    ///
    /// A data set whose samples are no sounds, and a file that is none or that cannot be heard as one of
    /// its clips.
    fn hear(&self, _clip: &Path, _measured: &Value) -> Result<Heard> {
        Err(Error::Plugin {
            kind: "dataset",
            name: self.typetag_name().into(),
            message: "its samples are no sounds, and so it makes no input of one".into(),
        })
    }
}

/// A sound of a user as a network's input.
#[derive(Debug)]
pub struct Heard {
    /// `[1, C, H, W]`, as [`Split::images`]: it is normalised afterwards.
    pub input: Tensor,
    /// What was done to the sound that the user may not expect, each the rest of a sentence that begins
    /// with the file.
    pub notes: Vec<String>,
}

/// Where data sets are looked for.
#[derive(Debug, Clone)]
pub struct DataStore {
    folders: Vec<PathBuf>,
    /// Where summaries are kept between processes.
    pub(super) cache: Option<PathBuf>,
    /// What is open, by its settings.
    pub(super) opened: Rc<RefCell<BTreeMap<String, Rc<Splits>>>>,
    /// What is known without opening it, by its settings.
    pub(super) summarised: Rc<RefCell<BTreeMap<String, DataSummary>>>,
}

impl DataStore {
    /// Looks in `folders`, in this order.
    pub fn new(folders: Vec<PathBuf>) -> DataStore {
        DataStore { folders, cache: None, opened: Rc::default(), summarised: Rc::default() }
    }

    /// Keeps summaries of data sets in `folder`; without it they are made anew in each process.
    pub fn with_cache(self, folder: PathBuf) -> DataStore {
        DataStore { cache: Some(folder), ..self }
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

impl fmt::Display for DataStore {
    /// The folders that are searched, as in a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folders: Vec<String> = self.folders.iter().map(|folder| format!("`{}`", folder.display())).collect();
        f.write_str(&if folders.is_empty() { "there are none".to_owned() } else { folders.join(", ") })
    }
}

/// Images (or feature maps) with their labels.
#[derive(Debug)]
pub struct Split {
    /// `[N, C, H, W]`, u8 (0..255) or f32, on the CPU; for training with a [`Preparation`], what
    /// that takes, `[N, ...]`.
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

/// Makes inputs of raw training samples, anew in each epoch: features of a sound that is changed at
/// random each time it is heard. Validation and test samples are never changed: their inputs are
/// made once, when the data set is opened.
pub trait Preparation: std::fmt::Debug + Send + Sync {
    /// Inputs `[B, C, H, W]`, u8 or f32, on the CPU, of the raw samples `[B, ...]` of one batch.
    /// They are normalised afterwards.
    ///
    /// `random` is opened for this batch of this epoch alone, so that a trial that resumes after an
    /// interruption draws the same numbers.
    fn prepare(&self, raw: &Tensor, random: &mut Stream) -> Tensor;
}

/// What a network has to know about its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataInfo {
    /// Channels, height, width.
    pub shape: [i64; 3],
    /// Names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// Digest over the content of all files read: part of a trial's identity.
    pub digest: String,
    /// What to call the data in a table, with its subset, for example
    /// `Fashion-MNIST (2000/500/1000)`.
    pub title: String,
    /// How the data relate to the published data set.
    pub edition: Edition,
}

impl DataInfo {
    /// What a network is told of data of a form (channels, height, width; number of classes) whose
    /// content is not known.
    pub fn of_form((shape, classes): ([i64; 3], usize)) -> DataInfo {
        let classes = (0..classes).map(|class| class.to_string()).collect();
        DataInfo { shape, classes, digest: String::new(), title: String::new(), edition: Edition::Other }
    }
}

/// How the data in use relate to the published data set that a plugin reads. The content decides,
/// wherever it lies and whatever its folder is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edition {
    /// All of it, unchanged.
    Official,
    /// A part of it, unchanged.
    Subset,
    /// Something else in its form, or data that nobody has published.
    Other,
}

impl Edition {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Edition::Official => "official",
            Edition::Subset => "subset",
            Edition::Other => "other",
        }
    }
}

/// An opened data set.
#[derive(Debug)]
pub struct Splits {
    /// Facts that do not depend on the split.
    pub info: DataInfo,
    /// How inputs are normalised.
    pub normalisation: Normalisation,
    /// What makes inputs of training samples, where they are not inputs already.
    pub preparation: Option<std::rc::Rc<dyn Preparation>>,
    /// What was measured on the training samples and is a part of every input: with it,
    /// [`Dataset::hear`] makes inputs where the training samples are not. None where the data set
    /// hears nothing.
    pub measured: Option<Value>,
    /// Trained on.
    pub train: Split,
    /// Watched during training, never trained on.
    pub validation: Split,
    /// Measured once, at the end.
    pub test: Split,
}
