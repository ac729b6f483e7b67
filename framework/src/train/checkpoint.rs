//! Checkpoints in safetensors: written whole, checked by a digest, with the one before kept.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};

use crate::plugin::Parameters;
use crate::run::write_atomically;
use crate::{Error, Result};

const LATEST: &str = "latest.safetensors";
const PREVIOUS: &str = "previous.safetensors";
const PARAMETER: &str = "parameter/";
const DESCENT: &str = "descent/";

/// The state of a trial between two epochs.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The network that was trained: `search` or `retrain`.
    pub phase: String,
    /// The stage that was running.
    pub stage: String,
    /// Its finished epochs.
    pub epochs: usize,
    /// Stages finished before it, in order.
    pub finished: Vec<String>,
    /// Rows of the history that belong to it.
    pub history: usize,
    /// Parameters and buffers by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// State of the descents by name.
    pub descent: BTreeMap<String, Tensor>,
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

    /// Writes to `folder`; what was there becomes the previous checkpoint.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
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
        let views: Vec<(&str, TensorView)> = content
            .iter()
            .map(|(name, kind, shape, bytes)| Ok((name.as_str(), TensorView::new(*kind, shape.clone(), bytes)?)))
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(|error| Error::Record(error.to_string()))?;
        let mut metadata = HashMap::from([
            ("phase".to_owned(), self.phase.clone()),
            ("stage".to_owned(), self.stage.clone()),
            ("epochs".to_owned(), self.epochs.to_string()),
            ("finished".to_owned(), self.finished.join(",")),
            ("history".to_owned(), self.history.to_string()),
        ]);
        metadata.insert(
            "digest".to_owned(),
            digest(&metadata, content.iter().map(|(name, _, _, bytes)| (name.as_str(), bytes.as_slice()))),
        );
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| Error::Record(error.to_string()))?;
        let latest = folder.join(LATEST);
        if latest.exists() {
            let previous = folder.join(PREVIOUS);
            std::fs::rename(&latest, &previous).map_err(Error::file("rename", &latest))?;
        }
        write_atomically(&latest, &bytes)
    }

    /// The newest checkpoint in `folder` that is whole, and a message for each one that is not.
    pub fn newest(folder: &Path) -> (Option<Checkpoint>, Vec<String>) {
        let mut damaged = Vec::new();
        for path in [folder.join(LATEST), folder.join(PREVIOUS)] {
            if !path.exists() {
                continue;
            }
            match Checkpoint::read(&path) {
                Ok(checkpoint) => return (Some(checkpoint), damaged),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        (None, damaged)
    }

    /// Reads one file.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        let content = |message: String| Error::Content {
            path: PathBuf::from(path),
            message,
            hint: "it is not used; training goes on from the one before, or from the start".into(),
        };
        let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
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
        let mut checkpoint = Checkpoint {
            phase: field("phase")?,
            stage: field("stage")?,
            epochs: number("epochs")?,
            finished: field("finished")?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            history: number("history")?,
            ..Checkpoint::default()
        };
        for (name, view) in stored {
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::F64 => Kind::Double,
                Dtype::I64 => Kind::Int64,
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

/// The order in which tensors enter the digest: parameters, then descents, each by name.
fn order(name: &str) -> (bool, &str) {
    (name.starts_with(DESCENT), name)
}

fn digest<'a>(metadata: &HashMap<String, String>, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    for key in ["phase", "stage", "epochs", "finished", "history"] {
        hasher.update(metadata.get(key).map_or("", String::as_str).as_bytes());
        hasher.update(b"\0");
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
            phase: "search".into(),
            stage: "search".into(),
            epochs,
            finished: vec!["warm-up".into()],
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
        assert_eq!((checkpoint.epochs, checkpoint.history, checkpoint.finished), (2, 2, vec!["warm-up".to_owned()]));
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
        for index in [whole.len() - 1, 9, whole.len() / 2] {
            let mut bytes = whole.clone();
            bytes[index] ^= 4;
            std::fs::write(&latest, bytes).unwrap();
            let (checkpoint, damaged) = Checkpoint::newest(folder.path());
            assert_eq!(damaged.len(), 1, "byte {index}");
            assert!(damaged[0].contains(LATEST), "{damaged:?}");
            assert_eq!(checkpoint.unwrap().epochs, 1);
        }
    }
}
