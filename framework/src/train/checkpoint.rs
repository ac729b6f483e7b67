//! Checkpoints in safetensors: written whole, checked by a digest, with the one before kept.
//!
//! A checkpoint is all that a trial needs to resume: tensors, the epochs so far as `history.parquet`
//! has them, the design that is retrained, and how far an epoch is that is not finished.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::Phase;
use crate::ground::file::{Staged, read_bounded};
use crate::ground::{Machine, Parameters};
use crate::record::{CandidateRow, Stage};
use crate::{Error, Result};

const LATEST: &str = "latest.safetensors";
const PREVIOUS: &str = "previous.safetensors";
const PARAMETER: &str = "parameter/";
const DESCENT: &str = "descent/";
/// The rows of the history, as the bytes of a Parquet file.
const HISTORY: &str = "history";
/// The candidates of the search, in the same form.
const CANDIDATES: &str = "candidates";
/// What the digest has always covered; checkpoints of older programs have no other keys.
const FIRST_KEYS: [&str; 5] = ["phase", "stage", "epochs", "finished", "history"];

/// The state of a trial between two batches.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// Hash of the trial that it belongs to; empty where an older program wrote it.
    pub trial: String,
    /// The network that was trained.
    pub phase: Phase,
    /// The stage that was running.
    pub stage: Stage,
    /// Its finished epochs.
    pub epochs: usize,
    /// What the epoch after them has so far.
    pub begun: Begun,
    /// Stages finished before it, in order.
    pub finished: Vec<Stage>,
    /// Rows of the history that belong to it.
    pub history: usize,
    /// These rows, as a Parquet file; empty where an older program wrote it.
    pub rows: Vec<u8>,
    /// What the search believes of its candidates so far, as a Parquet file; empty without any.
    pub candidates: Vec<u8>,
    /// The design that is trained in this phase, as TOML; empty where nothing is decided yet.
    pub design: String,
    /// What the trial ran on so far, in order; empty where an older program wrote it.
    pub machines: Vec<Machine>,
    /// What the search has taken outside of its epochs; nothing where an older program wrote it.
    pub deciding: Deciding,
    /// Parameters and buffers by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// State of the descents by name.
    pub descent: BTreeMap<String, Tensor>,
}

/// An epoch that is not finished: its batches so far, and their sums.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Begun {
    /// Batches that are done.
    pub batches: usize,
    /// Images in them.
    pub images: usize,
    /// Sum of the loss over the images.
    pub loss: f64,
    /// Images that were classified correctly.
    pub correct: i64,
    /// Wall time.
    pub seconds: f64,
    /// Time of the device.
    pub device_seconds: f64,
}

/// Time that a search takes to decide outside of its epochs: to measure candidates, scores, traces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Deciding {
    /// Wall time.
    pub seconds: f64,
    /// Time of the device.
    pub device_seconds: f64,
}

impl Deciding {
    /// Adds what measuring candidates took.
    pub(super) fn add_candidates(&mut self, rows: &[CandidateRow]) {
        self.device_seconds += rows.iter().map(|row| row.device_seconds).sum::<f64>();
    }
}

impl Begun {
    fn to_text(self) -> String {
        let Begun { batches, images, loss, correct, seconds, device_seconds } = self;
        // Rust writes as many digits as it takes to read the same bits again.
        format!("{batches} {images} {loss:?} {correct} {seconds:?} {device_seconds:?}")
    }

    fn from_text(text: &str) -> Option<Begun> {
        let mut words = text.split(' ');
        let begun = Begun {
            batches: words.next()?.parse().ok()?,
            images: words.next()?.parse().ok()?,
            loss: words.next()?.parse().ok()?,
            correct: words.next()?.parse().ok()?,
            seconds: words.next()?.parse().ok()?,
            device_seconds: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(begun)
    }
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

fn dtype(kind: Kind) -> Option<Dtype> {
    match kind {
        Kind::Float => Some(Dtype::F32),
        Kind::Double => Some(Dtype::F64),
        Kind::Int64 => Some(Dtype::I64),
        Kind::Uint8 => Some(Dtype::U8),
        _ => None,
    }
}

impl Checkpoint {
    /// Takes the parameters of a network.
    pub fn take_parameters(&mut self, parameters: &Parameters) {
        self.tensors = parameters.named().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy())).collect();
    }

    /// Puts the parameters back; every tensor of the network has to be there in its shape.
    pub fn restore_parameters(&self, parameters: &Parameters) -> Result<(), String> {
        for (name, tensor) in parameters.named() {
            let stored = self.tensors.get(name).ok_or_else(|| format!("has no tensor `{name}`"))?;
            if stored.size() != tensor.size() {
                return Err(format!("has `{name}` of shape {:?}, not {:?}", stored.size(), tensor.size()));
            }
            tch::no_grad(|| tensor.shallow_clone().copy_(stored));
        }
        Ok(())
    }

    /// Writes to `folder`; what was there becomes the previous checkpoint. Until the new one is
    /// whole on the disk, both stay.
    pub fn write(&self, folder: &Path) -> Result<()> {
        // Not the folder above it: a trial whose folder was removed must not resume as if it were
        // there.
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::file("create", folder)(error));
            }
            _ => {}
        }
        let mut content: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (prefix, tensors) in [(PARAMETER, &self.tensors), (DESCENT, &self.descent)] {
            for (name, tensor) in tensors {
                let kind = dtype(tensor.kind()).ok_or_else(|| {
                    Error::Record(format!("tensor `{name}` of type {:?} cannot be kept", tensor.kind()))
                })?;
                let shape = tensor.size().into_iter().map(|size| size as usize).collect();
                content.push((format!("{prefix}{name}"), kind, shape, bytes_of(tensor)));
            }
        }
        for (name, rows) in [(HISTORY, &self.rows), (CANDIDATES, &self.candidates)] {
            if !rows.is_empty() {
                content.push((name.to_owned(), Dtype::U8, vec![rows.len()], rows.clone()));
            }
        }
        content.sort_by(|a, b| order(&a.0).cmp(&order(&b.0)));
        let views: Vec<(&str, TensorView)> = content
            .iter()
            .map(|(name, kind, shape, bytes)| Ok((name.as_str(), TensorView::new(*kind, shape.clone(), bytes)?)))
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(|error| Error::Record(error.to_string()))?;
        let mut metadata = HashMap::from([
            ("phase".to_owned(), self.phase.to_string()),
            ("stage".to_owned(), self.stage.to_string()),
            ("epochs".to_owned(), self.epochs.to_string()),
            ("finished".to_owned(), self.finished.iter().map(Stage::name).collect::<Vec<_>>().join(",")),
            ("history".to_owned(), self.history.to_string()),
            ("trial".to_owned(), self.trial.clone()),
            ("begun".to_owned(), self.begun.to_text()),
            ("design".to_owned(), self.design.clone()),
            ("machines".to_owned(), json!(self.machines).to_string()),
            ("deciding".to_owned(), json!(self.deciding).to_string()),
        ]);
        metadata.insert(
            "digest".to_owned(),
            digest(&metadata, content.iter().map(|(name, _, _, bytes)| (name.as_str(), bytes.as_slice()))),
        );
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| Error::Record(error.to_string()))?;
        let latest = folder.join(LATEST);
        let staged = Staged::write(&latest, &bytes)?;
        if latest.exists() {
            let previous = folder.join(PREVIOUS);
            std::fs::rename(&latest, &previous).map_err(Error::file("rename", &latest))?;
        }
        staged.publish()
    }

    /// The newest checkpoint in `folder` that is whole, and each newer file that is not, with what
    /// is wrong with it.
    pub fn newest(folder: &Path) -> (Option<Checkpoint>, Vec<(PathBuf, Error)>) {
        let mut unusable = Vec::new();
        for path in [folder.join(LATEST), folder.join(PREVIOUS)] {
            if path.symlink_metadata().is_err() {
                continue;
            }
            match Checkpoint::read(&path) {
                Ok(checkpoint) => return (Some(checkpoint), unusable),
                Err(error) => unusable.push((path, error)),
            }
        }
        (None, unusable)
    }

    /// The checkpoint in `folder` that was written last, which has to be whole: the one before it
    /// holds other weights.
    pub fn last(folder: &Path) -> Result<Checkpoint> {
        Checkpoint::read(&Checkpoint::last_file(folder))
    }

    /// The file of that checkpoint.
    pub fn last_file(folder: &Path) -> PathBuf {
        folder.join(LATEST)
    }

    /// Reads one file.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        let content = |message: String| Error::Content {
            path: PathBuf::from(path),
            message,
            hint: "it is not used; training resumes from the one before, or from the start".into(),
        };
        // As large as the memory is: that is checked when it is asked for.
        let bytes = read_bounded(path, u64::MAX).map_err(Error::file("read", path))?;
        let damaged = |error: safetensors::SafeTensorError| content(format!("is not a checkpoint: {error}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let field = |name: &str| metadata.get(name).cloned().ok_or_else(|| content(format!("has no `{name}`")));
        let number = |name: &str| {
            field(name)?.parse::<usize>().map_err(|_| content(format!("has a `{name}` that is not a number")))
        };
        let mut stored: Vec<(String, TensorView)> = tensors.tensors();
        stored.sort_by(|a, b| order(&a.0).cmp(&order(&b.0)));
        let computed = digest(&metadata, stored.iter().map(|(name, view)| (name.as_str(), view.data())));
        if computed != field("digest")? {
            return Err(content("is damaged: its digest does not match".into()));
        }
        let later = |name: &str| metadata.get(name).cloned().unwrap_or_default();
        let begun = match metadata.get("begun") {
            None => Begun::default(),
            Some(text) => Begun::from_text(text).ok_or_else(|| content(format!("has a `begun` of `{text}`")))?,
        };
        let machines = match metadata.get("machines") {
            None => Vec::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| content(format!("has `machines` that cannot be read: {error}")))?,
        };
        let deciding = match metadata.get("deciding") {
            None => Deciding::default(),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| content(format!("has a time of `deciding` that cannot be read: {error}")))?,
        };
        let phase = field("phase")?;
        let mut checkpoint = Checkpoint {
            trial: later("trial"),
            design: later("design"),
            begun,
            machines,
            deciding,
            phase: Phase::named(&phase).ok_or_else(|| content(format!("has a `phase` of `{phase}`")))?,
            stage: Stage::named(&field("stage")?),
            epochs: number("epochs")?,
            finished: field("finished")?.split(',').filter(|name| !name.is_empty()).map(Stage::named).collect(),
            history: number("history")?,
            ..Checkpoint::default()
        };
        for (name, view) in stored {
            if name == HISTORY {
                checkpoint.rows = view.data().to_vec();
                continue;
            }
            if name == CANDIDATES {
                checkpoint.candidates = view.data().to_vec();
                continue;
            }
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::F64 => Kind::Double,
                Dtype::I64 => Kind::Int64,
                Dtype::U8 => Kind::Uint8,
                other => return Err(content(format!("holds `{name}` of type {other:?}"))),
            };
            let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
            let tensor = Tensor::from_data_size(view.data(), &shape, kind);
            if let Some(name) = name.strip_prefix(PARAMETER) {
                checkpoint.tensors.insert(name.to_owned(), tensor);
            } else if let Some(name) = name.strip_prefix(DESCENT) {
                checkpoint.descent.insert(name.to_owned(), tensor);
            }
        }
        Ok(checkpoint)
    }
}

/// The order in which tensors enter the digest: parameters, then descents, then the history, each
/// by name.
fn order(name: &str) -> (bool, bool, &str) {
    (name == HISTORY, name.starts_with(DESCENT), name)
}

fn digest<'a>(metadata: &HashMap<String, String>, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    for key in FIRST_KEYS {
        hasher.update(metadata.get(key).map_or("", String::as_str).as_bytes());
        hasher.update(b"\0");
    }
    let mut others: Vec<(&String, &String)> =
        metadata.iter().filter(|(key, _)| *key != "digest" && !FIRST_KEYS.contains(&key.as_str())).collect();
    others.sort_unstable();
    for text in others.into_iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    for (name, bytes) in tensors {
        hasher.update(name.as_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(epochs: usize) -> Checkpoint {
        Checkpoint {
            trial: "0123456789abcdef".into(),
            phase: Phase::Search,
            stage: Stage::Search("search".into()),
            epochs,
            begun: Begun { batches: 3, images: 60, loss: 0.1 + 0.2, correct: 7, seconds: 1.5, device_seconds: 2.5 },
            rows: vec![1, 2, 3],
            candidates: vec![4, 5],
            design: "version = 1\n".into(),
            machines: vec![Machine::here(Device::Cpu)],
            deciding: Deciding { seconds: 0.25, device_seconds: 0.5 },
            finished: vec![Stage::Search("warm-up".into())],
            history: epochs,
            tensors: BTreeMap::from([("b".to_owned(), Tensor::from_slice(&[1f32, 2., epochs as f32]))]),
            descent: BTreeMap::from([
                ("a/2/b".to_owned(), Tensor::from_slice(&[3f64])),
                ("a/0/b".to_owned(), Tensor::from_slice(&[3f32])),
            ]),
        }
    }

    #[test]
    fn a_checkpoint_survives_writing_and_reading() {
        let folder = tempfile::tempdir().unwrap();
        example(1).write(folder.path()).unwrap();
        example(2).write(folder.path()).unwrap();
        let (checkpoint, damaged) = Checkpoint::newest(folder.path());
        let checkpoint = checkpoint.unwrap();
        assert!(damaged.is_empty(), "{damaged:?}");
        assert_eq!((checkpoint.epochs, checkpoint.history, checkpoint.finished), (2, 2, example(2).finished));
        assert_eq!((checkpoint.begun, &checkpoint.machines), (example(2).begun, &example(2).machines));
        assert_eq!((checkpoint.rows, checkpoint.design), (vec![1, 2, 3], "version = 1\n".to_owned()));
        assert_eq!((checkpoint.candidates, checkpoint.deciding), (vec![4, 5], example(2).deciding));
        assert_eq!(checkpoint.tensors["b"].double_value(&[2]), 2.0);
        assert_eq!(checkpoint.descent["a/2/b"].kind(), Kind::Double);
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_the_previous_checkpoint_used() {
        let folder = tempfile::tempdir().unwrap();
        example(1).write(folder.path()).unwrap();
        example(2).write(folder.path()).unwrap();
        let latest = folder.path().join(LATEST);
        let whole = std::fs::read(&latest).unwrap();
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << (index % 8);
            std::fs::write(&latest, bytes).unwrap();
            let (checkpoint, damaged) = Checkpoint::newest(folder.path());
            assert_eq!(damaged.len(), 1, "byte {index}");
            assert!(damaged[0].1.to_string().contains(LATEST), "{damaged:?}");
            assert_eq!(checkpoint.unwrap().epochs, 1);
        }
    }

    #[test]
    fn a_checkpoint_that_cannot_be_written_leaves_both_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        example(1).write(folder.path()).unwrap();
        example(2).write(folder.path()).unwrap();
        let mut broken = example(3);
        broken.tensors.insert("bool".into(), Tensor::from(true));
        assert!(broken.write(folder.path()).is_err());
        let epochs = |name: &str| Checkpoint::read(&folder.path().join(name)).unwrap().epochs;
        assert_eq!((epochs(LATEST), epochs(PREVIOUS)), (2, 1));
    }
}
