//! Folders of files with what the engine's reference answers, for `onnx_witness.py` and
//! `nir_witness.py`.
//!
//! ```text
//! NAME/WIDTH.onnx       the network, with its spikes as outputs
//! NAME/RESISTANCE.nir   the network; resistance `scaled` or `unit`
//! NAME/pixels.f32       [B, C, H, W], little-endian
//! NAME/logits.f32       [B, K]
//! NAME/spikes/MAP.f32   [T, B, C, H, W]
//! ```

#![allow(dead_code)] // Each test uses its part.

use std::path::Path;

use litesnn_engine::{Made, Network, Reference};
use litesnn_exchange::nir;
use litesnn_exchange::onnx::{Options, Width, write};

pub const WIDTHS: [(&str, Width); 4] =
    [("float", Width::Float), ("int8", Width::Int8), ("int4", Width::Int4), ("int2", Width::Int2)];

/// The logits `[B, K]` of images, and the spikes `[T, B, C, H, W]` of every map of neurons.
pub fn answers(network: &Network, images: &[Vec<f32>]) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
    let image = &network.image;
    let places = image.shape[1] * image.shape[2];
    let (mut logits, mut fired) = (Vec::new(), vec![vec![Vec::new(); images.len()]; network.maps.len()]);
    for (number, pixels) in images.iter().enumerate() {
        let channels = pixels.chunks(places).zip(image.mean.iter().zip(&image.std));
        let input: Vec<f32> =
            channels.flat_map(|(all, (mean, std))| all.iter().map(move |x| (x - mean) / std)).collect();
        let seen = |_, maps: &[Vec<i32>]| {
            for (fired, map) in fired.iter_mut().zip(maps) {
                fired[number].push(map.iter().map(|number| *number as f32).collect::<Vec<f32>>());
            }
        };
        logits.extend(Reference::new(network).watch(&input, seen).unwrap().logits);
    }
    let neurons = network.maps.iter().zip(fired).filter(|(map, _)| matches!(map.made, Made::Spikes { .. }));
    let folded = |fired: Vec<Vec<Vec<f32>>>| {
        let timesteps = 0..network.timesteps;
        timesteps.flat_map(|t| fired.iter().flat_map(move |image| image[t].clone())).collect::<Vec<f32>>()
    };
    (logits, neurons.map(|(map, fired)| (map.name.clone(), folded(fired))).collect())
}

/// Writes a network's ONNX files and its answers.
pub fn write_case(folder: &Path, network: &Network, images: &[Vec<f32>], widths: &[(&str, Width)]) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, width) in widths {
        let options = Options { width: *width, spikes: true, ..Options::default() };
        std::fs::write(folder.join(format!("{name}.onnx")), write(network, &options).unwrap()).unwrap();
    }
    write_answers(folder, network, images);
}

/// Writes a network's NIR files and its answers.
pub fn write_nir_case(folder: &Path, network: &Network, images: &[Vec<f32>]) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, unit_resistance) in [("scaled", false), ("unit", true)] {
        let options = nir::Options { unit_resistance, ..nir::Options::default() };
        std::fs::write(folder.join(format!("{name}.nir")), nir::write(network, &options).unwrap()).unwrap();
    }
    write_answers(folder, network, images);
}

/// Writes images and the answers to them.
pub fn write_answers(folder: &Path, network: &Network, images: &[Vec<f32>]) {
    let bytes = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    std::fs::create_dir_all(folder.join("spikes")).unwrap();
    let (logits, spikes) = answers(network, images);
    std::fs::write(folder.join("pixels.f32"), bytes(&images.concat())).unwrap();
    std::fs::write(folder.join("logits.f32"), bytes(&logits)).unwrap();
    for (map, spikes) in spikes {
        std::fs::write(folder.join("spikes").join(format!("{map}.f32")), bytes(&spikes)).unwrap();
    }
}
