//! WAV files as they lie on people's disks.
//!
//! Source: IBM and Microsoft, *Multimedia Programming Interface and Data Specifications 1.0* (1991),
//! RIFF WAVE. Two things that programs write and the specification does not say are read too: chunks
//! of odd length without the padding byte, and a length of 0 or 0xFFFFFFFF, which a program writes
//! that cannot go back to the header (`ffmpeg -f wav - | ...`).

use std::io::{self, BufRead, Seek, SeekFrom};

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

/// A header that was read; the reader is at the first sample.
#[derive(Debug)]
pub struct Header {
    pub format: Format,
    /// Bytes of samples; `None` where the file goes on to its end.
    pub bytes: Option<u64>,
}

/// Reads all before the first sample of a file of `size` bytes.
pub fn header(file: &mut (impl BufRead + Seek), size: u64) -> io::Result<Header> {
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
