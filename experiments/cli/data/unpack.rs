//! A gzipped tar archive to a folder; nothing in the archive can reach outside of it.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use litesnn_framework::Error;
use litesnn_framework::data::Checksums;
use tar::{Archive, EntryType};

use super::Progress;
use super::checksum::Hashing;

/// Writes the regular files below `root` in the archive into `folder`, and returns their SHA-256 by
/// path.
///
/// # Errors
///
/// A damaged archive, and one with a path that leaves the folder, with a link or with a device: all
/// entries up to that one are written.
pub fn unpack(archive: &Path, root: &str, folder: &Path, progress: &Progress) -> Result<Checksums, Error> {
    let file = File::open(archive).map_err(Error::file("open", archive))?;
    let mut tar = Archive::new(MultiGzDecoder::new(BufReader::new(file)));
    let damaged = |error: io::Error| wrong(archive, format!("is damaged: {error}"));
    let mut sums = Checksums::new();
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
                // An error in reading is the archive's; one in writing would say the same of the
                // file.
                let size = io::copy(&mut entry, &mut output).map_err(|error| {
                    wrong(archive, format!("cannot be unpacked to `{}`: {error}", target.display()))
                })?;
                let name = below
                    .to_str()
                    .ok_or_else(|| wrong(archive, format!("has the name {below:?}, which is not UTF-8")))?;
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
        hint: "the archive was not unpacked; download it from its official address".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What is tried is counted past the harness: docs/RELIABILITY.md has the number.
    #[test]
    #[allow(clippy::explicit_write)]
    fn archives_that_are_changed_anywhere_are_refused_or_unpacked_in_their_folder() {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in [("pictures/one.bin", vec![1; 3000]), ("pictures/inner/two.bin", vec![2; 700])] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, content.as_slice()).unwrap();
        }
        let whole = tar.into_inner().unwrap();
        let place = tempfile::tempdir().unwrap();
        let cases = 300;
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        // A byte of a header of the archive (name, size, kind, checksum), and whether it stands
        // before or behind the packing.
        let place_of_header = prop_oneof![0usize..512, 3584usize..4096, 0..whole.len()];
        let strategy =
            (proptest::collection::vec((place_of_header, any::<u8>()), 1..4), any::<bool>(), 0..2 * whole.len());
        let counter = std::cell::Cell::new(0);
        let outcome = TestRunner::new(config).run(&strategy, |(changes, packed, length)| {
            let number = counter.replace(counter.get() + 1);
            let mut bytes = if packed { gzip(&whole) } else { whole.clone() };
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] ^= byte;
                // With the right checksum the header is read to its end.
                if !packed && at < 512 {
                    let sum: u32 =
                        (0..512).map(|i| if (148..156).contains(&i) { 32 } else { u32::from(bytes[i]) }).sum();
                    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                }
            }
            bytes.truncate(length.max(1));
            let archive = place.path().join("bad.tar.gz");
            std::fs::write(&archive, if packed { bytes } else { gzip(&bytes) }).unwrap();
            let folder = place.path().join(format!("content-{number}"));
            if let Err(error) = unpack(&archive, "pictures", &folder, &Progress::new(true)) {
                let text = error.to_string();
                prop_assert!(text.contains("bad.tar.gz") || text.contains("content-"), "{}", text);
            }
            let _ = std::fs::remove_dir_all(&folder);
            let beside: Vec<_> =
                std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            prop_assert_eq!(beside, ["bad.tar.gz"]);
            Ok(())
        });
        outcome.unwrap();
        writeln!(io::stderr(), "bad inputs tried: {cases}  archive").unwrap();
    }
}
