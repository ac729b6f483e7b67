//! The plugins of litesnn, by kind: one file each, with the paper, the formula, the settings, the
//! implementation and the registration. What plugins of a kind share is a file beside them.
//!
//! A program that wants the plugins says `use litesnn_plugins as _;`, since the linker drops a
//! crate that nothing names.

pub mod compressor;
pub mod dataset;
pub mod launcher;
pub mod optimizer;
pub mod space;
pub mod timesteps;
