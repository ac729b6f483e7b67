//! Files that appear whole or not at all, and that are read up to a bound, so that none can take
//! all memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

const PARTIAL: &str = ".partial-";

/// A file that is written and synced beside its place, and not there yet. Dropped, it leaves
/// nothing.
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    target: PathBuf,
}

impl Staged {
    /// Writes `bytes` beside `path` and syncs them.
    pub fn write(path: &Path, bytes: &[u8]) -> Result<Staged> {
        let mut partial = tempfile::Builder::new();
        partial.prefix(PARTIAL);
        // A temporary file would be private. What a trial leaves is as any file that its user makes:
        // the kernel takes the bits of the umask away from these.
        #[cfg(unix)]
        partial.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = partial.tempfile_in(folder_of(path)).map_err(Error::file("write", path))?;
        file.write_all(bytes).map_err(Error::file("write", path))?;
        file.as_file().sync_all().map_err(Error::file("write", path))?;
        Ok(Staged { file, target: path.to_owned() })
    }

    /// Renames it to its place, and syncs the folder: the name survives a loss of power as the
    /// content does.
    pub fn publish(self) -> Result<()> {
        let Staged { file, target } = self;
        file.persist(&target).map_err(|error| Error::file("write", &target)(error.error))?;
        sync_folder(folder_of(&target)).map_err(Error::file("write", &target))
    }
}

/// Writes `bytes` beside `path`, syncs, and renames: a reader sees the old content or the new,
/// whatever happens.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    Staged::write(path, bytes)?.publish()
}

/// Renames a file that cannot be used to `NAME.damaged`, or the first of `.damaged-2`, ... that is
/// free: nothing is deleted, and nothing of that name is written over.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let free = (1..)
        .map(|number| match number {
            1 => path.with_file_name(format!("{name}.damaged")),
            number => path.with_file_name(format!("{name}.damaged-{number}")),
        })
        .find(|aside| aside.symlink_metadata().is_err());
    let aside = free.expect("a folder has a free name");
    std::fs::rename(path, &aside).map_err(Error::file("rename", path))?;
    Ok(aside)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems have no such thing, and keep names in their own way.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// Removes what a process that was killed was writing in `folder`. Nobody else may be writing
/// there.
pub fn remove_partial_files(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            // One that stays is no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// What a person writes has no more bytes: a manifest, a design, a list.
pub const MOST_TEXT: u64 = 16 << 20;

/// The content of a file that can have at most so many bytes: what is larger is not read, and of
/// what is no file at all (a pipe, a device) no more than [`MOST_TEXT`], for it may never end.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    let most = if about.is_file() { most } else { most.min(MOST_TEXT) };
    let size = if about.is_file() { about.len() } else { 0 };
    let mut bytes = Vec::new();
    if size <= most {
        bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))?;
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    match size.max(bytes.len() as u64) > most {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// The same as text, of [`MOST_TEXT`] bytes at most.
pub fn read_text(path: &Path) -> io::Result<String> {
    text(read_bounded(path, MOST_TEXT)?)
}

/// Bytes as text; what is not UTF-8 is an error.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_not_read() {
        let error = read_text(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "it has more than 16777216 bytes");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_bounded(&path, 4).unwrap(), b"four");
        assert!(read_bounded(&path, 3).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = write_atomically(&folder.path().join("no/a.toml"), b"x").unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("no/a.toml"), "{error}");
    }

    #[test]
    fn what_was_staged_is_not_there_before_it_is_published_and_leaves_nothing_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        write_atomically(&path, b"one").unwrap();
        let staged = Staged::write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        drop(staged);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        Staged::write(&path, b"three").unwrap().publish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
    }

    #[test]
    fn what_is_set_aside_takes_no_name_that_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        for (content, name) in [("one", "a.toml.damaged"), ("two", "a.toml.damaged-2")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(set_aside(&path).unwrap(), folder.path().join(name));
        }
        assert_eq!(std::fs::read_to_string(folder.path().join("a.toml.damaged")).unwrap(), "one");
        assert!(set_aside(&path).is_err());
    }

    #[test]
    fn only_what_was_left_half_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        write_atomically(&folder.path().join("a.toml"), b"one").unwrap();
        std::fs::write(folder.path().join(".partial-x"), "tw").unwrap();
        remove_partial_files(folder.path());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a.toml"]);
    }

    /// They were 644 under any umask: private work could be read by everyone.
    #[test]
    fn a_whole_file_has_the_permissions_of_any_file_that_the_user_makes() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        std::fs::write(folder.path().join("plain"), "").unwrap();
        write_atomically(&folder.path().join("whole"), b"").unwrap();
        assert_eq!(mode("whole"), mode("plain"));
    }
}
