//! A trial's folder: its name, its lock.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::file::remove_partial_files;
use crate::plugin::{Kind, find};
use crate::record::files;
use crate::{Error, Result};

/// What makes a trial the same work: its resolved settings without names and descriptions, the data, the design it takes over,
/// and the versions of its plugins. Where the data lies (the setting `root` of a data set) is left out: the digest says what lies
/// there. 16 hex digits. Without a seed it says what repetitions with other seeds have in common.
pub fn trial_hash(settings: &Value, seed: Option<u64>, data_digest: &str, taken_design: &str) -> String {
    let mut work = settings.clone();
    let mut versions = Vec::new();
    if let Value::Object(sections) = &mut work {
        sections.remove("experiment");
        sections.remove("design");
        sections.remove(Kind::Launcher.section());
        for dataset in sections.get_mut(Kind::Dataset.section()).and_then(Value::as_object_mut).into_iter().flatten() {
            if let Some(settings) = dataset.1.as_object_mut() {
                settings.remove("root");
            }
        }
        for kind in Kind::ALL {
            let names: Vec<String> = match sections.get(kind.section()) {
                Some(Value::Object(section)) => section.keys().cloned().collect(),
                Some(Value::Array(items)) => {
                    items.iter().filter_map(Value::as_object).flat_map(|item| item.keys().cloned()).collect()
                }
                _ => Vec::new(),
            };
            for name in names {
                let version = find(kind, &name).map_or(0, |plugin| plugin.version);
                versions.push(format!("{kind}.{name}={version}"));
            }
        }
    }
    let mut hasher = blake3::Hasher::new();
    // Objects of serde_json are ordered by key, so that the text does not depend on the order in a manifest.
    for part in [
        work.to_string(),
        seed.map(|seed| seed.to_string()).unwrap_or_default(),
        data_digest.to_owned(),
        taken_design.to_owned(),
        versions.join(","),
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// A trial's folder, locked by this process for as long as this value lives.
#[derive(Debug)]
pub struct TrialFolder {
    path: PathBuf,
    _lock: File,
}

impl TrialFolder {
    /// Creates the folder if need be and takes its lock. The lock of a dead process is free.
    pub fn lock(path: &Path) -> Result<TrialFolder> {
        std::fs::create_dir_all(path).map_err(Error::file("create", path))?;
        let lock_path = path.join(files::LOCK);
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .map_err(Error::file("open", &lock_path))?;
        // A look at the folder (`State::of`) holds it for a moment.
        let taken = lock.try_lock().or_else(|_| {
            std::thread::sleep(Duration::from_millis(20));
            lock.try_lock()
        });
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let read = lock.read_to_string(&mut owner);
                let owner = if read.is_ok() && !owner.is_empty() { owner } else { "another process".into() };
                return Err(Error::Locked { path: path.to_owned(), owner: owner.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", &lock_path)(error)),
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let owner = format!("process {} on host `{}`, since second {since} of 1970", std::process::id(), host.trim());
        lock.set_len(0).and_then(|()| lock.write_all(owner.as_bytes())).map_err(Error::file("write", &lock_path))?;
        remove_partial_files(path);
        remove_partial_files(&path.join(files::CHECKPOINT));
        Ok(TrialFolder { path: path.to_owned(), _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_hash_ignores_names_and_order_and_nothing_else() {
        let a = json!({"experiment": {"name": "a"}, "retrain": {"epochs": 1, "clip": 5.0}});
        let b = json!({"retrain": {"clip": 5.0, "epochs": 1}, "experiment": {"name": "b"}});
        assert_eq!(trial_hash(&a, Some(0), "d", ""), trial_hash(&b, Some(0), "d", ""));
        assert_ne!(trial_hash(&a, Some(1), "d", ""), trial_hash(&a, Some(0), "d", ""));
        assert_ne!(trial_hash(&a, Some(0), "e", ""), trial_hash(&a, Some(0), "d", ""));
        assert_ne!(trial_hash(&a, Some(0), "d", "x"), trial_hash(&a, Some(0), "d", ""));
        let at = |root: &str, train: i64| json!({"dataset": {"pictures": {"root": root, "train": train}}});
        assert_eq!(trial_hash(&at("/a", 5), None, "d", ""), trial_hash(&at("/b", 5), None, "d", ""));
        assert_ne!(trial_hash(&at("/a", 5), None, "d", ""), trial_hash(&at("/a", 6), None, "d", ""));
        let c = json!({"retrain": {"epochs": 2, "clip": 5.0}});
        assert_ne!(trial_hash(&a, Some(0), "d", ""), trial_hash(&c, Some(0), "d", ""));
    }

    #[test]
    fn a_held_folder_names_its_holder_and_a_released_one_is_free() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("trial");
        let held = TrialFolder::lock(&path).unwrap();
        let error = TrialFolder::lock(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        TrialFolder::lock(&path).unwrap();
    }
}
