//! The checksums that `litesnn data fetch` leaves in a folder: of its files, and of the archives that
//! they come from.
//!
//! ```text
//! checksums.sha256     each unpacked file, as `sha256sum` writes and checks it
//! archives.sha256      each archive, in the same form; it was compared with the published SHA-256
//! ```
//!
//! So a folder whose files have no published checksums of their own can still be told from another
//! one: its files are the published ones where its archives are, and each file has the SHA-256 that
//! it was unpacked with.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::Source;
use crate::ground::file::{read_text, write_atomically};
use crate::{Error, Result};

/// The list of files in a fetched folder.
pub const CHECKSUMS: &str = "checksums.sha256";
/// The list of archives in a fetched folder.
pub const ARCHIVES: &str = "archives.sha256";

/// SHA-256 by path in the folder, lowercase hexadecimal.
pub type Checksums = BTreeMap<String, String>;

/// Leaves the lists in a folder that was made from the archives of a source.
pub fn write_checksums(folder: &Path, source: &Source, files: &Checksums) -> Result<()> {
    let line = |path: &str, sha256: &str| format!("{sha256}  {path}\n");
    let archives: String = source.archives.iter().map(|it| line(it.file_name(), it.sha256)).collect();
    write_atomically(&folder.join(ARCHIVES), archives.as_bytes())?;
    let files: String = files.iter().map(|(path, sha256)| line(path, sha256)).collect();
    write_atomically(&folder.join(CHECKSUMS), files.as_bytes())
}

/// The list of files in a folder; `None` where there is none.
///
/// # Errors
///
/// A list that cannot be read, and one with a line that is no SHA-256 and path below the folder.
pub fn read_checksums(folder: &Path, source: &Source) -> Result<Option<Checksums>> {
    read(&folder.join(CHECKSUMS), source)
}

/// The list of files in a folder that was made from the published archives of `source`; `None` where
/// nothing says so.
pub fn published_checksums(folder: &Path, source: &Source) -> Result<Option<Checksums>> {
    let published = |archives: Checksums| {
        source
            .archives
            .iter()
            .all(|archive| archives.get(archive.file_name()).is_some_and(|sha256| sha256 == archive.sha256))
    };
    match read(&folder.join(ARCHIVES), source)?.is_some_and(published) {
        true => read_checksums(folder, source),
        false => Ok(None),
    }
}

fn read(list: &Path, source: &Source) -> Result<Option<Checksums>> {
    if !list.is_file() {
        return Ok(None);
    }
    let text = read_text(list).map_err(Error::file("read", list))?;
    let mut all = Checksums::new();
    for (number, line) in text.lines().enumerate() {
        let parts = line.split_once("  ").filter(|(sha256, path)| {
            sha256.len() == 64
                && sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
                && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        });
        let Some((sha256, path)) = parts else {
            return Err(Error::Content {
                path: list.to_owned(),
                message: format!("is damaged in line {}", number + 1),
                hint: format!("move the folder away; {}", source.hint()),
            });
        };
        all.insert(path.into(), sha256.to_lowercase());
    }
    Ok(Some(all))
}
