//! The plugins of litesnn: one file each, with the paper, the formula, the settings, the implementation and the registration.
//!
//! A new plugin is a new file beside this one: the build script lists the files of this folder. A program that wants the plugins
//! says `use litesnn_plugins as _;`, since the linker drops a crate that nothing names.

include!(concat!(env!("OUT_DIR"), "/plugins.rs"));
