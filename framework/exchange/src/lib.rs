//! A trained spiking network in the formats that other programs read.
//!
//! Each exporter takes a [`Network`](litesnn_engine::Network) and hands back the bytes of a file, or
//! says why the format cannot hold the network.

#![forbid(unsafe_code)]

pub mod onnx;
