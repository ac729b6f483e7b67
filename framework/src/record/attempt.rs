//! Attempts: a trial at work in a folder of its own, whose result is published once.
//!
//! On a cluster the same trial can run twice at the same moment: a node is given up, its tasks
//! start elsewhere, and it turns out to live. No lock helps there, since a lock of a dead node
//! would never be free. So each attempt has a folder `attempts/TOKEN/` in the trial's folder:
//!
//! - It begins with copies of what the attempt that came farthest has left, so that a trial resumes
//!   from its last checkpoint.
//! - Finished, its folder is renamed to `finished/`. The kernel refuses to rename a folder over one
//!   that holds something, so that exactly one attempt of a trial gets there, whoever else is at
//!   work. The name stays taken: a file `token` remains in it.
//! - From there its files are copied to the trial's folder, the result last. Whoever finds
//!   `finished/` can do that, and doing it twice is doing it once.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::{EpochRow, Outcome, files, result};
use crate::ground::file::write_atomically;
use crate::{Error, Result};

/// Folder of the attempts in a trial's folder.
pub const ATTEMPTS: &str = "attempts";

/// The attempt that was the first to finish.
pub const FINISHED: &str = "finished";

const TOKEN: &str = "token";

/// What is copied to the trial's folder, in this order: the result's presence says that all the
/// rest is there.
fn published() -> impl Iterator<Item = &'static str> {
    [files::LOG].into_iter().chain(files::PARTS).chain([files::RESULT])
}

/// What a trial resumes from, in the order in which it is copied: a history may be longer than its
/// checkpoint says, never shorter.
const CARRIED: [&str; 7] = [
    files::CHECKPOINT,
    files::HISTORY,
    files::CANDIDATES,
    files::TICKET,
    files::DESIGN,
    files::SETTLED,
    files::WEIGHTS,
];

/// The folders that a trial is or was worked on in: its own and those of its attempts.
pub fn places(trial: &Path) -> Vec<PathBuf> {
    let attempts = std::fs::read_dir(trial.join(ATTEMPTS)).into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = attempts.map(|entry| entry.path()).collect();
    places.sort();
    places.insert(0, trial.to_owned());
    places
}

/// Whether a process works in a folder of [`places`].
pub fn is_held(place: &Path) -> bool {
    // Where the file system has no locks, nobody can hold one.
    File::open(place.join(files::LOCK))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Epochs that the farthest of the [`places`] has finished.
pub fn epochs(trial: &Path) -> usize {
    places(trial).iter().map(|place| rows(place)).max().unwrap_or(0)
}

fn rows(place: &Path) -> usize {
    super::read::<EpochRow>(&place.join(files::HISTORY)).map_or(0, |rows| rows.len())
}

/// Makes the folder of a new attempt of a trial, with all that it resumes from.
pub fn begin(trial: &Path, token: &str, manifest: &[u8]) -> Result<PathBuf> {
    let own = trial.join(ATTEMPTS).join(token);
    std::fs::create_dir_all(&own).map_err(Error::file("create", &own))?;
    // A look at the trial's folder says what it is before it is finished.
    write_atomically(&trial.join(files::MANIFEST), manifest)?;
    carry_over(trial, &own)?;
    Ok(own)
}

/// Copies what the attempt that came farthest has left. It may be at work still.
fn carry_over(trial: &Path, own: &Path) -> Result<()> {
    let others = places(trial).into_iter().filter(|place| place != own && place.join(files::CHECKPOINT).is_dir());
    let Some(farthest) = others.max_by_key(|place| rows(place)) else { return Ok(()) };
    for name in CARRIED {
        let (from, to) = (farthest.join(name), own.join(name));
        if !from.is_dir() {
            copy(&from, &to)?;
            continue;
        }
        std::fs::create_dir_all(&to).map_err(Error::file("create", &to))?;
        for entry in std::fs::read_dir(&from).map_err(Error::file("read", &from))?.flatten() {
            if !entry.file_name().to_string_lossy().starts_with('.') {
                copy(&entry.path(), &to.join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}

/// Copies a file whole; one that is not there, or not any more, is left out.
fn copy(from: &Path, to: &Path) -> Result<()> {
    match std::fs::read(from) {
        Ok(bytes) => write_atomically(to, &bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("read", from)(error)),
    }
}

/// Makes `own` the finished attempt, unless another one is that already; the result is that of the
/// attempt which finished first.
pub fn publish(trial: &Path, own: &Path, token: &str) -> Result<Outcome> {
    write_atomically(&own.join(TOKEN), token.as_bytes())?;
    let finished = trial.join(FINISHED);
    if !trial.join(files::RESULT).exists()
        && let Err(error) = std::fs::rename(own, &finished)
        && !finished.join(TOKEN).exists()
    {
        return Err(Error::file("rename", own)(error));
    }
    settle(trial);
    // What other attempts have left, those that are still at work aside.
    for place in places(trial).into_iter().skip(1) {
        if !is_held(&place) || place == own {
            let _ = std::fs::remove_dir_all(place);
        }
    }
    let _ = std::fs::remove_dir(trial.join(ATTEMPTS));
    result(trial).ok_or_else(|| Error::Content {
        path: trial.join(files::RESULT),
        message: "is not there although an attempt has finished".into(),
        hint: "run the same command again".into(),
    })
}

/// Copies the finished attempt, where there is one, to the trial's folder, and keeps of it no more
/// than its name. What cannot be done now is done by the next one who looks.
pub fn settle(trial: &Path) {
    let finished = trial.join(FINISHED);
    if result(&finished).is_none() {
        return;
    }
    if !trial.join(files::RESULT).exists() {
        let checkpoint = trial.join(files::CHECKPOINT);
        let _ = std::fs::remove_dir_all(&checkpoint);
        let _ = std::fs::rename(finished.join(files::CHECKPOINT), &checkpoint);
        for name in published() {
            if copy(&finished.join(name), &trial.join(name)).is_err() {
                return;
            }
        }
    }
    for entry in std::fs::read_dir(&finished).into_iter().flatten().flatten().filter(|entry| entry.file_name() != TOKEN)
    {
        let path = entry.path();
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(trial: &Path, token: &str) -> PathBuf {
        let own = trial.join(ATTEMPTS).join(token);
        std::fs::create_dir_all(own.join(files::CHECKPOINT)).unwrap();
        for name in published() {
            std::fs::write(own.join(name), token).unwrap();
        }
        own
    }

    /// A result that can be read is needed; its content is that of the attempt.
    fn with_result(own: &Path, seed: i64) {
        crate::record::write(&own.join(files::RESULT), &[Outcome { seed, ..Outcome::default() }]).unwrap();
    }

    #[test]
    fn the_first_attempt_to_finish_is_published_and_the_second_is_not() {
        let trial = tempfile::tempdir().unwrap();
        let (first, second) = (attempt(trial.path(), "first"), attempt(trial.path(), "second"));
        with_result(&first, 1);
        with_result(&second, 2);
        // The second is at work while the first one finishes.
        let lock = File::create(second.join(files::LOCK)).unwrap();
        lock.lock().unwrap();
        publish(trial.path(), &first, "first").unwrap();
        assert!(second.exists());
        drop(lock);
        publish(trial.path(), &second, "second").unwrap();
        assert_eq!(result(trial.path()).unwrap().seed, 1);
        assert_eq!(std::fs::read_to_string(trial.path().join(files::HISTORY)).unwrap(), "first");
        assert!(!trial.path().join(ATTEMPTS).exists());
    }

    #[test]
    fn what_a_killed_attempt_did_not_publish_is_published_by_the_next_look() {
        let trial = tempfile::tempdir().unwrap();
        let own = attempt(trial.path(), "a");
        with_result(&own, 3);
        std::fs::write(own.join(TOKEN), "a").unwrap();
        std::fs::rename(&own, trial.path().join(FINISHED)).unwrap();
        // Killed within the copying: the history is there, the result is not.
        std::fs::write(trial.path().join(files::HISTORY), "hal").unwrap();
        settle(trial.path());
        assert_eq!(result(trial.path()).unwrap().seed, 3);
        assert_eq!(std::fs::read_to_string(trial.path().join(files::HISTORY)).unwrap(), "a");
        let left: Vec<_> = std::fs::read_dir(trial.path().join(FINISHED)).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        // A late one finds the name taken.
        let late = attempt(trial.path(), "late");
        with_result(&late, 4);
        publish(trial.path(), &late, "late").unwrap();
        assert_eq!(result(trial.path()).unwrap().seed, 3);
    }
}
