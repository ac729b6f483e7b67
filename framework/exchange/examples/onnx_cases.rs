//! Writes networks as ONNX files with what the engine answers, for
//! `framework/benches/peers/onnx_witness.py`: the samples of the tests, and a network as large as
//! LitE-SNN's design of medium scale.
//!
//!     cargo run --release -p litesnn-exchange --example onnx_cases FOLDER
//!
//! Pixels are bytes divided by 255, whose sums in the first layer are rounded.

#[path = "../tests/cases/mod.rs"]
mod cases;
#[path = "../tests/networks/mod.rs"]
mod networks;

fn main() {
    let folder = std::env::args_os().nth(1).expect("a folder is given: onnx_cases FOLDER");
    let folder = std::path::Path::new(&folder);
    let mut random = networks::Random(1);
    for (name, network) in networks::samples() {
        let size = network.image.shape.iter().product();
        let images: Vec<Vec<f32>> = (0..3).map(|_| random.photograph(size)).collect();
        cases::write_case(&folder.join(name), &network, &images, &cases::WIDTHS);
    }
    let medium = networks::medium();
    let images: Vec<Vec<f32>> = (0..2).map(|_| random.photograph(3 * 32 * 32)).collect();
    cases::write_case(&folder.join("medium"), &medium, &images, &cases::WIDTHS);
}
