//! Files that are read up to a bound, so that none can take all memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What a person writes has no more bytes: a manifest, a design, a list.
pub const MOST_TEXT: u64 = 16 << 20;

/// The content of a file that can have at most so many bytes: what is larger is not read, and of what is no file at all (a pipe, a
/// device) no more than [`MOST_TEXT`], for it may never end.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
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
pub fn text(path: &Path) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(read(path, MOST_TEXT)?).map_err(not_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_not_read() {
        let error = text(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "it has more than 16777216 bytes");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert!(read(&path, 3).is_err());
    }
}
