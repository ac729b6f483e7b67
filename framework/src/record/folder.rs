//! A trial's folder: its name, its lock.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Outcome, files};
use crate::ground::file::remove_partial_files;
use crate::{Error, Result};

/// A trial's folder, locked by this process for as long as this value lives.
#[derive(Debug)]
pub struct TrialFolder {
    path: PathBuf,
    lock: File,
    left_by: Option<String>,
}

impl TrialFolder {
    /// Creates the folder if need be and takes its lock, or fails with the name of the holder.
    ///
    /// The kernel holds the lock for the process, and lets go of it when the process ends, however
    /// that happens; on a network file system the server does when the host is gone for as long as
    /// its lease lasts. So nobody has to guess from the age of a file whether an owner still lives,
    /// and a clock that was changed changes nothing.
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
        // What is written in it: by the holder, or by the last one, unless that one let go in
        // order.
        let mut owner = String::new();
        let _ = (&lock).take(LONGEST_OWNER).read_to_string(&mut owner);
        let owner = Some(owner.trim().to_owned()).filter(|owner| !owner.is_empty());
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = owner.unwrap_or_else(|| "another process".into());
                return Err(Error::Locked { path: path.to_owned(), owner });
            }
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                return Err(Error::Content {
                    path: path.to_owned(),
                    message: format!(
                        "is on a file system without locks ({error}), and without a lock two processes could work on one trial"
                    ),
                    hint: "`--runs DIR` puts the record on another file system; a network file system has locks where its \
                           lock service runs (NFS: `lockd`; Lustre: the mount option `flock`)"
                        .into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", &lock_path)(error)),
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let now = format!("process {} on host `{}`, since {}", std::process::id(), host.trim(), utc(SystemTime::now()));
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(now.as_bytes()))
            .map_err(Error::file("write", &lock_path))?;
        remove_partial_files(path);
        remove_partial_files(&path.join(files::CHECKPOINT));
        Ok(TrialFolder { path: path.to_owned(), lock, left_by: owner })
    }

    /// The process that held it before and did not let go in order: it was killed, or its host is
    /// gone.
    pub fn left_by(&self) -> Option<&str> {
        self.left_by.as_deref()
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

/// Whether a file system refuses locks altogether.
fn has_no_locks(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOLCK | libc::EOPNOTSUPP | libc::ENOSYS))
}

impl Drop for TrialFolder {
    fn drop(&mut self) {
        // An empty lock was left in order. One that stays full is no harm.
        let _ = self.lock.set_len(0);
    }
}

/// An owner is one line.
const LONGEST_OWNER: u64 = 1000;

/// A moment as `2026-11-24 14:17:05 UTC`.
fn utc(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days since 1970: years begin in March, so that a leap
    // day is a year's last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + 400 * era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC", second % 60)
}

/// The folders of trials under `runs`, in the order of their names.
pub fn trial_folders(runs: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        folders.sort();
        folders
    };
    below(runs).iter().flat_map(|experiment| below(experiment)).collect()
}

/// The result in a trial's folder, where it is finished.
pub fn result(folder: &Path) -> Option<Outcome> {
    super::read::<Outcome>(&folder.join(files::RESULT)).ok()?.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_names_its_holder_and_a_released_one_is_free() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("trial");
        let held = TrialFolder::lock(&path).unwrap();
        let error = TrialFolder::lock(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        let again = TrialFolder::lock(&path).unwrap();
        assert_eq!(again.left_by(), None);
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over_and_it_is_named() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join(files::LOCK), "process 7 on host `gone`, since 2026-11-24 14:17:05 UTC")
            .unwrap();
        let folder = TrialFolder::lock(parent.path()).unwrap();
        assert_eq!(folder.left_by(), Some("process 7 on host `gone`, since 2026-11-24 14:17:05 UTC"));
    }

    #[test]
    fn a_moment_is_told_in_utc() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(at(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(at(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(at(1_795_530_000), "2026-11-24 14:20:00 UTC");
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01 00:00:00 UTC");
    }
}
