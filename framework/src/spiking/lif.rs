//! The leaky integrate-and-fire neuron with the Dspike surrogate gradient, as one autograd node
//! over all timesteps.
//!
//! Forward (paper, Eq. 1; hard reset to 0):
//!
//! ```text
//! u(t) = tau · u(t-1) · (1 - s(t-1)) + x(t)          s(t) = 1 if u(t) > V_th else 0
//! ```
//!
//! Backward, with g(t) = dL/du(t) and the surrogate D(u) in place of ds/du; the gradient passes
//! through the reset:
//!
//! ```text
//! g(t) = (dL/ds(t) - g(t+1) · tau · u(t)) · D(u(t)) + g(t+1) · tau · (1 - s(t))          dL/dx(t) = g(t)
//! ```
//!
//! D is the derivative of Dspike (Li et al., NeurIPS 2021), whose centre is the threshold. With b
//! the temperature,
//!
//! ```text
//! D(u) = b / (2 tanh(b/2)) · (1 - tanh²(b (u - V_th)))          for |u - V_th| < 1/2, else 0
//! ```
//!
//! At the paper's V_th = 0.5 the window is 0 < u < 1. Another threshold moves the window and leaves
//! its shape: the area under D is 1 for each threshold and each temperature.
//!
//! Only the currents x are kept for the backward pass, which computes the potentials again. On the
//! CPU in f32 the loops below run, on a CUDA device in f32 the kernels of `lif.cu`. On any other
//! device or type, the tensor operations of every other [neuron](super::neuron) compute it.

use tch::{Device, Kind, Tensor};

use super::cuda::{has_kernels_for, lif_backward, lif_forward};
use super::function::custom_function;
use super::lanes::{Lanes, prefetch, prefetch_to_write, with_lanes};
use super::neuron::{Dspike, Dynamics, Number, Reset, Surrogate, spikes};
use super::parallel::{BLOCK, Pointer, for_blocks};

/// Parameters of a layer of neurons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lif {
    /// Decay of the membrane potential from one timestep to the next (paper: 0.2).
    pub tau: f64,
    /// Threshold V_th (paper: 0.5).
    pub threshold: f64,
    /// Surrogate gradient.
    pub surrogate: Dspike,
}

impl Default for Lif {
    fn default() -> Self {
        Lif { tau: 0.2, threshold: 0.5, surrogate: Dspike { temperature: 3.0 } }
    }
}

impl Lif {
    /// Spikes of currents `[T, ...]`, of the same shape.
    pub fn spikes(&self, current: &Tensor) -> Tensor {
        self.run(current, current.size()[0], false)
    }

    /// Spikes `[T, ...]` of a current `[...]` that is the same at each of `timesteps`: the direct
    /// coding of a static image.
    pub fn spikes_of_constant(&self, current: &Tensor, timesteps: i64) -> Tensor {
        self.run(current, timesteps, true)
    }

    /// Spikes `[T, ...]` of currents, or of one that is the same at each of `timesteps` if
    /// `constant`.
    pub(super) fn run(&self, current: &Tensor, timesteps: i64, constant: bool) -> Tensor {
        let neuron = *self;
        let loops = current.device() == Device::Cpu && current.kind() == Kind::Float;
        if !loops && !has_kernels_for(current, &[Kind::Float], timesteps) {
            return neuron.run_operations(current, timesteps, constant);
        }
        let forward = || {
            let current = dense(&current.detach(), constant);
            (vec![neuron.forward_kernel(&current, timesteps, constant)], vec![current])
        };
        let backward = move |gradients: &[Tensor], saved: &[Tensor]| {
            vec![Some(neuron.backward_kernel(&gradients[0], &saved[0], timesteps, constant))]
        };
        custom_function(&[current], forward, backward).pop().expect("one output was given")
    }

    fn run_operations(&self, current: &Tensor, timesteps: i64, constant: bool) -> Tensor {
        let dynamics = Dynamics {
            scaled_input: false,
            reset: Reset::Hard,
            detached: false,
            surrogate: Surrogate::Dspike(self.surrogate),
        };
        let numbers = [self.tau, self.threshold].map(Number::Fixed);
        spikes(dynamics, numbers.each_ref(), current, timesteps, constant)
    }

    fn forward_kernel(&self, current: &Tensor, timesteps: i64, constant: bool) -> Tensor {
        let spikes = over_time(current, timesteps, constant);
        if current.device() != Device::Cpu {
            lif_forward(self, current, &spikes, constant);
            return spikes;
        }
        let shape = Shape::of(&spikes, constant);
        let (x, s) = (Pointer::of(current), Pointer::of(&spikes));
        for_blocks(shape.neurons, |begin, end| {
            // SAFETY: x holds `stride * steps` values (or `neurons`), s `neurons * steps`; blocks
            // do not overlap.
            unsafe { forward_block(x.get(), Out::Spikes(s.get()), shape, begin, end, self) }
        });
        spikes
    }

    fn backward_kernel(&self, gradient: &Tensor, current: &Tensor, timesteps: i64, constant: bool) -> Tensor {
        let mut laid_out = over_time(current, timesteps, constant);
        if gradient.stride() == laid_out.stride() {
            laid_out = gradient.shallow_clone();
        } else {
            laid_out.copy_(gradient);
        }
        let result = Tensor::empty_strided(current.size(), current.stride(), (Kind::Float, current.device()));
        if current.device() != Device::Cpu {
            lif_backward(self, &laid_out, current, &result, constant);
            return result;
        }
        let shape = Shape::of(&laid_out, constant);
        let (gs, x, gx) = (Pointer::of(&laid_out), Pointer::of(current), Pointer::of(&result));
        for_blocks(shape.neurons, |begin, end| {
            let mut potentials = vec![0f32; shape.steps * BLOCK];
            // SAFETY: as in the forward pass; the potentials have a block for each timestep.
            unsafe {
                forward_block(x.get(), Out::Potentials(potentials.as_mut_ptr()), shape, begin, end, self);
                backward_block(gs.get(), potentials.as_ptr(), gx.get(), shape, begin, end, self);
            }
        });
        result
    }
}

/// A new tensor `[T, ...]` in the memory layout of a current that [`dense`] gave, time outermost.
fn over_time(current: &Tensor, timesteps: i64, constant: bool) -> Tensor {
    let (mut size, mut stride) = (current.size(), current.stride());
    if constant {
        size.insert(0, timesteps);
        stride.insert(0, current.numel() as i64);
    }
    Tensor::empty_strided(&size, &stride, (Kind::Float, current.device()))
}

/// What the kernels know of a layer.
#[derive(Clone, Copy)]
struct Shape {
    steps: usize,
    neurons: usize,
    /// From the currents of a timestep to those of the next: 0 where they are constant.
    stride: usize,
}

impl Shape {
    fn of(spikes: &Tensor, constant: bool) -> Shape {
        let steps = spikes.size()[0] as usize;
        let neurons = spikes.numel() / steps.max(1);
        Shape { steps, neurons, stride: if constant { 0 } else { neurons } }
    }
}

/// The tensor without gaps in memory and with time outermost (unless it is `constant`); the order
/// of the other axes, which the kernels do not see, stays as it is.
fn dense(current: &Tensor, constant: bool) -> Tensor {
    let (size, stride) = (current.size(), current.stride());
    let mut axes: Vec<usize> = (0..size.len()).filter(|&axis| size[axis] > 1).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(stride[axis]));
    let mut expected = 1;
    let mut whole = true;
    for &axis in axes.iter().rev() {
        whole &= stride[axis] == expected;
        expected *= size[axis];
    }
    let time_first = constant || size[0] == 1 || axes.first() == Some(&0);
    if whole && time_first { current.shallow_clone() } else { current.contiguous() }
}

/// The numbers of a neuron in every lane.
#[derive(Clone, Copy)]
pub(super) struct Neuron<V> {
    pub(super) zero: V,
    pub(super) tau: V,
    pub(super) threshold: V,
    /// [`Dspike::REACH`].
    reach: V,
    one: V,
    /// -2 times the temperature.
    fall: V,
    /// Four times the peak.
    height: V,
}

impl<V: Lanes> Neuron<V> {
    #[inline(always)]
    pub(super) unsafe fn of(neuron: &Lif) -> Neuron<V> {
        let Dspike { temperature } = neuron.surrogate;
        let numbers = [neuron.tau, neuron.threshold, -2.0 * temperature, 4.0 * neuron.surrogate.peak()];
        let [tau, threshold, fall, height] = numbers.map(|value| unsafe { V::splat(value as f32) });
        let [zero, reach, one] = [0.0, Dspike::REACH as f32, 1.0].map(|value| unsafe { V::splat(value) });
        Neuron { zero, tau, threshold, reach, one, fall, height }
    }

    /// What is left of a potential at the next timestep.
    #[inline(always)]
    pub(super) unsafe fn kept(self, potential: V) -> V {
        unsafe { potential.above(self.threshold, self.zero, self.tau.mul(potential)) }
    }

    /// g(t) from dL/ds(t), u(t) and `carried` = tau · g(t+1).
    ///
    /// 1 - tanh²(z) = 4q / (1 + q)² with q = e^(-2|z|)
    #[inline(always)]
    pub(super) unsafe fn backward(self, gradient: V, potential: V, carried: V) -> V {
        unsafe {
            let distance = potential.sub(self.threshold).abs();
            let q = exp_of_negative(self.fall.mul(distance));
            let sum = self.one.add(q);
            let surrogate = self.height.mul(q).div(sum.mul(sum));
            let surrogate = self.reach.above(distance, surrogate, self.zero);
            let passed = potential.above(self.threshold, self.zero, carried);
            gradient.sub(carried.mul(potential)).mul_add(surrogate, passed)
        }
    }
}

/// e^x for x <= 0 to a relative error of about 1e-7.
#[inline(always)]
unsafe fn exp_of_negative<V: Lanes>(x: V) -> V {
    unsafe {
        let scaled = x.max(V::splat(-87.0)).mul(V::splat(std::f32::consts::LOG2_E));
        let whole = scaled.floor();
        let f = scaled.sub(whole).mul(V::splat(std::f32::consts::LN_2));
        let mut series = V::splat(1.0 / 5040.0);
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            series = f.mul_add(series, V::splat(coefficient));
        }
        series.raised(whole)
    }
}

with_lanes!(forward_block, forward_block_narrow, forward_lanes, (
    x: *const f32, out: Out, shape: Shape, begin: usize, end: usize, neuron: &Lif,
));

/// What a forward pass over a block writes.
#[derive(Clone, Copy)]
enum Out {
    /// The layer's spikes.
    Spikes(*mut f32),
    /// Potentials, a row of [`BLOCK`] for each timestep.
    Potentials(*mut f32),
}

/// Runs the neurons of a block.
#[inline(always)]
unsafe fn forward_lanes<V: Lanes>(x: *const f32, out: Out, shape: Shape, begin: usize, end: usize, neuron: &Lif) {
    // SAFETY: the caller's blocks are there, and masks end with them.
    unsafe {
        let neuron = Neuron::<V>::of(neuron);
        let mut membrane = [0f32; BLOCK];
        for step in 0..shape.steps {
            // The block of the next timestep, and after the last the next block.
            let ahead = if step + 1 < shape.steps { shape.stride } else { BLOCK.wrapping_sub(step * shape.stride) };
            for at in (begin..end).step_by(V::COUNT) {
                let (lane, mask) = (at - begin, V::first(end - at));
                let from = x.add(step * shape.stride + at);
                prefetch(from.wrapping_add(ahead));
                let own = membrane.as_mut_ptr().add(lane);
                let u = V::load(own, mask).add(V::load(from, mask));
                match out {
                    Out::Spikes(s) => {
                        let to = s.add(step * shape.neurons + at);
                        prefetch_to_write(to.wrapping_add(ahead));
                        u.above(neuron.threshold, neuron.one, neuron.zero).store(to, mask);
                    }
                    Out::Potentials(potentials) => u.store(potentials.add(step * BLOCK + lane), mask),
                }
                neuron.kept(u).store(own, mask);
            }
        }
    }
}

with_lanes!(backward_block, backward_block_narrow, backward_lanes, (
    gs: *const f32, u: *const f32, gx: *mut f32, shape: Shape, begin: usize, end: usize, neuron: &Lif,
));

/// The gradient to the currents of a block from that to its spikes and its potentials.
#[inline(always)]
unsafe fn backward_lanes<V: Lanes>(
    gs: *const f32,
    u: *const f32,
    gx: *mut f32,
    shape: Shape,
    begin: usize,
    end: usize,
    neuron: &Lif,
) {
    // SAFETY: the caller's blocks are there, and masks end with them.
    unsafe {
        let neuron = Neuron::<V>::of(neuron);
        let constant = shape.stride == 0;
        let mut carried = [0f32; BLOCK];
        for step in (0..shape.steps).rev() {
            let back = |stride: usize| match step {
                0 => (shape.steps - 1) * stride + BLOCK,
                _ => stride.wrapping_neg(),
            };
            let (ahead, to_ahead) = (back(shape.neurons), back(shape.stride));
            for at in (begin..end).step_by(V::COUNT) {
                let (lane, mask) = (at - begin, V::first(end - at));
                let from = gs.add(step * shape.neurons + at);
                prefetch(from.wrapping_add(ahead));
                let gradient = V::load(from, mask);
                let potential = V::load(u.add(step * BLOCK + lane), mask);
                let own = carried.as_mut_ptr().add(lane);
                let value = neuron.backward(gradient, potential, V::load(own, mask));
                let to = gx.add(step * shape.stride + at);
                prefetch_to_write(to.wrapping_add(to_ahead));
                match constant && step + 1 < shape.steps {
                    true => V::load(to, mask).add(value).store(to, mask),
                    false => value.store(to, mask),
                }
                neuron.tau.mul(value).store(own, mask);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;

    /// Op by op through autograd: the spike is a step forward and Dspike backward, by the detach
    /// trick.
    fn reference(neuron: &Lif, current: &Tensor) -> Tensor {
        let b = neuron.surrogate.temperature;
        let half = (b / 2.0).tanh();
        let (mut spikes, mut potential) = (Vec::<Tensor>::new(), None::<Tensor>);
        for step in 0..current.size()[0] {
            let u = match (&potential, spikes.last()) {
                (Some(u), Some(s)) => u * neuron.tau * (1.0 - s) + current.get(step),
                _ => current.get(step),
            };
            let distance = (&u - neuron.threshold).clamp(-0.5, 0.5);
            let smooth = ((distance * b).tanh() + half) / (2.0 * half);
            let hard = u.detach().gt(neuron.threshold).to_kind(u.kind());
            spikes.push(hard - smooth.detach() + smooth);
            potential = Some(u);
        }
        Tensor::stack(&spikes, 0)
    }

    /// Thresholds that the surrogate has to follow; the paper's comes first.
    const THRESHOLDS: [f64; 3] = [0.5, 1.0, 0.3];

    fn compare(kind: Kind, tolerance: f64, threshold: f64) {
        tch::manual_seed(7);
        let neuron = Lif { threshold, ..Lif::default() };
        // 5 * 3 * 701 neurons: several blocks and a remainder.
        let values = Stream::numbered(1).normal(&[4, 5, 3, 701]).to_kind(kind) * 0.7 + threshold - 0.3;
        let weight = Stream::numbered(2).normal(&values.size()).to_kind(kind);
        let (a, b) = (values.copy().set_requires_grad(true), values.copy().set_requires_grad(true));
        let (spikes, want) = (neuron.spikes(&a), reference(&neuron, &b));
        assert!((&spikes - &want).abs().max().double_value(&[]) < 1e-6);
        (spikes * &weight).sum(kind).backward();
        (want * &weight).sum(kind).backward();
        let error = (a.grad() - b.grad()).abs().max().double_value(&[]);
        assert!(error < tolerance, "{kind:?}, threshold {threshold}: largest difference of gradients {error}");
        assert!(b.grad().abs().max().double_value(&[]) > 0.1);
    }

    #[test]
    fn the_kernel_agrees_with_op_by_op_autograd() {
        THRESHOLDS.iter().for_each(|threshold| compare(Kind::Float, 5e-6, *threshold));
    }

    #[test]
    fn the_tensor_operations_agree_with_op_by_op_autograd() {
        THRESHOLDS.iter().for_each(|threshold| compare(Kind::Double, 1e-12, *threshold));
    }

    #[test]
    fn a_constant_current_is_the_same_as_one_repeated() {
        for kind in [Kind::Float, Kind::Double] {
            let neuron = Lif::default();
            let values = Stream::numbered(3).normal(&[2, 1500]).to_kind(kind);
            let weight = Stream::numbered(4).normal(&[3, 2, 1500]).to_kind(kind);
            let (a, b) = (values.copy().set_requires_grad(true), values.copy().set_requires_grad(true));
            let constant = neuron.spikes_of_constant(&a, 3);
            let repeated = neuron.spikes(&b.unsqueeze(0).expand([3, 2, 1500], false));
            assert!(constant.equal(&repeated));
            (constant * &weight).sum(kind).backward();
            (repeated * &weight).sum(kind).backward();
            assert!((a.grad() - b.grad()).abs().max().double_value(&[]) < 1e-5);
        }
    }

    /// A processor without AVX-512 has narrower vectors: the same numbers but for the rounding of
    /// `mul_add`.
    #[test]
    fn narrow_vectors_agree_with_wide_ones() {
        let (neuron, shape) = (Lif::default(), Shape { steps: 3, neurons: 101, stride: 101 });
        let draw = |seed: u64| {
            let mut stream = crate::ground::Stream::open(seed, "lif/narrow", 0);
            Vec::<f32>::try_from(stream.normal(&[303])).unwrap()
        };
        let (x, upstream) = (draw(0), draw(1));
        let run = |narrow: bool| {
            let (mut spikes, mut potentials) = (vec![9f32; 303], vec![0f32; 3 * BLOCK]);
            let mut gradient = vec![0f32; 303];
            // SAFETY: all of them have room for three timesteps of 101 neurons, or three blocks.
            unsafe {
                let (forward, backward) = match narrow {
                    true => (forward_block_narrow as ForwardBlock, backward_block_narrow as BackwardBlock),
                    false => (forward_block as ForwardBlock, backward_block as BackwardBlock),
                };
                forward(x.as_ptr(), Out::Spikes(spikes.as_mut_ptr()), shape, 0, 101, &neuron);
                forward(x.as_ptr(), Out::Potentials(potentials.as_mut_ptr()), shape, 0, 101, &neuron);
                backward(upstream.as_ptr(), potentials.as_ptr(), gradient.as_mut_ptr(), shape, 0, 101, &neuron);
            }
            (spikes, gradient)
        };
        let (wide, narrow) = (run(false), run(true));
        assert_eq!(wide.0, narrow.0);
        assert!(wide.0.contains(&1.0) && wide.0.contains(&0.0));
        let apart = wide.1.iter().zip(&narrow.1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{apart}");
    }

    type ForwardBlock = unsafe fn(*const f32, Out, Shape, usize, usize, &Lif);
    type BackwardBlock = unsafe fn(*const f32, *const f32, *mut f32, Shape, usize, usize, &Lif);

    /// Guards against a surrogate that stays at 0.5: at a threshold of 1 the potentials that decide
    /// about a spike had no gradient.
    #[test]
    fn the_gradient_is_that_of_dspike_around_the_threshold() {
        let (b, reach) = (3.0f64, 0.5);
        let dspike = Dspike { temperature: b };
        let smooth = |distance: f64| 0.5 * (b * distance.clamp(-reach, reach)).tanh() / (b / 2.0).tanh() + 0.5;
        for (threshold, kind) in THRESHOLDS.into_iter().flat_map(|one| [(one, Kind::Float), (one, Kind::Double)]) {
            let neuron = Lif { threshold, surrogate: dspike, ..Lif::default() };
            let distances: Vec<f64> = (-70..=70).map(|step| f64::from(step) / 100.0 + 1e-3).collect();
            let potentials: Vec<f64> = distances.iter().map(|distance| threshold + distance).collect();
            let current = Tensor::from_slice(&potentials).to_kind(kind).unsqueeze(0).set_requires_grad(true);
            neuron.spikes(&current).sum(kind).backward();
            let got = Vec::<f64>::try_from(current.grad().to_kind(Kind::Double).view([-1])).unwrap();
            for (distance, got) in distances.iter().zip(got) {
                const STEP: f64 = 1e-5;
                let want = (smooth(distance + STEP) - smooth(distance - STEP)) / (2.0 * STEP);
                assert!((got - want).abs() < 1e-4, "threshold {threshold}, distance {distance}: {got}, not {want}");
            }
            let centre = Tensor::from_slice(&[threshold]).to_kind(kind).unsqueeze(0).set_requires_grad(true);
            neuron.spikes(&centre).sum(kind).backward();
            assert!((centre.grad().double_value(&[0, 0]) - dspike.peak()).abs() < 1e-6, "threshold {threshold}");
        }
    }

    #[test]
    fn a_spike_needs_more_than_the_threshold_and_resets_to_zero() {
        let current = Tensor::from_slice(&[0.5f32, 0.45, 0.4]).view([3, 1]);
        // u = 0.5 (no spike), 0.1 + 0.45 = 0.55 (spike), 0 + 0.4 (no spike)
        assert_eq!(Vec::<f32>::try_from(Lif::default().spikes(&current).view([-1])).unwrap(), [0.0, 1.0, 0.0]);
    }
}
