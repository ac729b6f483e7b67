//! The official files: idx, gzipped or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use litesnn_framework::{Error, Result};

use crate::dataset::sha256::Hasher;
use crate::dataset::there::there;

/// More records than any file of this layout has: a header that promises more is not believed.
const MOST_RECORDS: usize = 1_000_000;
/// What mends a damaged file.
pub const REPLACE: &str = "replace the file by the published one \
                       (its checksum is in experiments/data/fashion-mnist/README.md)";

/// The file of a split, `train`, `validation` or `t10k`, with `images-idx3` or `labels-idx1`, under any
/// of its usual names: gzipped or not, with a dot before `idx`, called `test`, in `raw` as torchvision
/// has it, or in a folder of its own name as archives are unpacked on a desktop.
pub fn find(folder: &Path, split: &str, content: &str) -> Option<PathBuf> {
    let splits = match split {
        "t10k" => vec!["t10k", "test"],
        other => vec![other],
    };
    let dotted = content.replace('-', ".");
    let names = splits
        .iter()
        .flat_map(|split| [format!("{split}-{content}-ubyte"), format!("{split}-{dotted}-ubyte")])
        .flat_map(|name| [format!("{name}.gz"), name])
        .collect::<Vec<_>>();
    let in_folders = names.iter().flat_map(|around| names.iter().map(move |name| Path::new(around).join(name)));
    let below = names.iter().map(PathBuf::from).chain(in_folders).collect::<Vec<_>>();
    [folder.to_owned(), folder.join("raw")]
        .into_iter()
        .flat_map(|folder| below.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file())
}

/// An idx file, decoded.
pub struct Idx {
    /// Where it lies.
    pub path: PathBuf,
    /// Its bytes after the header.
    pub bytes: Vec<u8>,
    /// SHA-256 of the header and the bytes: of the file as it is before it is gzipped.
    pub sha256: String,
}

/// The content of an idx file, which has to promise records of the shape `record`.
/// What is read is bounded by what such a file can hold, not by what the header says or the packed
/// data would unfold to.
pub fn read_idx(folder: &Path, split: &str, content: &str, record: &[usize]) -> Result<Idx> {
    let path = find(folder, split, content).ok_or_else(|| Error::Content {
        path: folder.to_owned(),
        message: format!("has no file `{split}-{content}-ubyte.gz` or `{split}-{content}-ubyte`; {}", there(folder)),
        hint: "`root` is the folder with the official files, four in all: train and t10k, images and labels".into(),
    })?;
    let wrong = |message: String| Error::Content { path: path.clone(), message, hint: REPLACE.into() };
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => wrong("ends too early: it was cut short".into()),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => wrong(format!("is damaged: {error}")),
        _ => Error::file("read", &path)(error),
    };

    let mut file = BufReader::new(File::open(&path).map_err(Error::file("open", &path))?);
    let packed = file.fill_buf().map_err(unread)?.starts_with(&[0x1f, 0x8b]);
    let mut content: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

    let mut hasher = Hasher::default();
    let mut magic = [0; 4];
    content.read_exact(&mut magic).map_err(unread)?;
    hasher.update(&magic);
    let expected = [0, 0, 0x08, 1 + record.len() as u8];
    if magic != expected {
        return Err(wrong(format!(
            "starts with the bytes {magic:02x?}; an idx file of unsigned bytes in {} dimension(s) starts with {expected:02x?}",
            expected[3]
        )));
    }
    let mut dimensions = Vec::new();
    for _ in 0..=record.len() {
        let mut size = [0; 4];
        content.read_exact(&mut size).map_err(unread)?;
        hasher.update(&size);
        dimensions.push(u32::from_be_bytes(size) as usize);
    }
    let (records, shape) = (dimensions[0], &dimensions[1..]);
    if shape != record {
        return Err(wrong(format!("has records of {shape:?} bytes; those of Fashion-MNIST are {record:?}")));
    }
    if records == 0 || records > MOST_RECORDS {
        return Err(wrong(format!("promises {records} records in its header; 1 to {MOST_RECORDS} are possible")));
    }

    let promised = records * record.iter().product::<usize>();
    let mut bytes = Vec::new();
    content.take(promised as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() != promised {
        let found = if bytes.len() > promised { "more".to_owned() } else { format!("only {}", bytes.len()) };
        return Err(wrong(format!("promises {promised} bytes ({records} records) in its header and holds {found}")));
    }
    hasher.update(&bytes);
    Ok(Idx { path, bytes, sha256: hasher.hexadecimal() })
}
