//! Whether the types compute as they promise, shown by products and not by flags.
//!
//! Every factor is a power of two times 1 + 2⁻¹², which f32 holds and TF32 (11 significant bits)
//! rounds to the power of two: a sum of such products of one sign is too small by 4.9e-4 then,
//! whatever the order of the sum.

use litesnn_framework::ground::Stream;
use litesnn_framework::spiking::Precision;
use tch::{Device, Kind, Tensor};

use super::compare::distance;
use super::{Finding, Setting};
use crate::exit::Failure;

/// What f32 may be off by: a sum of a few hundred products, also by Winograd's transforms.
const EXACT: f64 = 5e-5;

pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let (device, mut finding) = (setting.device, Finding::default());
    let mut stream = Stream::open(0, "gpu-check/numerics", 0);
    let mut factor = |shape: &[i64]| {
        let powers = (stream.uniform(shape, -1.0, 2.0).floor()).exp2();
        powers * (1.0 + 2f64.powi(-12))
    };
    let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
    // Products.
    let (a, b) = (factor(&[512, 512]), factor(&[512, 512]));
    let want = double(&a).matmul(&double(&b));
    let (a, b) = (a.to_device(device), b.to_device(device));
    let product = a.matmul(&b);
    let apart = distance(&product, &want);
    finding.figure("product_f32", apart);
    finding.expect(apart < EXACT, || format!("a product in f32 is off by {apart:.1e}: as TF32 is"));
    finding.expect(a.matmul(&b).equal(&product), || "a product is not the same twice".to_owned());
    // Convolutions, in every type that the device computes in.
    let (image, weight) = (factor(&[32, 64, 32, 32]), factor(&[64, 64, 3, 3]));
    let want = double(&image).conv2d(&double(&weight), None::<&Tensor>, 1, 1, 1, 1);
    let (image, weight) = (image.to_device(device), weight.to_device(device));
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16].into_iter().filter(|it| it.is_for(device)) {
        let got = tch::no_grad(|| precision.convolve(&image, &weight, None, 1, 1, None)).currents();
        let (apart, name) = (distance(&got, &want), precision.name());
        finding.figure(&format!("convolution_{name}"), apart);
        let limit = if precision == Precision::F32 { EXACT } else { 1e-2 };
        finding.expect(apart < limit, || format!("a convolution in {name} is off by {apart:.1e}"));
        if precision == Precision::Tf32 && setting.is_hardware() && apart < EXACT {
            finding.note("a convolution in tf32 was computed in f32");
        }
    }
    // What f32 is again after a convolution in another type.
    let again = distance(&Precision::F32.convolve(&image, &weight, None, 1, 1, None).currents(), &want);
    finding.expect(again < EXACT, || format!("after a convolution in tf32, one in f32 is off by {again:.1e}"));
    gradients(&mut finding, device);
    spikes(&mut finding, device);
    if !setting.is_hardware() {
        finding.leave_open("needs a GPU: the products are the CPU's");
    }
    Ok(finding)
}

/// Gradients of a convolution are the same five times over, and those of f64: sums in one order.
fn gradients(finding: &mut Finding, device: Device) {
    let mut stream = Stream::open(0, "gpu-check/gradients", 0);
    let mut leaf = |shape: &[i64]| stream.normal(shape);
    let (x, w, upstream) = (leaf(&[64, 12, 32, 32]), leaf(&[36, 12, 3, 3]), leaf(&[64, 36, 32, 32]));
    let run = |kind: Kind, device: Device| {
        let of = |tensor: &Tensor| tensor.to_kind(kind).to_device(device).detach();
        let (x, w) = (of(&x).set_requires_grad(true), of(&w).set_requires_grad(true));
        let y = match kind {
            Kind::Float => Precision::F32.convolve(&x, &w, None, 1, 1, None).currents(),
            _ => x.conv2d(&w, None::<&Tensor>, 1, 1, 1, 1),
        };
        (y * of(&upstream)).sum(kind).backward();
        [x.grad(), w.grad()]
    };
    let (first, want) = (run(Kind::Float, device), run(Kind::Double, Device::Cpu));
    let same = (0..4).all(|_| run(Kind::Float, device).iter().zip(&first).all(|(a, b)| a.equal(b)));
    finding.figure("gradients_repeat", same);
    finding.expect(same, || "the gradients of a convolution are not the same twice".to_owned());
    for (name, got, want) in [("input", &first[0], &want[0]), ("weight", &first[1], &want[1])] {
        let apart = distance(got, want);
        finding.figure(&format!("gradient_to_{name}_f32"), apart);
        finding.expect(apart < EXACT, || format!("a convolution's gradient to its {name} is off by {apart:.1e}"));
    }
}

/// Spikes and quantised weights are exact in bf16: the result is that of f64, rounded once.
fn spikes(finding: &mut Finding, device: Device) {
    let mut stream = Stream::open(0, "gpu-check/spikes", 0);
    let spikes = stream.uniform(&[8, 64, 16, 16], 0.0, 1.0).gt(0.7).to_kind(Kind::Float);
    let levels = stream.uniform(&[32, 64, 3, 3], 0.0, 16.0).floor() - 7.5;
    let steps = Tensor::full([32], 0.125, (Kind::Float, device));
    let want = spikes.to_kind(Kind::Double).conv2d(&levels.to_kind(Kind::Double), None::<&Tensor>, 1, 1, 1, 1);
    let want = want.to_kind(Kind::BFloat16).to_kind(Kind::Double) * 0.125;
    let weight = levels.to_device(device) * 0.125;
    let got = tch::no_grad(|| Precision::Bf16.convolve(&spikes.to_device(device), &weight, Some(&steps), 1, 1, None))
        .currents();
    let apart = distance(&got, &want);
    finding.figure("spikes_bf16", apart);
    finding.expect(apart == 0.0, || format!("bf16 on spikes rounds more than once: {apart:.1e}"));
}
