//! The largest scores of several weights at once.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use super::{GROUP, Recipe, bytes};
use crate::ground::kernel::{Argument, Kernel, room};
use crate::spiking::version;

static LARGEST: Kernel = Kernel::new("largest", include_str!("../../../kernels/largest.cu"));

/// Scores that a block counts the digits of.
const TILE: i64 = 4096;
/// Digits of a magnitude, and values that a digit may have: as in `largest.cu`.
const DIGITS: i64 = 3;
const BINS: i64 = 2048;

/// The bound of the largest scores (`find_bounds` in `largest.cu`), and the scores and their
/// version that it was found in.
#[derive(Default)]
pub(in super::super) struct Bound(RefCell<Option<(Tensor, i64, Tensor)>>);

/// A mask of the largest scores.
pub(super) struct Largest<'a> {
    pub(super) scores: Tensor,
    pub(super) kept: i64,
    pub(super) learned: bool,
    pub(super) bound: &'a Bound,
}

impl Bound {
    /// What was found in these scores, if they are as they were.
    pub(super) fn of(&self, scores: &Tensor) -> Option<Tensor> {
        let kept = self.0.borrow();
        let (of, at, bound) = kept.as_ref()?;
        (of.data_ptr() == scores.data_ptr() && *at == version(scores)).then(|| bound.shallow_clone())
    }
}

/// `Ranked` of `largest.cu`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Ranked {
    values: u64,
    count: i64,
    kept: i64,
}

/// Finds the bounds of the largest scores where the scores have changed since.
pub(super) fn find_bounds(recipes: &[Recipe]) {
    let all = recipes.iter().filter_map(|recipe| recipe.largest.as_ref());
    let changed: Vec<&Largest> = all.filter(|largest| largest.bound.of(&largest.scores).is_none()).collect();
    let Some(device) = changed.first().map(|largest| largest.scores.device()) else { return };
    let (mut group, mut most) = ([Ranked::default(); GROUP], 0);
    for (ranked, largest) in group.iter_mut().zip(&changed) {
        let count = largest.scores.numel() as i64;
        assert!((0..=count).contains(&largest.kept), "{} of {count} scores cannot stay", largest.kept);
        *ranked = Ranked { values: largest.scores.data_ptr() as u64, count, kept: largest.kept };
        most = most.max(count);
    }
    let tensors = changed.len() as i64;
    let bins = Tensor::zeros([tensors, DIGITS, BINS], (Kind::Int, device));
    let bounds = room(&[tensors, 2], (Kind::Int64, device));
    let launch = |entry: &str, tiles: i64, rest: &[Argument]| {
        let arguments: Vec<Argument> =
            std::iter::once(Argument::Bytes(bytes(&group))).chain(rest.iter().copied()).collect();
        let grid = [tiles as u32, tensors as u32, 1];
        LARGEST.launch(entry, &[("TENSORS", GROUP as i64)], grid, [256, 1, 1], &arguments);
    };
    for digit in 0..DIGITS {
        let rest = [Argument::Tensor(&bins), Argument::I32(digit as i32), Argument::I64(TILE)];
        launch("count_digits", (most + TILE - 1) / TILE, &rest);
    }
    launch("find_bounds", 1, &[Argument::Tensor(&bins), Argument::Tensor(&bounds)]);
    for (number, largest) in changed.iter().enumerate() {
        let found = (largest.scores.shallow_clone(), version(&largest.scores), bounds.get(number as i64));
        *largest.bound.0.borrow_mut() = Some(found);
    }
}
