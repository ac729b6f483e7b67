//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

const PARTIAL: &str = ".partial-";

/// Writes `bytes` beside `path`, syncs, and renames: a reader sees the old content or the new, whatever happens.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder).map_err(Error::file("write", path))?;
    file.write_all(bytes).map_err(Error::file("write", path))?;
    file.as_file().sync_all().map_err(Error::file("write", path))?;
    // A temporary file is private; what a trial leaves is for everyone who may read the folder.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(permissions).map_err(Error::file("write", path))?;
    }
    file.persist(path).map_err(|error| Error::file("write", path)(error.error))?;
    Ok(())
}

/// Removes what a process that was killed was writing in `folder`. Nobody else may be writing there.
pub fn remove_partial_files(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            // One that stays is no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_what_was_left_half_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        write_atomically(&folder.path().join("a.toml"), b"one").unwrap();
        std::fs::write(folder.path().join(".partial-x"), "tw").unwrap();
        remove_partial_files(folder.path());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a.toml"]);
    }
}
