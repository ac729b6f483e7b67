//! The loops of a node on the CPU: potentials, spikes and gradients of rows of neighbouring channels.

use super::super::lanes::{Lanes, prefetch, prefetch_to_write, with_lanes};
use super::super::lif::{Lif, Neuron};
use super::super::parallel::{Pointer, simd};

/// One term as the kernels see it: rows of `width` values at `x + (t · rows + r) · stride`.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) x: Pointer,
    pub(super) gradient: Pointer,
    pub(super) stride: usize,
    /// Rows from a timestep to the next: 0 where all are the same.
    pub(super) advance: usize,
    pub(super) kind: Drive,
    /// Of spikes: what a spike adds to the current.
    pub(super) scale: f32,
    /// y = factor · x + shift, and the mean, each `[T, width]`.
    pub(super) factor: *const f32,
    pub(super) shift: *const f32,
    pub(super) mean: *const f32,
}
// SAFETY: the pointers are to memory that outlives the loops, and threads write disjoint rows of it.
unsafe impl Sync for Source {}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Drive {
    Current,
    Candidate,
    Spikes,
}

/// Rows of a tile: sums in f32 are no longer than that.
pub(super) const TILE: usize = 64;

/// The shape of a node and its neuron, for the kernels.
pub(super) struct Frame {
    pub(super) steps: usize,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) neuron: Lif,
}

/// Rows that are worked on together: one source and timestep after another, so that memory is read and written in sequence. All
/// timesteps of a row at once would lie a power of two apart, where they drive each other out of the caches.
const ROWS: usize = 64;

/// What is kept of [`ROWS`] rows of one vector of channels, and sums over the rows of a tile.
struct Scratch<V> {
    /// `[source, step, row]`
    x: Vec<V>,
    /// Of the candidates: `[source, step, row]`.
    potentials: Vec<V>,
    /// The node's currents, then its potentials, then their gradients: `[step, row]`.
    node: Vec<V>,
    sums: Vec<V>,
}

impl<V: Lanes> Scratch<V> {
    #[inline(always)]
    unsafe fn new(sources: usize, steps: usize) -> Scratch<V> {
        let zeros = |count: usize| vec![unsafe { V::splat(0.0) }; count];
        Scratch {
            x: zeros(sources * steps * ROWS),
            potentials: zeros(sources * steps * ROWS),
            node: zeros(steps * ROWS),
            sums: zeros(sources * (2 * steps + 1)),
        }
    }
}

/// The place of a vector of channels: rows from `first` on, `count` of them, channels from `column` on.
#[derive(Clone, Copy)]
struct Place<M> {
    first: usize,
    count: usize,
    column: usize,
    mask: M,
    /// The last channel of the mask, from `column` on.
    last: usize,
}

impl<M> Place<M> {
    /// Offset of the first row at a timestep.
    #[inline(always)]
    fn of(&self, source: &Source, step: usize) -> usize {
        (step * source.advance + self.first) * source.stride + self.column
    }
}

with_lanes!(pub(super) forward_rows, forward_rows_narrow, forward_lanes, (
    sources: &[Source], frame: &Frame, begin: usize, end: usize, out: *mut f32, counts: &mut [f64],
));

with_lanes!(pub(super) backward_rows, backward_rows_narrow, backward_lanes, (
    sources: &[Source], frame: &Frame, begin: usize, end: usize, upstream: *const f32, stride: usize, sums: &mut [f64],
));

/// Spikes of the rows from `begin` to `end`, and their number at each timestep, added to `counts`.
#[inline(always)]
unsafe fn forward_lanes<V: Lanes>(
    sources: &[Source],
    frame: &Frame,
    begin: usize,
    end: usize,
    out: *mut f32,
    counts: &mut [f64],
) {
    // SAFETY: all pointers are to rows that are there, of at least `width` values.
    unsafe {
        let neuron = Neuron::<V>::of(&frame.neuron);
        let mut scratch = Scratch::<V>::new(sources.len(), frame.steps);
        let mut fired = vec![neuron.zero; frame.steps];
        for tile in (begin..end).step_by(TILE) {
            fired.fill(neuron.zero);
            for column in (0..frame.width).step_by(V::COUNT) {
                for first in (tile..(tile + TILE).min(end)).step_by(ROWS) {
                    let place = place::<V>(frame, column, first, (tile + TILE).min(end));
                    let spike = V::load([1.0; 16].as_ptr(), place.mask);
                    drive::<V, false>(sources, frame, place, neuron, &mut scratch);
                    let mut membrane = [neuron.zero; ROWS];
                    for (step, fired) in fired.iter_mut().enumerate() {
                        let to = out.add((step * frame.rows + first) * frame.width + column);
                        for (row, membrane) in membrane[..place.count].iter_mut().enumerate() {
                            let u = membrane.add(*scratch.node.get_unchecked(step * ROWS + row));
                            let spikes = u.above(neuron.threshold, spike, neuron.zero);
                            *membrane = neuron.kept(u);
                            *fired = fired.add(spikes);
                            spikes.store(to.add(row * frame.width), place.mask);
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
unsafe fn place<V: Lanes>(frame: &Frame, column: usize, first: usize, end: usize) -> Place<V::Mask> {
    let lanes = V::COUNT.min(frame.width - column);
    // SAFETY: a mask of lanes that are there.
    let mask = unsafe { V::first(lanes) };
    Place { first, count: ROWS.min(end - first), column, mask, last: lanes - 1 }
}

/// The node's currents at a place, and what the backward pass needs of its sources with `KEEP`.
#[inline(always)]
unsafe fn drive<V: Lanes, const KEEP: bool>(
    sources: &[Source],
    frame: &Frame,
    place: Place<V::Mask>,
    neuron: Neuron<V>,
    scratch: &mut Scratch<V>,
) {
    let steps = frame.steps;
    scratch.node.fill(neuron.zero);
    for (index, source) in sources.iter().enumerate() {
        for step in 0..steps {
            // What is read next: the following timestep, or the first of the following source.
            let (next, next_step) = match sources.get(index + 1) {
                _ if step + 1 < steps => (source, step + 1),
                Some(next) => (next, 0),
                None => (source, step),
            };
            // SAFETY: as in the loops that call it.
            unsafe {
                let mut ahead = next.x.get().add(place.of(next, next_step)).cast_const();
                let mut at = source.x.get().add(place.of(source, step)).cast_const();
                let coefficient = step * frame.width + place.column;
                let (factor, shift) = match source.kind {
                    Drive::Spikes => (V::splat(source.scale), neuron.zero),
                    _ => (
                        V::load(source.factor.add(coefficient), place.mask),
                        V::load(source.shift.add(coefficient), place.mask),
                    ),
                };
                let scale = V::splat(source.scale);
                let here = (index * steps + step) * ROWS;
                for row in 0..place.count {
                    // A part of a row lies in two cache lines as often as not.
                    prefetch(ahead);
                    prefetch(ahead.wrapping_add(place.last));
                    let x = V::load(at, place.mask);
                    if KEEP {
                        *scratch.x.get_unchecked_mut(here + row) = x;
                    }
                    let mut y = factor.mul(x);
                    if source.kind != Drive::Spikes {
                        y = y.add(shift);
                    }
                    if source.kind == Drive::Candidate {
                        let potentials = &mut scratch.potentials;
                        let kept = match step {
                            0 => neuron.zero,
                            _ => neuron.kept(*potentials.get_unchecked(here - ROWS + row)),
                        };
                        let u = kept.add(y);
                        *potentials.get_unchecked_mut(here + row) = u;
                        y = u.above(neuron.threshold, scale, neuron.zero);
                    }
                    let current = scratch.node.get_unchecked_mut(step * ROWS + row);
                    *current = current.add(y);
                    at = at.wrapping_add(source.stride);
                    ahead = ahead.wrapping_add(next.stride);
                }
            }
        }
    }
}

/// Gradients of the rows from `begin` to `end` to every source, and their sums; `upstream` has rows `stride` apart.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn backward_lanes<V: Lanes>(
    sources: &[Source],
    frame: &Frame,
    begin: usize,
    end: usize,
    upstream: *const f32,
    stride: usize,
    sums: &mut [f64],
) {
    let steps = frame.steps;
    // SAFETY: as in the forward pass.
    unsafe {
        let neuron = Neuron::<V>::of(&frame.neuron);
        let mut scratch = Scratch::<V>::new(sources.len(), steps);
        for tile in (begin..end).step_by(TILE) {
            for column in (0..frame.width).step_by(V::COUNT) {
                scratch.sums.fill(neuron.zero);
                for first in (tile..(tile + TILE).min(end)).step_by(ROWS) {
                    let place = place::<V>(frame, column, first, (tile + TILE).min(end));
                    drive::<V, true>(sources, frame, place, neuron, &mut scratch);
                    differentiate(frame, place, neuron, upstream, stride, &mut scratch.node);
                    for (index, source) in sources.iter().enumerate() {
                        send_back(source, index, frame, place, neuron, &mut scratch);
                    }
                }
                for index in 0..sources.len() {
                    let (from, to) = (index * (2 * steps + 1), index * (2 * steps * frame.width + 1));
                    let count = V::COUNT.min(frame.width - column);
                    for step in 0..2 * steps {
                        let first = to + step * frame.width + column;
                        let found = scratch.sums[from + step].values();
                        for (sum, value) in sums[first..first + count].iter_mut().zip(found) {
                            *sum += f64::from(value);
                        }
                    }
                    let to_scale = scratch.sums[from + 2 * steps].values();
                    sums[to + 2 * steps * frame.width] += to_scale.iter().map(|&value| f64::from(value)).sum::<f64>();
                }
            }
        }
    }
}

/// The node's currents become potentials, and these their gradients.
#[inline(always)]
unsafe fn differentiate<V: Lanes>(
    frame: &Frame,
    place: Place<V::Mask>,
    neuron: Neuron<V>,
    upstream: *const f32,
    stride: usize,
    node: &mut [V],
) {
    // SAFETY: as in the loops that call it.
    unsafe {
        let mut state = [neuron.zero; ROWS];
        for step in 0..frame.steps {
            let rows = node.get_unchecked_mut(step * ROWS..step * ROWS + place.count);
            for (current, membrane) in rows.iter_mut().zip(&mut state) {
                *current = membrane.add(*current);
                *membrane = neuron.kept(*current);
            }
        }
        state.fill(neuron.zero);
        for step in (0..frame.steps).rev() {
            let at = |step: usize| upstream.add((step * frame.rows + place.first) * stride + place.column);
            let (from, ahead) = (at(step), at(step.saturating_sub(1)));
            let rows = node.get_unchecked_mut(step * ROWS..step * ROWS + place.count);
            for (row, (potential, carried)) in rows.iter_mut().zip(&mut state).enumerate() {
                prefetch(ahead.add(row * stride));
                let gradient = V::load(from.add(row * stride), place.mask);
                *potential = neuron.backward(gradient, *potential, *carried);
                *carried = neuron.tau.mul(*potential);
            }
        }
    }
}

/// The gradient of a source at a place, from those of the node's potentials, and its sums: of the gradient and of its product with
/// x - mean at each timestep, and the gradient to the scale.
#[inline(always)]
unsafe fn send_back<V: Lanes>(
    source: &Source,
    index: usize,
    frame: &Frame,
    place: Place<V::Mask>,
    neuron: Neuron<V>,
    scratch: &mut Scratch<V>,
) {
    let steps = frame.steps;
    // SAFETY: as in the loops that call it.
    unsafe {
        let scale = V::splat(source.scale);
        let constant = source.advance == 0;
        let sums = scratch.sums.get_unchecked_mut(index * (2 * steps + 1)..(index + 1) * (2 * steps + 1));
        let mut to_scale = sums[2 * steps];
        let mut state = [neuron.zero; ROWS];
        // Of a current that is the same at every timestep: the sum over them.
        let mut whole = [neuron.zero; ROWS];
        for step in (0..steps).rev() {
            let to = |step: usize| source.gradient.get().add(place.of(source, step));
            let (mut at, mut ahead) = (to(step), to(step.saturating_sub(1)));
            let mean = match source.kind {
                Drive::Spikes => neuron.zero,
                _ => V::load(source.mean.add(step * frame.width + place.column), place.mask),
            };
            let (mut sum, mut product) = (sums[step], sums[steps + step]);
            let here = (index * steps + step) * ROWS;
            for row in 0..place.count {
                prefetch_to_write(ahead);
                prefetch_to_write(ahead.wrapping_add(place.last));
                let gradient = *scratch.node.get_unchecked(step * ROWS + row);
                let x = *scratch.x.get_unchecked(here + row);
                let mut result = match source.kind {
                    Drive::Spikes => {
                        to_scale = gradient.mul_add(x, to_scale);
                        gradient.mul(scale)
                    }
                    Drive::Current => gradient,
                    Drive::Candidate => {
                        let potential = *scratch.potentials.get_unchecked(here + row);
                        let carried = state.get_unchecked_mut(row);
                        let value = neuron.backward(gradient.mul(scale), potential, *carried);
                        to_scale = to_scale.add(potential.above(neuron.threshold, gradient, neuron.zero));
                        *carried = neuron.tau.mul(value);
                        value
                    }
                };
                if constant {
                    let all = whole.get_unchecked_mut(row);
                    *all = all.add(result);
                    result = *all;
                }
                if !constant || step == 0 {
                    result.store(at, place.mask);
                    sum = sum.add(result);
                    product = result.mul_add(x.sub(mean), product);
                }
                at = at.wrapping_add(source.stride);
                ahead = ahead.wrapping_add(source.stride);
            }
            if source.kind != Drive::Spikes {
                (sums[step], sums[steps + step]) = (sum, product);
            }
        }
        sums[2 * steps] = to_scale;
    }
}

simd! {
    /// g = a · g + p · x + q over rows.
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe fn combine_rows(
        g: *mut f32, x: *const f32, begin: usize, end: usize, channels: usize, a: *const f32, p: *const f32, q: *const f32,
    ) {
        let [a, p, q] = [a, p, q].map(|values| std::slice::from_raw_parts(values, channels));
        for row in begin..end {
            let g = std::slice::from_raw_parts_mut(g.add(row * channels), channels);
            let x = std::slice::from_raw_parts(x.add(row * channels), channels);
            for i in 0..channels {
                g[i] = a[i] * g[i] + p[i] * x[i] + q[i];
            }
        }
    }
}

simd! {
    /// Adds up x - shift and its square over rows: `[2, channels]`.
    pub(super) unsafe fn sum_rows(
        x: *const f32, begin: usize, end: usize, channels: usize, shift: *const f32, sums: *mut f32,
    ) {
        let shift = std::slice::from_raw_parts(shift, channels);
        let first = std::slice::from_raw_parts_mut(sums, channels);
        let second = std::slice::from_raw_parts_mut(sums.add(channels), channels);
        for row in begin..end {
            let x = std::slice::from_raw_parts(x.add(row * channels), channels);
            for i in 0..channels {
                let value = x[i] - shift[i];
                first[i] += value;
                second[i] += value * value;
            }
        }
    }
}
