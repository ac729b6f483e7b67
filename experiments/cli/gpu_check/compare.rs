//! Distances between tensors, and memory that shows what nobody wrote.

use tch::{Device, Kind, Tensor};

/// Both on the CPU in f64, flat.
fn both(got: &Tensor, want: &Tensor) -> (Tensor, Tensor) {
    let flat = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
    (flat(got), flat(want))
}

/// `|got - want| / |want|` in the Euclidean norm; infinite where something is not a number or has
/// another size.
pub fn distance(got: &Tensor, want: &Tensor) -> f64 {
    distance_over(got, want, f64::MIN_POSITIVE)
}

/// The Euclidean norm.
pub fn norm(tensor: &Tensor) -> f64 {
    tensor.to_kind(Kind::Double).square().sum(Kind::Double).sqrt().double_value(&[])
}

/// [`distance`] over a `floor`, where `want` has a smaller norm.
pub fn distance_over(got: &Tensor, want: &Tensor, floor: f64) -> f64 {
    if got.numel() != want.numel() {
        return f64::INFINITY;
    }
    let (got, want) = both(got, want);
    let (apart, whole) = (norm(&(&got - &want)), norm(&want));
    match apart {
        0.0 => 0.0,
        apart if apart.is_finite() => apart / whole.max(floor),
        _ => f64::INFINITY,
    }
}

/// The share of values that differ.
pub fn share_that_differs(got: &Tensor, want: &Tensor) -> f64 {
    if got.size() != want.size() {
        return 1.0;
    }
    let (got, want) = both(got, want);
    got.ne_tensor(&want).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

/// Fills memory that the device's allocator has at hand with NaN and gives it back: what is computed
/// next lies there, and a value that nobody writes is NaN.
pub fn poison(device: Device) {
    const SIZES: [i64; 12] =
        [16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 22, 1 << 23];
    let blocks = |size: i64| if size > 1 << 18 { 2 } else { 24 };
    let held: Vec<Tensor> = SIZES
        .iter()
        .flat_map(|size| (0..blocks(*size)).map(|_| Tensor::full([*size], f64::NAN, (Kind::Float, device))))
        .collect();
    drop(held);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_relative_and_shows_what_is_not_a_number() {
        let want = Tensor::from_slice(&[3.0f32, 4.0]);
        assert_eq!(distance(&want, &want), 0.0);
        assert!((distance(&Tensor::from_slice(&[3.0f32, 4.5]), &want) - 0.1).abs() < 1e-9);
        assert_eq!(distance(&Tensor::from_slice(&[3.0f32, f32::NAN]), &want), f64::INFINITY);
        assert_eq!(distance(&Tensor::from_slice(&[3.0f32]), &want), f64::INFINITY);
        assert_eq!(share_that_differs(&Tensor::from_slice(&[3.0f32, 0.0]), &want), 0.5);
    }
}
