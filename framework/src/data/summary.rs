//! The summary of a data set: what has to be known to plan with it, without reading it again.
//!
//! A summary is kept in a file of the cache folder with path, inode, size and times of change of the
//! files it came from. `cp -p` and `rsync -t` give other data the old date; the inode and the time of
//! the change of status, which nobody can set, tell them apart. While these files stay as they were,
//! so does the summary; a run opens the data itself, so that what it records never comes from a kept
//! summary.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{DataInfo, DataStore, Dataset, Splits};
use crate::Result;
use crate::ground::file::write_atomically;
use crate::plugin::{Kind, find};

/// What is known of a data set without holding it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Shape, classes, digest, title, edition.
    pub info: DataInfo,
    /// Samples to train on.
    pub train: usize,
    /// Samples to validate on.
    pub validation: usize,
    /// Samples to test on.
    pub test: usize,
    /// Memory of all splits in bytes.
    pub bytes: u64,
}

impl DataSummary {
    fn of(splits: &Splits) -> DataSummary {
        let all = [&splits.train, &splits.validation, &splits.test];
        let bytes = |tensor: &tch::Tensor| (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
        DataSummary {
            info: splits.info.clone(),
            train: splits.train.len(),
            validation: splits.validation.len(),
            test: splits.test.len(),
            bytes: all.iter().map(|split| bytes(&split.images) + bytes(&split.labels)).sum(),
        }
    }
}

/// A file as it was when the summary was made.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    size: u64,
    /// Device and inode.
    inode: (u64, u64),
    /// Change of the content, in nanoseconds since 1970.
    changed: i128,
    /// Change of the content, the name, the owner or the date: the kernel's own clock.
    status_changed: i128,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    files: Vec<Stamp>,
    summary: DataSummary,
}

impl DataStore {
    /// The data set, opened; once for each settings and store.
    pub fn open(&self, dataset: &dyn Dataset) -> Result<Rc<Splits>> {
        let key = settings(dataset);
        if let Some(splits) = self.opened.borrow().get(&key) {
            return Ok(Rc::clone(splits));
        }
        let splits = Rc::new(dataset.open(self)?);
        self.opened.borrow_mut().insert(key, Rc::clone(&splits));
        Ok(splits)
    }

    /// The summary of a data set: from memory, from the cache folder, or by opening it. Files are
    /// looked at once for each settings and store.
    pub fn summary(&self, dataset: &dyn Dataset) -> Result<DataSummary> {
        let key = settings(dataset);
        if let Some(splits) = self.opened.borrow().get(&key) {
            return Ok(DataSummary::of(splits));
        }
        if let Some(summary) = self.summarised.borrow().get(&key) {
            return Ok(summary.clone());
        }
        let summary = self.look(dataset, &key)?;
        self.summarised.borrow_mut().insert(key, summary.clone());
        Ok(summary)
    }

    /// The summary from the cache folder, or by opening the data set with these settings.
    fn look(&self, dataset: &dyn Dataset, settings: &str) -> Result<DataSummary> {
        let stamps = dataset.files(self)?.iter().map(|file| stamp(file)).collect::<Option<Vec<_>>>();
        let kept = match (&self.cache, stamps) {
            (Some(folder), Some(stamps)) if !stamps.is_empty() => {
                Some((folder.join(cache_name(dataset, settings)), stamps))
            }
            _ => None,
        };
        if let Some((path, stamps)) = &kept
            && let Some(found) = std::fs::read(path).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok())
            && found.files == *stamps
        {
            return Ok(found.summary);
        }
        let splits = self.open(dataset)?;
        let summary = DataSummary::of(&splits);
        if let Some((path, files)) = kept {
            let kept = Kept { files, summary: summary.clone() };
            // Without the cache the next look takes longer, and that is all.
            if let (Some(folder), Ok(text)) = (path.parent(), serde_json::to_vec(&kept))
                && std::fs::create_dir_all(folder).is_ok()
            {
                let _ = write_atomically(&path, &text);
            }
        }
        Ok(summary)
    }
}

fn settings(dataset: &dyn Dataset) -> String {
    serde_json::to_string(dataset).unwrap_or_else(|_| format!("{dataset:?}"))
}

/// What a summary depends on beside the files.
fn cache_name(dataset: &dyn Dataset, settings: &str) -> String {
    let version = find(Kind::Dataset, dataset.typetag_name()).map_or(0, |plugin| plugin.version);
    let text = format!("{} {version} {settings}", env!("CARGO_PKG_VERSION"));
    format!("{}.json", &blake3::hash(text.as_bytes()).to_hex()[..32])
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Some(Stamp {
        path: std::path::absolute(path).ok()?,
        size: metadata.len(),
        inode: (metadata.dev(), metadata.ino()),
        changed: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        status_changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::UNIX_EPOCH;

    use tch::{Kind as TensorKind, Tensor};

    use super::*;
    use crate::data::{Edition, Normalisation, Split};

    thread_local!(static OPENED: Cell<usize> = const { Cell::new(0) });

    /// A data set of one file: its bytes are images of one pixel.
    #[derive(Debug, Serialize, Deserialize)]
    struct OneFile {
        path: PathBuf,
    }

    #[typetag::serde(name = "test-one-file")]
    impl Dataset for OneFile {
        fn form(&self) -> ([i64; 3], usize) {
            ([1, 1, 1], 1)
        }

        fn open(&self, _: &DataStore) -> Result<Splits> {
            OPENED.set(OPENED.get() + 1);
            let bytes = std::fs::read(&self.path).unwrap();
            let split = || Split {
                images: Tensor::from_slice(&bytes).view([-1, 1, 1, 1]),
                labels: Tensor::zeros([bytes.len() as i64], (TensorKind::Int64, tch::Device::Cpu)),
            };
            Ok(Splits {
                info: DataInfo {
                    shape: [1, 1, 1],
                    classes: vec!["a".into()],
                    digest: blake3::hash(&bytes).to_hex().to_string(),
                    title: "one".into(),
                    edition: Edition::Other,
                },
                normalisation: Normalisation { mean: vec![0.0], std: vec![1.0] },
                preparation: None,
                measured: None,
                train: split(),
                validation: split(),
                test: split(),
            })
        }

        fn files(&self, _: &DataStore) -> Result<Vec<PathBuf>> {
            Ok(vec![self.path.clone()])
        }
    }

    #[test]
    fn a_summary_is_kept_until_a_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = OneFile { path: folder.path().join("data") };
        std::fs::write(&dataset.path, [1, 2, 3]).unwrap();
        // A store of its own is a process of its own.
        let look = || DataStore::new(Vec::new()).with_cache(folder.path().join("cache")).summary(&dataset).unwrap();
        let first = look();
        assert_eq!((first.train, first.bytes, OPENED.get()), (3, 3 * 3 * (1 + 8), 1));
        assert_eq!((look(), OPENED.get()), (first.clone(), 1));
        std::fs::write(&dataset.path, [1, 2, 3, 4]).unwrap();
        let second = look();
        assert_eq!((second.train, OPENED.get()), (4, 2));
        assert_ne!(second.info.digest, first.info.digest);
        std::fs::write(folder.path().join("cache").join(cache_name(&dataset, &settings(&dataset))), "{").unwrap();
        assert_eq!((look(), OPENED.get()), (second, 3));
        // Within a process the data are opened once.
        let store = DataStore::new(Vec::new());
        assert!(Rc::ptr_eq(&store.open(&dataset).unwrap(), &store.open(&dataset).unwrap()));
        assert_eq!(OPENED.get(), 4);
    }

    /// `cp -p` over the data: `plan` took the facts of the old data for those of the new.
    #[test]
    fn other_data_of_the_same_size_and_date_are_noticed_written_over_or_put_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = OneFile { path: folder.path().join("data") };
        let look = || DataStore::new(Vec::new()).with_cache(folder.path().join("cache")).summary(&dataset).unwrap();
        let date =
            |path: &Path| std::fs::File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
        std::fs::write(&dataset.path, [1, 2, 3]).unwrap();
        date(&dataset.path);
        let first = look().info.digest;
        // The kernel's clock ticks every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&dataset.path, [3, 2, 1]).unwrap();
        date(&dataset.path);
        let second = look().info.digest;
        let other = folder.path().join("other");
        std::fs::write(&other, [2, 2, 2]).unwrap();
        date(&other);
        std::fs::rename(&other, &dataset.path).unwrap();
        let third = look().info.digest;
        assert!(first != second && second != third && first != third, "{first} {second} {third}");
    }
}
