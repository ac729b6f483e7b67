//! The bits that a pruning mask takes in a file.
//!
//! A file holds the values of the kept weights one after another, and has to say where they belong.
//! The engine has the codings and takes the shorter one for each layer
//! ([`litesnn_engine::mask`]). The number of kept weights and the parameter of a coding belong to the
//! file's header.
//!
//! For a random mask no code is shorter than H(density) bits a weight; the paper's model size counts
//! no mask at all.

use litesnn_engine::mask;
pub use litesnn_engine::mask::Coding;
use tch::{Device, Kind, Tensor};

/// The mask of a layer in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMask {
    /// How it is written.
    pub coding: Coding,
    /// Its length in bits.
    pub bits: u64,
}

impl StoredMask {
    /// The mask of a layer that keeps all of its weights.
    pub const NONE: StoredMask = StoredMask { coding: Coding::None, bits: 0 };

    /// The shortest mask for a layer whose removed weights are the zeros of `weight`.
    pub fn of(weight: &Tensor) -> StoredMask {
        let kept = weight.detach().to_device(Device::Cpu).ne(0.0).to_kind(Kind::Bool).reshape([-1]);
        let kept = Vec::<bool>::try_from(kept).expect("yes or no in one dimension");
        let (coding, bits) = mask::coding(&kept);
        StoredMask { coding, bits }
    }
}

/// Expected bits for each weight of the mask of a layer that keeps this fraction of its weights at
/// random: gaps are geometric, so that the shorter coding takes
///
/// min(1, min over k of density · (1 + k + q / (1 - q))), q = (1 - density)^(2^k).
pub fn expected_mask_bits(density: f64) -> f64 {
    if density <= 0.0 || density >= 1.0 {
        return 0.0;
    }
    let golomb_rice = |k: i32| {
        let q = (1.0 - density).powf(f64::from(k).exp2());
        density * (1.0 + f64::from(k) + q / (1.0 - q))
    };
    (0..32).map(golomb_rice).fold(1.0, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;

    fn mask(flags: &[bool]) -> Tensor {
        Tensor::from_slice(&flags.iter().map(|kept| f32::from(*kept)).collect::<Vec<_>>())
    }

    fn random(count: usize, density: f64, index: u64) -> Vec<bool> {
        let drawn = Stream::open(5, "mask", index).uniform(&[count as i64], 0.0, 1.0);
        Vec::<f32>::try_from(drawn).unwrap().into_iter().map(|value| f64::from(value) < density).collect()
    }

    /// The bits themselves, written as the table of this file says.
    fn write(flags: &[bool], coding: Coding) -> Vec<bool> {
        let Coding::GolombRice(parameter) = coding else { return flags.to_vec() };
        let (mut bits, mut gap) = (Vec::new(), 0u64);
        for kept in flags {
            if !kept {
                gap += 1;
                continue;
            }
            bits.extend((0..gap >> parameter).map(|_| true));
            bits.push(false);
            bits.extend((0..parameter).rev().map(|place| gap >> place & 1 == 1));
            gap = 0;
        }
        bits
    }

    /// The mask of `count` weights, `kept` of them kept, from its bits alone; all bits have to be
    /// used.
    fn read(bits: &[bool], coding: Coding, count: usize, kept: usize) -> Vec<bool> {
        let Coding::GolombRice(parameter) = coding else { return bits.to_vec() };
        let mut bits = bits.iter();
        let mut flags = vec![false; count];
        let mut at = 0;
        for _ in 0..kept {
            let mut gap = 0;
            while *bits.next().unwrap() {
                gap += 1;
            }
            for _ in 0..parameter {
                gap = gap << 1 | usize::from(*bits.next().unwrap());
            }
            flags[at + gap] = true;
            at += gap + 1;
        }
        assert!(bits.next().is_none(), "bits are left");
        flags
    }

    #[test]
    fn a_mask_is_as_long_as_the_bits_from_which_it_is_read_again() {
        for (index, density) in [0.9, 0.5, 0.2, 0.1, 0.01, 0.002].into_iter().enumerate() {
            let flags = random(20_000, density, index as u64);
            let stored = StoredMask::of(&mask(&flags).view([10, 20, 10, 10]));
            let bits = write(&flags, stored.coding);
            assert_eq!(bits.len() as u64, stored.bits, "{density}");
            let kept = flags.iter().filter(|kept| **kept).count();
            assert!(read(&bits, stored.coding, flags.len(), kept) == flags, "{density}");
        }
    }

    #[test]
    fn the_parameter_is_the_best_of_all() {
        for (index, density) in [0.5, 0.2, 0.1, 0.01, 0.001].into_iter().enumerate() {
            let flags = random(20_000, density, 10 + index as u64);
            let StoredMask { coding, bits } = StoredMask::of(&mask(&flags));
            let lengths = (0..20).map(|parameter| write(&flags, Coding::GolombRice(parameter)).len() as u64);
            assert_eq!(bits, lengths.min().unwrap().min(20_000), "{density}: {coding}");
        }
    }

    #[test]
    fn regular_masks_have_the_lengths_of_their_closed_forms() {
        let of = |kept: &dyn Fn(usize) -> bool| StoredMask::of(&mask(&(0..1024).map(kept).collect::<Vec<_>>()));
        assert_eq!(of(&|_| true), StoredMask::NONE);
        // Gaps of one: two bits each, and so as long as the bit mask.
        assert_eq!(of(&|at| at % 2 == 1), StoredMask { coding: Coding::BitMask, bits: 1024 });
        // 256 gaps of three: k = 1 writes `1 0 1`, k = 2 `0 1 1`, of which the smaller k is taken.
        let of_three = StoredMask { coding: Coding::GolombRice(1), bits: 256 * 3 };
        assert_eq!(of(&|at| at % 4 == 3), of_three);
        // One gap of 1000 = 1 · 512 + 488: a one, a zero, nine bits. k = 8 takes 3 + 1 + 8.
        assert_eq!(of(&|at| at == 1000), StoredMask { coding: Coding::GolombRice(9), bits: 11 });
        assert_eq!(of(&|_| false), StoredMask { coding: Coding::GolombRice(0), bits: 0 });
    }

    #[test]
    fn random_masks_take_the_expected_bits() {
        // 0.739 and 0.476 were measured with another program on other random masks.
        for (density, measured) in [(0.2, 0.739), (0.1, 0.476)] {
            let expected = expected_mask_bits(density);
            let count = 400_000;
            let found = StoredMask::of(&mask(&random(count, density, 20))).bits as f64 / count as f64;
            assert!((found / expected - 1.0).abs() < 0.01, "{density}: {found}, expected {expected}");
            assert!((found / measured - 1.0).abs() < 0.01, "{density}: {found}, measured {measured}");
            let entropy = -density * density.log2() - (1.0 - density) * (1.0 - density).log2();
            assert!(found > entropy, "{density}: {found} is below the entropy {entropy}");
        }
        // A bit mask is shorter where half is kept, and what keeps all or nothing needs no mask.
        assert_eq!([0.0, 0.5, 1.0].map(expected_mask_bits), [0.0, 1.0, 0.0]);
    }
}
