//! Writes the network of the engine's benchmark for `framework/benches/peers/engine.py`: as a packed
//! file, as ONNX, and what the engine's reference answers.
//!
//!     cargo run --release -p litesnn-exchange --example medium FOLDER
//!
//! `network.packed`, `int8.onnx` and `float.onnx` have no outputs but logits;
//! `tests/cases/mod.rs` says what `pixels.f32`, `logits.f32` and `spikes` are.

#[path = "../tests/cases/mod.rs"]
mod cases;
#[path = "../../engine/benches/medium/network.rs"]
mod network;

use litesnn_engine::file::{self, Provenance};
use litesnn_exchange::onnx::{self, Options, Width};

fn main() {
    let folder = std::env::args_os().nth(1).expect("a folder is given: medium FOLDER");
    let folder = std::path::Path::new(&folder);
    std::fs::create_dir_all(folder).expect("the folder can be made");
    let medium = network::network(network::MEDIUM);
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes).expect("the folder takes files");
    let provenance =
        Provenance { name: "medium".into(), accuracy: f64::NAN, claimed_bytes: f64::NAN, ..Provenance::default() };
    write("network.packed", file::write(&medium, &provenance).expect("the network is sound"));
    for (name, width) in [("int8.onnx", Width::Int8), ("float.onnx", Width::Float)] {
        let options = Options { width, ..Options::default() };
        write(name, onnx::write(&medium, &options).expect("ONNX holds the network"));
    }
    cases::write_answers(folder, &medium, &[7, 8].map(network::image));
}
