//! Writes networks as NIR files with what the engine answers, for
//! `framework/benches/peers/nir_witness.py`: the samples of the tests, and a network as large as
//! LitE-SNN's design of medium scale.
//!
//!     cargo run --release -p litesnn-exchange --example nir_cases FOLDER

#[path = "../tests/cases/mod.rs"]
mod cases;
#[path = "../tests/networks/mod.rs"]
mod networks;

fn main() {
    let folder = std::env::args_os().nth(1).expect("a folder is given: nir_cases FOLDER");
    let folder = std::path::Path::new(&folder);
    let mut random = networks::Random(1);
    for (name, network) in networks::nir_samples() {
        let size = network.image.shape.iter().product();
        let images: Vec<Vec<f32>> = (0..20).map(|_| random.pixels(size)).collect();
        cases::write_nir_case(&folder.join(name), &network, &images);
    }
    let images: Vec<Vec<f32>> =
        (0..2).map(|_| (0..3 * 32 * 32).map(|_| random.below(256) as f32 / 255.0).collect()).collect();
    cases::write_nir_case(&folder.join("medium"), &networks::medium(), &images);
}
