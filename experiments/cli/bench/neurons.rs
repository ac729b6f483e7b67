//! `litesnn bench lif`: a layer of neurons alone.

use std::time::Instant;

use litesnn_framework::ground::device;
use litesnn_framework::spiking::{Lif, custom_function};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::spread::spread;
use crate::arguments::{Bench, BenchWork};

/// Passes that only warm up: until the allocator has the memory of a pass.
const WARM: usize = 30;

/// Forward and backward of the neurons `[T, B, C, size, size]`.
#[expect(clippy::disallowed_methods, reason = "the time does not depend on the values")]
pub fn lif(options: &Bench, device: Device) -> Value {
    let size = options.size.unwrap_or(32);
    let shape =
        [options.timesteps.unwrap_or(6), options.batch.unwrap_or(32), options.channels.unwrap_or(48), size, size];
    let current = Tensor::randn(shape, (Kind::Float, device)) * 0.7 + 0.2;
    let current = current.set_requires_grad(true);
    let upstream = current.rand_like();
    let once = || {
        current.shallow_clone().zero_grad();
        device::synchronise(device);
        let begin = Instant::now();
        let spikes = Lif::default().spikes(&current);
        // Hands the backward pass a gradient as it is: a product and its sum would take longer than
        // the neurons.
        let seed = || (vec![Tensor::zeros([], (Kind::Float, device))], vec![upstream.shallow_clone()]);
        let loss = custom_function(&[&spikes], seed, |_, saved| vec![Some(saved[0].shallow_clone())]);
        Tensor::run_backward(&loss, &[&current], false, false);
        device::synchronise(device);
        begin.elapsed().as_secs_f64()
    };
    (0..WARM).for_each(|_| {
        once();
    });
    let seconds: Vec<f64> = (0..options.repeats).map(|_| once()).collect();
    json!({
        "work": BenchWork::Lif.name(),
        "what": "neurons forward and backward",
        "shape": { "timesteps": shape[0], "batch": shape[1], "channels": shape[2], "image": [size, size] },
        "device": device::name(device),
        "threads": tch::get_num_threads(),
        "repeats": seconds.len(),
        "ratio_to_convolutions": null,
        "seconds": spread(&seconds),
        "peak_memory_bytes": device::peak_memory(device),
    })
}
