//! The loops of a node on the CPU: potentials, spikes and gradients of rows of neighbouring
//! channels.

use super::super::lanes::{Lanes, prefetch, prefetch_to_write, with_lanes};
use super::super::lif::{Lif, Neuron};
use super::super::parallel::{Pointer, TILE};

/// One term as the kernels see it: rows of `width` values at `x + (t · rows + r) · stride`.
#[derive(Clone, Copy)]
pub(super) struct TermRows {
    pub(super) x: Pointer,
    pub(super) gradient: Pointer,
    pub(super) stride: usize,
    /// Rows from a timestep to the next: 0 where all are the same.
    pub(super) advance: usize,
    pub(super) kind: TermKind,
    /// Of spikes: what a spike adds to the current.
    pub(super) scale: f32,
    /// y = factor · x + shift, and the mean, each `[T, width]`.
    pub(super) factor: *const f32,
    pub(super) shift: *const f32,
    pub(super) mean: *const f32,
}
// SAFETY: the pointers are to memory that outlives the loops, and threads write disjoint rows of
// it.
unsafe impl Sync for TermRows {}

/// What a term adds to the node's current; `node.cu` has the same numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum TermKind {
    /// Normalised currents.
    Current = 0,
    /// Spikes of neurons of its own on normalised currents.
    Candidate = 1,
    /// Spikes of another node.
    Spikes = 2,
}

/// The shape of a node and its neuron, for the kernels.
pub(super) struct NodeShape {
    pub(super) steps: usize,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) neuron: Lif,
}

/// Rows that are worked on together: one term and timestep after another, so that memory is read
/// and written in sequence. All timesteps of a row at once would lie a power of two apart, where
/// they drive each other out of the caches.
const ROWS: usize = 64;

/// What is kept of [`ROWS`] rows of one vector of channels, and sums over the rows of a tile.
struct Scratch<V> {
    /// `[term, step, row]`
    x: Vec<V>,
    /// Of the candidates: `[term, step, row]`.
    potentials: Vec<V>,
    /// The node's currents, then its potentials, then their gradients: `[step, row]`.
    node: Vec<V>,
    sums: Vec<V>,
}

impl<V: Lanes> Scratch<V> {
    #[inline(always)]
    unsafe fn new(terms: usize, steps: usize) -> Scratch<V> {
        let zeros = |count: usize| vec![unsafe { V::splat(0.0) }; count];
        Scratch {
            x: zeros(terms * steps * ROWS),
            potentials: zeros(terms * steps * ROWS),
            node: zeros(steps * ROWS),
            sums: zeros(terms * (2 * steps + 1)),
        }
    }
}

/// Where a vector of channels stands: rows from `first` on, `count` of them, channels from `column`
/// on.
#[derive(Clone, Copy)]
struct RowBlock<M> {
    first: usize,
    count: usize,
    column: usize,
    mask: M,
    /// The last channel of the mask, from `column` on.
    last: usize,
}

impl<M> RowBlock<M> {
    /// Offset of the first row at a timestep.
    #[inline(always)]
    fn of(&self, term: &TermRows, step: usize) -> usize {
        (step * term.advance + self.first) * term.stride + self.column
    }
}

with_lanes!(pub(super) forward_rows, forward_rows_narrow, forward_lanes, (
    terms: &[TermRows], shape: &NodeShape, begin: usize, end: usize, out: *mut f32, counts: &mut [f64],
));

with_lanes!(pub(super) backward_rows, backward_rows_narrow, backward_lanes, (
    terms: &[TermRows], shape: &NodeShape, begin: usize, end: usize, upstream: *const f32, stride: usize, sums: &mut [f64],
));

/// Spikes of the rows from `begin` to `end`, and their number at each timestep, added to `counts`.
#[inline(always)]
unsafe fn forward_lanes<V: Lanes>(
    terms: &[TermRows],
    shape: &NodeShape,
    begin: usize,
    end: usize,
    out: *mut f32,
    counts: &mut [f64],
) {
    // SAFETY: all pointers are to rows that are there, of at least `width` values.
    unsafe {
        let neuron = Neuron::<V>::of(&shape.neuron);
        let mut scratch = Scratch::<V>::new(terms.len(), shape.steps);
        let mut fired = vec![neuron.zero; shape.steps];
        for tile in (begin..end).step_by(TILE) {
            fired.fill(neuron.zero);
            for column in (0..shape.width).step_by(V::COUNT) {
                for first in (tile..(tile + TILE).min(end)).step_by(ROWS) {
                    let block = row_block::<V>(shape, column, first, (tile + TILE).min(end));
                    let spike = V::load([1.0; 16].as_ptr(), block.mask);
                    accumulate_currents::<V, false>(terms, shape, block, neuron, &mut scratch);
                    let mut membrane = [neuron.zero; ROWS];
                    for (step, fired) in fired.iter_mut().enumerate() {
                        let to = out.add((step * shape.rows + first) * shape.width + column);
                        for (row, membrane) in membrane[..block.count].iter_mut().enumerate() {
                            let u = membrane.add(*scratch.node.get_unchecked(step * ROWS + row));
                            let spikes = u.above(neuron.threshold, spike, neuron.zero);
                            *membrane = neuron.kept(u);
                            *fired = fired.add(spikes);
                            spikes.store(to.add(row * shape.width), block.mask);
                        }
                    }
                }
            }
            for (count, fired) in counts.iter_mut().zip(&fired) {
                *count += fired.values().iter().map(|&count| f64::from(count)).sum::<f64>();
            }
        }
    }
}

#[inline(always)]
unsafe fn row_block<V: Lanes>(shape: &NodeShape, column: usize, first: usize, end: usize) -> RowBlock<V::Mask> {
    let lanes = V::COUNT.min(shape.width - column);
    // SAFETY: a mask of lanes that are there.
    let mask = unsafe { V::first(lanes) };
    RowBlock { first, count: ROWS.min(end - first), column, mask, last: lanes - 1 }
}

/// The node's currents in a block, and what the backward pass needs of its terms with `KEEP`.
#[inline(always)]
unsafe fn accumulate_currents<V: Lanes, const KEEP: bool>(
    terms: &[TermRows],
    shape: &NodeShape,
    block: RowBlock<V::Mask>,
    neuron: Neuron<V>,
    scratch: &mut Scratch<V>,
) {
    scratch.node.fill(neuron.zero);
    for index in 0..terms.len() {
        for step in 0..shape.steps {
            // SAFETY: as in the loops that call it.
            unsafe { add_term::<V, KEEP>(terms, index, step, shape, block, neuron, scratch) }
        }
    }
}

/// Adds what one term gives at one timestep to the node's currents.
#[inline(always)]
unsafe fn add_term<V: Lanes, const KEEP: bool>(
    terms: &[TermRows],
    index: usize,
    step: usize,
    shape: &NodeShape,
    block: RowBlock<V::Mask>,
    neuron: Neuron<V>,
    scratch: &mut Scratch<V>,
) {
    // SAFETY: as in the loops that call it.
    unsafe {
        let term = &terms[index];
        let (next, next_step) = read_next(terms, index, step, shape.steps);
        let mut ahead = next.x.get().add(block.of(next, next_step)).cast_const();
        let mut at = term.x.get().add(block.of(term, step)).cast_const();
        let coefficient = step * shape.width + block.column;
        let scale = V::splat(term.scale);
        let (factor, shift) = match term.kind {
            TermKind::Spikes => (scale, neuron.zero),
            _ => (V::load(term.factor.add(coefficient), block.mask), V::load(term.shift.add(coefficient), block.mask)),
        };
        let here = (index * shape.steps + step) * ROWS;
        for row in 0..block.count {
            // A part of a row lies in two cache lines as often as not.
            prefetch(ahead);
            prefetch(ahead.wrapping_add(block.last));
            let x = V::load(at, block.mask);
            if KEEP {
                *scratch.x.get_unchecked_mut(here + row) = x;
            }
            let y = match term.kind {
                TermKind::Spikes => factor.mul(x),
                TermKind::Current => factor.mul(x).add(shift),
                TermKind::Candidate => {
                    let y = factor.mul(x).add(shift);
                    candidate_spikes(y, scale, neuron, &mut scratch.potentials, here + row, step)
                }
            };
            let current = scratch.node.get_unchecked_mut(step * ROWS + row);
            *current = current.add(y);
            at = at.wrapping_add(term.stride);
            ahead = ahead.wrapping_add(next.stride);
        }
    }
}

/// What is read after a term at a timestep: the following timestep, or the first of the following
/// term.
#[inline(always)]
fn read_next(terms: &[TermRows], index: usize, step: usize, steps: usize) -> (&TermRows, usize) {
    match terms.get(index + 1) {
        _ if step + 1 < steps => (&terms[index], step + 1),
        Some(next) => (next, 0),
        None => (&terms[index], step),
    }
}

/// Spikes of a candidate's own neurons on `current`, times `scale`. Their potentials are kept at
/// `here`, [`ROWS`] after those of the timestep before.
#[inline(always)]
unsafe fn candidate_spikes<V: Lanes>(
    current: V,
    scale: V,
    neuron: Neuron<V>,
    potentials: &mut [V],
    here: usize,
    step: usize,
) -> V {
    // SAFETY: as in the loops that call it.
    unsafe {
        let kept = match step {
            0 => neuron.zero,
            _ => neuron.kept(*potentials.get_unchecked(here - ROWS)),
        };
        let u = kept.add(current);
        *potentials.get_unchecked_mut(here) = u;
        u.above(neuron.threshold, scale, neuron.zero)
    }
}

/// Gradients of the rows from `begin` to `end` to every term, and their sums; `upstream` has rows
/// `stride` apart.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn backward_lanes<V: Lanes>(
    terms: &[TermRows],
    shape: &NodeShape,
    begin: usize,
    end: usize,
    upstream: *const f32,
    stride: usize,
    sums: &mut [f64],
) {
    let steps = shape.steps;
    // SAFETY: as in the forward pass.
    unsafe {
        let neuron = Neuron::<V>::of(&shape.neuron);
        let mut scratch = Scratch::<V>::new(terms.len(), steps);
        for tile in (begin..end).step_by(TILE) {
            for column in (0..shape.width).step_by(V::COUNT) {
                scratch.sums.fill(neuron.zero);
                for first in (tile..(tile + TILE).min(end)).step_by(ROWS) {
                    let block = row_block::<V>(shape, column, first, (tile + TILE).min(end));
                    accumulate_currents::<V, true>(terms, shape, block, neuron, &mut scratch);
                    differentiate(shape, block, neuron, upstream, stride, &mut scratch.node);
                    for (index, term) in terms.iter().enumerate() {
                        send_back(term, index, shape, block, neuron, &mut scratch);
                    }
                }
                for index in 0..terms.len() {
                    let (from, to) = (index * (2 * steps + 1), index * (2 * steps * shape.width + 1));
                    let count = V::COUNT.min(shape.width - column);
                    for step in 0..2 * steps {
                        let first = to + step * shape.width + column;
                        let found = scratch.sums[from + step].values();
                        for (sum, value) in sums[first..first + count].iter_mut().zip(found) {
                            *sum += f64::from(value);
                        }
                    }
                    let to_scale = scratch.sums[from + 2 * steps].values();
                    sums[to + 2 * steps * shape.width] += to_scale.iter().map(|&value| f64::from(value)).sum::<f64>();
                }
            }
        }
    }
}

/// The node's currents become potentials, and these their gradients.
#[inline(always)]
unsafe fn differentiate<V: Lanes>(
    shape: &NodeShape,
    block: RowBlock<V::Mask>,
    neuron: Neuron<V>,
    upstream: *const f32,
    stride: usize,
    node: &mut [V],
) {
    // SAFETY: as in the loops that call it.
    unsafe {
        let mut state = [neuron.zero; ROWS];
        for step in 0..shape.steps {
            let rows = node.get_unchecked_mut(step * ROWS..step * ROWS + block.count);
            for (current, membrane) in rows.iter_mut().zip(&mut state) {
                *current = membrane.add(*current);
                *membrane = neuron.kept(*current);
            }
        }
        state.fill(neuron.zero);
        for step in (0..shape.steps).rev() {
            let at = |step: usize| upstream.add((step * shape.rows + block.first) * stride + block.column);
            let (from, ahead) = (at(step), at(step.saturating_sub(1)));
            let rows = node.get_unchecked_mut(step * ROWS..step * ROWS + block.count);
            for (row, (potential, carried)) in rows.iter_mut().zip(&mut state).enumerate() {
                prefetch(ahead.add(row * stride));
                let gradient = V::load(from.add(row * stride), block.mask);
                *potential = neuron.backward(gradient, *potential, *carried);
                *carried = neuron.tau.mul(*potential);
            }
        }
    }
}

/// The gradient of a term in a block, from the gradients of the node's potentials, and its sums: of
/// the gradient and of its product with x - mean at each timestep, and the gradient to the scale.
#[inline(always)]
unsafe fn send_back<V: Lanes>(
    term: &TermRows,
    index: usize,
    shape: &NodeShape,
    block: RowBlock<V::Mask>,
    neuron: Neuron<V>,
    scratch: &mut Scratch<V>,
) {
    // SAFETY: as in the loops that call it.
    unsafe {
        let mut carried = Carried { potentials: [neuron.zero; ROWS], whole: [neuron.zero; ROWS] };
        for step in (0..shape.steps).rev() {
            send_back_step(term, index, step, shape, block, neuron, scratch, &mut carried);
        }
    }
}

/// What a term's backward pass carries from a timestep to the one before it, by row.
struct Carried<V> {
    /// tau times the gradients of a candidate's potentials.
    potentials: [V; ROWS],
    /// Of a current that is the same at every timestep: the sum of its gradients so far.
    whole: [V; ROWS],
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn send_back_step<V: Lanes>(
    term: &TermRows,
    index: usize,
    step: usize,
    shape: &NodeShape,
    block: RowBlock<V::Mask>,
    neuron: Neuron<V>,
    scratch: &mut Scratch<V>,
    carried: &mut Carried<V>,
) {
    let steps = shape.steps;
    // SAFETY: as in the loops that call it.
    unsafe {
        let scale = V::splat(term.scale);
        let constant = term.advance == 0;
        let sums = scratch.sums.get_unchecked_mut(index * (2 * steps + 1)..(index + 1) * (2 * steps + 1));
        let to = |step: usize| term.gradient.get().add(block.of(term, step));
        let (mut at, mut ahead) = (to(step), to(step.saturating_sub(1)));
        let mean = match term.kind {
            TermKind::Spikes => neuron.zero,
            _ => V::load(term.mean.add(step * shape.width + block.column), block.mask),
        };
        let (mut sum, mut product, mut to_scale) = (sums[step], sums[steps + step], sums[2 * steps]);
        let here = (index * steps + step) * ROWS;
        for row in 0..block.count {
            prefetch_to_write(ahead);
            prefetch_to_write(ahead.wrapping_add(block.last));
            let gradient = *scratch.node.get_unchecked(step * ROWS + row);
            let x = *scratch.x.get_unchecked(here + row);
            let mut result = match term.kind {
                TermKind::Spikes => {
                    to_scale = gradient.mul_add(x, to_scale);
                    gradient.mul(scale)
                }
                TermKind::Current => gradient,
                TermKind::Candidate => {
                    let potential = *scratch.potentials.get_unchecked(here + row);
                    let carried = carried.potentials.get_unchecked_mut(row);
                    let value = neuron.backward(gradient.mul(scale), potential, *carried);
                    to_scale = to_scale.add(potential.above(neuron.threshold, gradient, neuron.zero));
                    *carried = neuron.tau.mul(value);
                    value
                }
            };
            if constant {
                let whole = carried.whole.get_unchecked_mut(row);
                *whole = whole.add(result);
                result = *whole;
            }
            if !constant || step == 0 {
                result.store(at, block.mask);
                sum = sum.add(result);
                product = result.mul_add(x.sub(mean), product);
            }
            at = at.wrapping_add(term.stride);
            ahead = ahead.wrapping_add(term.stride);
        }
        if term.kind != TermKind::Spikes {
            (sums[step], sums[steps + step]) = (sum, product);
        }
        sums[2 * steps] = to_scale;
    }
}
