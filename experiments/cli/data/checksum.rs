//! SHA-256 of files, and whether a folder's files are the published ones.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use litesnn_framework::Error;
use litesnn_framework::data::{Source, read_checksums};
use sha2::{Digest, Sha256};

use super::Progress;

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

/// Checks a folder by the list that `litesnn data fetch` left in it, else by the published
/// checksums of its files.
pub fn verify(source: &Source, folder: &Path, progress: &Progress) -> Result<Verdict, Error> {
    let expected = match read_checksums(folder, source)? {
        Some(list) => list,
        None => source.files.iter().map(|file| (file.name.to_owned(), file.sha256.to_owned())).collect(),
    };
    if expected.is_empty() {
        return Ok(Verdict::Unknown);
    }
    let size = |file: &String| folder.join(file).metadata().map_or(0, |metadata| metadata.len());
    progress.begin("checking", expected.keys().map(size).sum(), 0);
    let mut wrong = Vec::new();
    for (file, sha256) in &expected {
        let path = folder.join(file);
        if !path.is_file() {
            wrong.push(format!("`{}` is missing", path.display()));
            continue;
        }
        let found = of_file(&path, progress)?;
        if found != *sha256 {
            wrong.push(format!("`{}` has SHA-256 {found}, expected {sha256}", path.display()));
        }
    }
    progress.end();
    Ok(if wrong.is_empty() { Verdict::Right(expected.len()) } else { Verdict::Wrong(wrong) })
}
