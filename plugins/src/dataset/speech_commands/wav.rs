//! WAV files as they lie on people's disks.
//!
//! Source: IBM and Microsoft, *Multimedia Programming Interface and Data Specifications 1.0* (1991),
//! RIFF WAVE. Two things that programs write and the specification does not say are read too: chunks
//! of odd length without the padding byte, and a length of 0 or 0xFFFFFFFF, which a program writes
//! that cannot go back to the header (`ffmpeg -f wav - | ...`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use litesnn_framework::{Error, Result};

/// Bytes of `RIFF`, a length and `WAVE`.
const START: usize = 12;
/// Format tags: integers, and an extensible header whose subformat says what there is.
const INTEGERS: u16 = 1;
const FLOATS: u16 = 3;
const EXTENSIBLE: u16 = 0xfffe;

/// How samples are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub channels: u16,
    pub rate: u32,
    pub bits: u16,
    /// Integers, as opposed to floating-point numbers or anything compressed.
    pub integers: bool,
}

impl Format {
    /// Bytes of a sample of all channels.
    pub fn block(&self) -> usize {
        usize::from(self.channels) * usize::from(self.bits / 8)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} Hz, ", self.rate)?;
        match self.channels {
            1 => f.write_str("mono")?,
            channels => write!(f, "{channels} channels")?,
        }
        write!(f, ", {} bit{}", self.bits, if self.integers { "" } else { " float" })
    }
}

/// The beginning of a file's samples.
#[derive(Debug)]
pub struct Recording {
    pub format: Format,
    /// As many whole blocks as were wanted, or all that there are.
    pub bytes: Vec<u8>,
    /// How many samples the file has of each channel.
    pub samples: u64,
}

/// Reads a file. `wanted` says how many samples of each channel are read at most, or what is wrong
/// with the format; `wrong` makes an error of the rest of a sentence that begins with the file.
pub fn read(
    path: &Path,
    wanted: impl Fn(&Format) -> Result<usize, String>,
    wrong: impl Fn(String) -> Error,
) -> Result<Recording> {
    let unread = || Error::file("read", path);
    let file = File::open(path).map_err(Error::file("open", path))?;
    let size = file.metadata().map_err(unread())?.len();
    let mut file = BufReader::new(file);
    let Header { format, bytes: promised } = header(&mut file, size).map_err(|error| {
        let why = match error.kind() {
            _ if size == 0 => "it is empty".to_owned(),
            io::ErrorKind::UnexpectedEof => format!("it ends after {size} bytes, within the header"),
            _ => error.to_string(),
        };
        wrong(format!("is no WAV file: {why}"))
    })?;
    let most = wanted(&format).map_err(&wrong)? as u64;
    let block = format.block().max(1) as u64;
    let there = size.saturating_sub(file.stream_position().map_err(unread())?);
    let samples = promised.unwrap_or(there) / block;
    let length = samples.min(most).saturating_mul(block);
    let mut bytes = Vec::with_capacity(length.min(there) as usize);
    file.take(length).read_to_end(&mut bytes).map_err(unread())?;
    if (bytes.len() as u64) < length {
        let held = bytes.len() as u64 / block;
        return Err(wrong(format!("promises {samples} samples in its header and holds only {held}: it was cut short")));
    }
    match bytes.is_empty() {
        true => Err(wrong("holds no sound: it has 0 samples".into())),
        false => Ok(Recording { format, bytes, samples }),
    }
}

/// A header that was read; the reader is at the first sample.
#[derive(Debug)]
struct Header {
    format: Format,
    /// Bytes of samples; `None` where the file goes on to its end.
    bytes: Option<u64>,
}

/// Reads all before the first sample of a file of `size` bytes.
fn header(file: &mut (impl BufRead + Seek), size: u64) -> io::Result<Header> {
    let mut start = [0; START];
    file.read_exact(&mut start)?;
    if &start[..4] != b"RIFF" || &start[8..] != b"WAVE" {
        return Err(wrong("it does not begin with `RIFF` and `WAVE`"));
    }
    let mut format = None;
    loop {
        let (name, length) = chunk(file)?;
        match &name {
            b"fmt " => format = Some(read_format(file, length)?),
            b"data" => {
                let format = format.ok_or_else(|| wrong("it has no chunk `fmt ` before its samples"))?;
                let unknown = length == u32::MAX || (length == 0 && !only_chunks(file, size)?);
                return Ok(Header { format, bytes: (!unknown).then_some(u64::from(length)) });
            }
            _ => skip(file, i64::from(length))?,
        }
        // A padding byte is 0, and a name of a chunk never begins with one.
        if length % 2 == 1 && file.fill_buf()?.first() == Some(&0) {
            file.consume(1);
        }
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn chunk(file: &mut impl BufRead) -> io::Result<([u8; 4], u32)> {
    let (mut name, mut length) = ([0; 4], [0; 4]);
    file.read_exact(&mut name)?;
    file.read_exact(&mut length)?;
    Ok((name, u32::from_le_bytes(length)))
}

fn skip(file: &mut (impl BufRead + Seek), bytes: i64) -> io::Result<()> {
    file.seek_relative(bytes)
}

/// Whether what follows to the end of the file is nothing but chunks: then no sample does.
fn only_chunks(file: &mut (impl BufRead + Seek), size: u64) -> io::Result<bool> {
    let begin = file.stream_position()?;
    let mut place = begin;
    while place < size {
        let Ok((name, length)) = chunk(file) else { break };
        place += 8 + u64::from(length) + u64::from(length % 2);
        if !name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') || place > size + 1 {
            place = u64::MAX;
            break;
        }
        file.seek(SeekFrom::Start(place))?;
    }
    file.seek(SeekFrom::Start(begin))?;
    Ok(place == size || place == size + 1)
}

fn read_format(file: &mut (impl BufRead + Seek), length: u32) -> io::Result<Format> {
    if length < 16 {
        return Err(wrong("its chunk `fmt ` is too short"));
    }
    // With the subformat of an extensible header, whose first two bytes are a tag again.
    let mut bytes = [0; 26];
    let known = bytes.len().min(length as usize);
    file.read_exact(&mut bytes[..known])?;
    skip(file, i64::from(length) - known as i64)?;
    let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let tag = if number(0) == EXTENSIBLE { number(24) } else { number(0) };
    if ![INTEGERS, FLOATS].contains(&tag) {
        return Err(wrong(&format!("its samples are compressed (format {tag:#06x})")));
    }
    Ok(Format {
        channels: number(2),
        rate: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        bits: number(14),
        integers: tag == INTEGERS,
    })
}
