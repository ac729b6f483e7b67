//! Maps `[N, C, H, W]` and weights with the channels last in memory, where vectors of neighbouring
//! channels are read at once, and where a GPU multiplies without turning anything round.

use tch::{Device, Kind, Tensor};

use super::cuda;
use super::function::custom_function;
use super::parallel::{Pointer, for_parts, simd};
use crate::ground::kernel::has_kernels;

/// Maps `[N, C, H, W]` with the channels last in memory.
pub fn channels_last(x: &Tensor) -> Tensor {
    let (_, channels, height, width) = x.size4().expect("maps are [N, C, H, W]");
    if x.stride() == [height * width * channels, 1, width * channels, channels] {
        return x.shallow_clone();
    }
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Maps `[N, C, H, W]` of the same form side by side: `[N, sum of C, H, W]`, in one pass over them
/// where they are channels-last. Gradients are the parts of the whole one, which stay where they
/// are.
pub fn side_by_side(maps: &[Tensor]) -> Tensor {
    let last = |map: &Tensor| map.kind() == Kind::Float && channels_last(map).data_ptr() == map.data_ptr();
    let device = maps[0].device();
    if !(device == Device::Cpu || has_kernels(device)) || !maps.iter().all(last) {
        return Tensor::cat(maps, 1);
    }
    let widths: Vec<i64> = maps.iter().map(|map| map.size()[1]).collect();
    let forward = || {
        let mut shape = maps[0].size();
        shape[1] = widths.iter().sum();
        let together = new_channels_last(&shape, (Kind::Float, device));
        match device {
            Device::Cpu => copy_side_by_side(maps, &widths, &together),
            _ => cuda::side_by_side(maps, &widths, &together),
        }
        (vec![together], vec![])
    };
    let parts = widths.clone();
    let backward = move |gradients: &[Tensor], _: &[Tensor]| {
        let mut first = 0;
        let part = |width: &i64| {
            let part = gradients[0].narrow(1, first, *width);
            first += *width;
            Some(part)
        };
        parts.iter().map(part).collect()
    };
    let references: Vec<&Tensor> = maps.iter().collect();
    custom_function(&references, forward, backward).pop().expect("one output was given")
}

/// Fills `together` with the channels of all maps, `widths` of them, row by row.
fn copy_side_by_side(maps: &[Tensor], widths: &[i64], together: &Tensor) {
    let to = Pointer::of(together);
    let from: Vec<(Pointer, usize)> =
        maps.iter().zip(widths).map(|(map, width)| (Pointer::of(map), *width as usize)).collect();
    let whole: usize = from.iter().map(|(_, width)| width).sum();
    for_parts(together.numel() / whole, |_, begin, end| {
        for row in begin..end {
            let mut at = row * whole;
            for (from, width) in &from {
                // SAFETY: rows of this part alone, `width` values of each map.
                unsafe { std::ptr::copy_nonoverlapping(from.get().add(row * width), to.get().add(at), *width) };
                at += width;
            }
        }
    });
}

/// New f32 maps on the CPU with the channels last in memory.
pub(super) fn empty_channels_last(shape: &[i64]) -> Tensor {
    new_channels_last(shape, (Kind::Float, Device::Cpu))
}

/// New maps with the channels last in memory.
pub(super) fn new_channels_last(shape: &[i64], options: (Kind, Device)) -> Tensor {
    let permuted = [shape[0], shape[2], shape[3], shape[1]];
    Tensor::empty(permuted, options).permute([0, 3, 1, 2])
}

/// Weights `[out, in, kh, kw]` of convolutions that read the same input, one after another:
/// `[sum of out, in, kh, kw]`, the channels last in memory. On the CPU in f32 the values are put in
/// their places by one pass over them, and so are the gradients.
pub fn stack_weights(weights: &[Tensor]) -> Tensor {
    let kernel = weights.iter().all(|weight| weight.device() == Device::Cpu && weight.kind() == Kind::Float);
    if !kernel {
        return channels_last(&Tensor::cat(weights, 0));
    }
    let shapes: Vec<Vec<i64>> = weights.iter().map(Tensor::size).collect();
    let forward = || {
        let mut whole = shapes[0].clone();
        whole[0] = shapes.iter().map(|shape| shape[0]).sum();
        let stacked = empty_channels_last(&whole);
        let mut first = 0;
        for weight in weights {
            turn(&weight.detach().contiguous(), &stacked, first, true);
            first += weight.size()[0];
        }
        (vec![stacked], vec![])
    };
    let backward = {
        let shapes = shapes.clone();
        move |gradients: &[Tensor], _: &[Tensor]| {
            let gradient = channels_last(&gradients[0]);
            let mut first = 0;
            let part = |shape: &Vec<i64>| {
                let part = Tensor::empty(shape, (Kind::Float, Device::Cpu));
                turn(&part, &gradient, first, false);
                first += shape[0];
                Some(part)
            };
            shapes.iter().map(part).collect()
        }
    };
    let references: Vec<&Tensor> = weights.iter().collect();
    custom_function(&references, forward, backward).pop().expect("one output was given")
}

/// Copies `weight` `[out, in, kh, kw]`, contiguous, to or from the rows of `stacked` from `first`
/// on, channels-last.
fn turn(weight: &Tensor, stacked: &Tensor, first: i64, stacking: bool) {
    let (outputs, inputs, height, width) = weight.size4().expect("weights are [out, in, kh, kw]");
    let (inputs, places) = (inputs as usize, (height * width) as usize);
    let (plain, last) = (Pointer::of(weight), Pointer::of(stacked));
    for_parts(outputs as usize, |_, begin, end| {
        for row in begin..end {
            // SAFETY: rows of this part alone, of `inputs * places` values.
            unsafe {
                let plain = plain.get().add(row * inputs * places);
                let last = last.get().add((first as usize + row) * inputs * places);
                match stacking {
                    true => transpose(plain, last, inputs, places),
                    false => transpose(last, plain, places, inputs),
                }
            }
        }
    });
}

simd! {
    /// `[rows, columns]` to `[columns, rows]`.
    unsafe fn transpose(from: *const f32, to: *mut f32, rows: usize, columns: usize) {
        for column in 0..columns {
            for row in 0..rows {
                *to.add(column * rows + row) = *from.add(row * columns + column);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;

    #[test]
    fn maps_side_by_side_are_their_concatenation() {
        let leaf =
            |channels: i64| channels_last(&Stream::numbered(1).normal(&[2, channels, 3, 4])).set_requires_grad(true);
        let (a, b) = (leaf(5), leaf(2));
        let (got, want) = (side_by_side(&[a.shallow_clone(), b.shallow_clone()]), Tensor::cat(&[&a, &b], 1));
        assert!(got.equal(&want) && got.stride() == want.stride());
        let upstream = Stream::numbered(2).uniform(&want.size(), 0.0, 1.0);
        (got * &upstream).sum(Kind::Float).backward();
        assert!(a.grad().equal(&upstream.narrow(1, 0, 5)) && b.grad().equal(&upstream.narrow(1, 5, 2)));
    }

    #[test]
    fn stacked_weights_and_their_gradients_are_those_of_a_concatenation() {
        let leaf = |out: i64| Stream::numbered(3).uniform(&[out, 5, 3, 3], 0.0, 1.0).set_requires_grad(true);
        let (a, b) = (leaf(4), leaf(7));
        let (c, d) = (a.copy().detach().set_requires_grad(true), b.copy().detach().set_requires_grad(true));
        let (got, want) = (stack_weights(&[a.shallow_clone(), b.shallow_clone()]), Tensor::cat(&[&c, &d], 0));
        assert!(got.equal(&want));
        assert_eq!(got.stride(), [45, 1, 15, 5]);
        let upstream = Stream::numbered(4).uniform(&want.size(), 0.0, 1.0);
        (got * &upstream).sum(Kind::Float).backward();
        (want * &upstream).sum(Kind::Float).backward();
        assert!(a.grad().equal(&c.grad()) && b.grad().equal(&d.grad()));
    }
}
