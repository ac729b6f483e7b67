//! SHA-256 of files, and the list of them that lies in a fetched folder.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use litesnn_framework::Error;
use litesnn_framework::data::Source;
use litesnn_framework::ground::file::read_text;
use sha2::{Digest, Sha256};

use super::Progress;

/// The list in a fetched folder, as `sha256sum` writes and checks it.
pub const LIST: &str = "checksums.sha256";

/// Writes to a file and keeps the SHA-256 of all that was written.
pub struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Hashing<W> {
    pub fn new(inner: W) -> Hashing<W> {
        Hashing { inner, hasher: Sha256::new() }
    }

    /// What was written to, and the SHA-256 in lowercase hexadecimal.
    pub fn finish(self) -> (W, String) {
        let mut text = String::new();
        for byte in self.hasher.finalize() {
            write!(text, "{byte:02x}").expect("a string takes any text");
        }
        (self.inner, text)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// SHA-256 of a file.
pub fn of_file(path: &Path, progress: &Progress) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::file("open", path))?;
    let mut sink = Hashing::new(io::sink());
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).map_err(Error::file("read", path))? {
            0 => return Ok(sink.finish().1),
            count => {
                sink.write_all(&buffer[..count]).expect("a sink takes everything");
                progress.advance(count as u64);
            }
        }
    }
}

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many files are as they should be.
    Right(usize),
    /// What is wrong, a line for each file.
    Wrong(Vec<String>),
    /// Nothing says what the files should be.
    Unknown,
}

/// A file that a folder should hold.
struct Expected {
    path: PathBuf,
    sha256: String,
}

/// Checks a folder by the list that `litesnn data fetch` left in it, else by the published
/// checksums of its files.
pub fn verify(source: &Source, folder: &Path, progress: &Progress) -> Result<Verdict, Error> {
    let list = folder.join(LIST);
    let expected = if list.is_file() {
        read_list(&list, source)?
    } else {
        let of = |file: &litesnn_framework::data::SourceFile| Expected {
            path: file.name.into(),
            sha256: file.sha256.into(),
        };
        source.files.iter().map(of).collect()
    };
    if expected.is_empty() {
        return Ok(Verdict::Unknown);
    }
    let size = |file: &Expected| folder.join(&file.path).metadata().map_or(0, |metadata| metadata.len());
    progress.begin("checking", expected.iter().map(size).sum(), 0);
    let mut wrong = Vec::new();
    for file in &expected {
        let path = folder.join(&file.path);
        if !path.is_file() {
            wrong.push(format!("`{}` is missing", path.display()));
            continue;
        }
        let found = of_file(&path, progress)?;
        if found != file.sha256 {
            wrong.push(format!("`{}` has SHA-256 {found}, expected {}", path.display(), file.sha256));
        }
    }
    progress.end();
    Ok(if wrong.is_empty() { Verdict::Right(expected.len()) } else { Verdict::Wrong(wrong) })
}

fn read_list(list: &Path, source: &Source) -> Result<Vec<Expected>, Error> {
    let text = read_text(list).map_err(Error::file("read", list))?;
    let mut all = Vec::new();
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
        all.push(Expected { path: path.into(), sha256: sha256.to_lowercase() });
    }
    Ok(all)
}
