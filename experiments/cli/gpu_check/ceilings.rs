//! What the device can do at most: copies within its memory, and products.

use std::time::Instant;

use litesnn_framework::benchmark::median;
use litesnn_framework::spiking::{Precision, channels_last};
use tch::{Kind, Tensor};

use super::times::wait;
use super::{Finding, Setting};
use crate::exit::Failure;

#[expect(clippy::disallowed_methods, reason = "the time does not depend on the values")]
pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let device = setting.device;
    // Hardware is asked for what fills it.
    let (copied, side) = if setting.is_hardware() { (1i64 << 28, 8192i64) } else { (1 << 16, 64) };
    let from = Tensor::rand([copied], (Kind::Float, device));
    let mut to = from.zeros_like();
    let seconds = timed(setting, || to.copy_(&from));
    // Read and written.
    finding.figure("copy_gigabytes_per_second", 8.0 * copied as f64 / seconds / 1e9);
    drop((from, to));
    let operations = 2.0 * (side as f64).powi(3);
    for (name, kind) in [("f32", Kind::Float), ("bf16", Kind::BFloat16)] {
        let random = || Tensor::randn([side, side], (Kind::Float, device)).to_kind(kind);
        let (a, b) = (random(), random());
        let seconds = timed(setting, || drop(a.matmul(&b)));
        finding.figure(&format!("product_{name}_teraflops"), operations / seconds / 1e12);
    }
    if Precision::Tf32.is_for(device) {
        // Only convolutions are computed in TF32: one of one pixel is a product.
        let pixels = if setting.is_hardware() { 32 } else { 4 };
        let (rows, channels) = (side / 64, side / 4);
        let options = (Kind::Float, device);
        let image = channels_last(&Tensor::randn([rows, channels, pixels, pixels], options));
        let weight = channels_last(&Tensor::randn([channels, channels, 1, 1], options));
        let seconds =
            timed(setting, || drop(tch::no_grad(|| Precision::Tf32.convolve(&image, &weight, None, 1, 0, None))));
        let operations = 2.0 * (rows * pixels * pixels) as f64 * (channels as f64).powi(2);
        finding.figure("convolution_tf32_teraflops", operations / seconds / 1e12);
    }
    finding.of_speed(setting);
    Ok(finding)
}

/// The median of a few turns, in seconds for one call: calls of a turn go to the device one after
/// another, and the clock runs until it has done them all.
pub fn timed(setting: &Setting, mut work: impl FnMut()) -> f64 {
    let (turns, calls) = if setting.is_hardware() { (5, 10) } else { (1, 1) };
    if setting.is_hardware() {
        (0..3).for_each(|_| work());
    }
    let turn = |_| {
        wait(setting.device);
        let begin = Instant::now();
        (0..calls).for_each(|_| work());
        wait(setting.device);
        begin.elapsed().as_secs_f64() / f64::from(calls)
    };
    median(&(0..turns).map(turn).collect::<Vec<f64>>())
}
