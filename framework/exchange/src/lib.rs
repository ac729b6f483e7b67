//! A trained spiking network in the formats that other programs read.
//!
//! Each exporter takes a [`Network`](litesnn_engine::Network) and hands back the bytes of a file, or
//! says why the format cannot hold the network.

#![forbid(unsafe_code)]

pub mod nir;
pub mod onnx;

use litesnn_engine::EarlyExit;

/// A rule of early exit, in words.
fn exit_rule(exit: EarlyExit) -> String {
    match exit {
        EarlyExit::Entropy(threshold) => format!("an entropy below {threshold}"),
        EarlyExit::Confidence(threshold) => format!("a confidence above {threshold}"),
    }
}
