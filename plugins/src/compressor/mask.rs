//! Masks that pruners share: the largest of many numbers, found without sorting them, and a mask
//! whose removed weights are trained on.

use tch::{Device, Kind, Tensor};

use litesnn_framework::spiking::custom_function;
use litesnn_framework::spiking::parallel::{Pointer, for_blocks, for_parts, parts, simd};

/// Bits of a digit: magnitudes are told apart from their highest bits on, 11, 11 and 9 of them.
const DIGITS: [(u32, u32); 3] = [(20, 11), (9, 11), (0, 9)];
const MOST: usize = 1 << 11;

/// Ones on the `kept` values of largest magnitude, zeros elsewhere, exactly as many with ties: of
/// equal ones the first stay.
///
/// On the CPU the `kept`-th magnitude is found digit by digit, by counting: the bits of a positive
/// f32 are ordered as its values are.
pub fn largest_mask(values: &Tensor, kept: i64) -> Tensor {
    let values = values.detach();
    if values.device() != Device::Cpu || values.kind() != Kind::Float {
        let flat = values.flatten(0, -1);
        // `topk` keeps any of equal ones.
        let (_, order) = flat.abs().sort_stable(true, 0, true);
        return flat.zeros_like().index_fill(0, &order.narrow(0, 0, kept), 1.0).view_as(&values);
    }
    let values = values.contiguous();
    let (count, mask) = (values.numel(), values.empty_like());
    let bits = Pointer::of(&values);
    // SAFETY: `count` values, read by all threads.
    let magnitude = move |at: usize| unsafe { (*bits.get().add(at)).to_bits() & 0x7fff_ffff };
    // The highest digits of the least magnitude that stays, and how many of those with the same
    // digits do.
    let (mut prefix, mut wanted, mut all) = (0u32, kept as u64, false);
    for (shift, width) in DIGITS {
        if kept <= 0 {
            break;
        }
        let mut counts = vec![0u64; parts() * MOST];
        let slots = Pointer::to(&mut counts);
        for_parts(count, |part, begin, end| {
            // SAFETY: a slot for each part.
            let own = unsafe { std::slice::from_raw_parts_mut(slots.get().cast::<u64>().add(part * MOST), MOST) };
            for value in (begin..end).map(magnitude) {
                if u64::from(value) >> (shift + width) == u64::from(prefix) {
                    own[(value >> shift) as usize & ((1 << width) - 1)] += 1;
                }
            }
        });
        let of = |digit: usize| (0..parts()).map(|part| counts[part * MOST + digit]).sum::<u64>();
        let mut digit = (1usize << width) - 1;
        while digit > 0 && of(digit) < wanted {
            wanted -= of(digit);
            digit -= 1;
        }
        all = of(digit) == wanted;
        prefix = prefix << width | digit as u32;
    }
    // Magnitudes above this one stay.
    let (limit, out) = (if kept <= 0 { u32::MAX } else { prefix }, Pointer::of(&mask));
    let from = if all { limit } else { limit.saturating_add(1) };
    for_blocks(count, |begin, end| {
        // SAFETY: blocks do not overlap.
        unsafe { mark(bits.get(), out.get(), begin, end, from) };
    });
    if kept > 0 && !all {
        let equal = (0..count).filter(|&at| magnitude(at) == limit).take(wanted as usize);
        // SAFETY: as above; this is one thread.
        equal.for_each(|at| unsafe { *out.get().add(at) = 1.0 });
    }
    mask
}

simd! {
    /// Ones where the magnitude's bits are `from` or more, else zeros.
    unsafe fn mark(values: *const f32, mask: *mut f32, begin: usize, end: usize, from: u32) {
        let values = std::slice::from_raw_parts(values.add(begin), end - begin);
        let mask = std::slice::from_raw_parts_mut(mask.add(begin), end - begin);
        for i in 0..values.len() {
            mask[i] = if values[i].to_bits() & 0x7fff_ffff >= from { 1.0 } else { 0.0 };
        }
    }
}

/// A mask, as one autograd node, for a pruner whose removed weights are trained on: with V the
/// weight after all transforms, W' = mask · V, and
///
/// ```text
/// dL/dW = mask · (dL/dW through V) + (1 - mask) · dL/dW' + added
/// ```
///
/// so that kept weights have the gradient that the transforms give them, and removed ones that of
/// the product, straight through. `weight` is the trained tensor, `transformed` is V, `mask` holds
/// ones and zeros, and `added` is a term of its own for every weight (a decay, a prior); all have
/// one shape. A value of V that is zero has no gradient where it is removed.
pub fn straight_through_mask(weight: &Tensor, transformed: &Tensor, mask: &Tensor, added: Tensor) -> Tensor {
    let forward = || {
        let value = transformed.detach();
        // The node is handed dL/dmask = V · dL/dW'.
        let inverse = value.reciprocal().where_self(&value.ne(0.0), &value.zeros_like());
        (vec![mask.shallow_clone()], vec![(mask.ones_like() - mask) * inverse, added])
    };
    let backward = |gradients: &[Tensor], saved: &[Tensor]| vec![Some(&gradients[0] * &saved[0] + &saved[1])];
    custom_function(&[weight], forward, backward).pop().expect("one output was given")
}

/// `mask` as one autograd node that adds `pull` to the gradient of the trained `weight`, whatever the
/// mask leads to.
pub fn pulled_mask(weight: &Tensor, mask: &Tensor, pull: Tensor) -> Tensor {
    let forward = || (vec![mask.copy()], vec![pull]);
    let backward = |_: &[Tensor], saved: &[Tensor]| vec![Some(saved[0].shallow_clone())];
    custom_function(&[weight], forward, backward).pop().expect("one output was given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::Stream;

    fn by_sorting(values: &Tensor, kept: i64) -> Tensor {
        let (_, order) = values.abs().sort_stable(true, 0, true);
        values.zeros_like().index_fill(0, &order.narrow(0, 0, kept), 1.0)
    }

    #[test]
    fn the_mask_is_that_of_a_stable_sort() {
        tch::manual_seed(0);
        let random = Stream::numbered(1).normal(&[5000]);
        let coarse = (&random * 4.0).round();
        for values in [&random, &coarse, &(&random * 1e-40), &(&random * 1e30)] {
            for kept in [0, 1, 17, 2500, 4999, 5000] {
                let mask = largest_mask(values, kept);
                assert!(mask.equal(&by_sorting(values, kept)), "{kept}");
                assert_eq!(mask.sum(Kind::Double).double_value(&[]), kept as f64);
            }
        }
    }

    #[test]
    fn the_shape_stays_and_other_types_have_as_many() {
        let values = Stream::numbered(2).normal(&[4, 3, 3]).to_kind(Kind::Double);
        let (double, single) = (largest_mask(&values, 7), largest_mask(&values.to_kind(Kind::Float), 7));
        assert_eq!(single.size(), [4, 3, 3]);
        assert!(double.to_kind(Kind::Float).equal(&single));
    }

    /// Guards the masks of a GPU, which tensor operations make: of equal ones any stayed.
    #[test]
    fn of_equal_ones_the_first_stay_in_every_type() {
        let ties = (Stream::numbered(3).normal(&[500]).to_kind(Kind::Double) * 2.0).round();
        for kept in [1, 17, 250, 499] {
            assert!(largest_mask(&ties, kept).equal(&by_sorting(&ties, kept)), "{kept}");
        }
    }
}
