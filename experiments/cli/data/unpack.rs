//! A gzipped tar archive to a folder; nothing in the archive can reach outside of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use litesnn_framework::Error;
use tar::{Archive, EntryType};

use super::Progress;
use super::checksum::Hashing;

/// Writes the regular files below `root` in the archive into `folder`, and returns their SHA-256 by path.
///
/// # Errors
///
/// A damaged archive, and one with a path that leaves the folder, with a link or with a device: all entries up to that one are
/// written.
pub fn unpack(
    archive: &Path,
    root: &str,
    folder: &Path,
    progress: &Progress,
) -> Result<BTreeMap<String, String>, Error> {
    let file = File::open(archive).map_err(Error::file("open", archive))?;
    let mut tar = Archive::new(MultiGzDecoder::new(BufReader::new(file)));
    let damaged = |error: io::Error| wrong(archive, format!("is damaged: {error}"));
    let mut sums = BTreeMap::new();
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let Some(path) = inside(&path) else {
            return Err(wrong(
                archive,
                format!("has `{}`, which would be written outside of its folder", path.display()),
            ));
        };
        let below = match path.strip_prefix(root) {
            Ok(below) => below,
            // A folder on the way to the root.
            Err(_) if kind == EntryType::Directory && Path::new(root).starts_with(&path) => continue,
            Err(_) => return Err(wrong(archive, format!("has `{}`, which is not in `{root}`", path.display()))),
        };
        let target = folder.join(below);
        match kind {
            EntryType::Directory => fs::create_dir_all(&target).map_err(Error::file("create", &target))?,
            EntryType::Regular | EntryType::Continuous => {
                if let Some(parent) = target.parent() {
                    fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
                }
                let mut output = Hashing::new(File::create_new(&target).map_err(Error::file("create", &target))?);
                // An error in reading is the archive's; one in writing would say the same of the file.
                let size = io::copy(&mut entry, &mut output).map_err(|error| {
                    wrong(archive, format!("cannot be unpacked to `{}`: {error}", target.display()))
                })?;
                let name = below
                    .to_str()
                    .ok_or_else(|| wrong(archive, format!("has the name {below:?}, which is no text")))?;
                sums.insert(name.to_owned(), output.finish().1);
                progress.advance(size);
            }
            _ => {
                return Err(wrong(
                    archive,
                    format!("has `{}`, which is a link or a device and not a file", path.display()),
                ));
            }
        }
    }
    Ok(sums)
}

/// The path without `.`, when it stays below where it starts.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

fn wrong(archive: &Path, message: String) -> Error {
    Error::Content {
        path: archive.to_owned(),
        message,
        hint: "it was not unpacked; take it from its official address".into(),
    }
}
