//! SHA-256 in the form in which checksums of data are published.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Takes bytes, and says their SHA-256.
#[derive(Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The SHA-256 of all bytes, in lowercase hexadecimal.
    pub fn hexadecimal(self) -> String {
        self.0.finalize().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes any text");
            text
        })
    }
}

/// SHA-256 of bytes, in lowercase hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.hexadecimal()
}
