//! The leaky integrate-and-fire neuron with the Dspike surrogate gradient, as one autograd node over all timesteps.
//!
//! Forward (paper, Eq. 1; hard reset to 0):
//!
//! ```text
//! u(t) = tau · u(t-1) · (1 - s(t-1)) + x(t)          s(t) = 1 if u(t) > V_th else 0
//! ```
//!
//! Backward, with g(t) = dL/du(t) and the surrogate D(u) in place of ds/du; the gradient passes through the reset:
//!
//! ```text
//! g(t) = (dL/ds(t) - g(t+1) · tau · u(t)) · D(u(t)) + g(t+1) · tau · (1 - s(t))          dL/dx(t) = g(t)
//! ```
//!
//! D is the derivative of Dspike (Li et al., NeurIPS 2021): b / (2 tanh(b/2)) · (1 - tanh²(b (u - 1/2))) for 0 < u < 1, else 0.
//! Only the membrane potential u is kept for the backward pass. On the CPU in f32 the kernels below run; on any other device
//! or type the same node computes by tensor operations.

use tch::{Device, Kind, Tensor};

use super::custom_function;
use super::parallel::{BLOCK, Pointer, for_blocks, simd};

/// The Dspike surrogate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dspike {
    /// Temperature b > 0: larger is closer to a step (paper: 3).
    pub temperature: f64,
}

impl Dspike {
    /// Height of the derivative at its centre: b / (2 tanh(b/2)).
    pub fn peak(self) -> f64 {
        self.temperature / (2.0 * (self.temperature / 2.0).tanh())
    }

    /// The derivative at membrane potential `u`, by tensor operations.
    pub fn derivative(self, u: &Tensor) -> Tensor {
        let tanh = ((u - 0.5) * self.temperature).tanh();
        let inside = u.gt(0.0).logical_and(&u.lt(1.0)).to_kind(u.kind());
        (1.0 - tanh.square()) * self.peak() * inside
    }
}

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

    /// Spikes `[T, ...]` of a current `[...]` that is the same at each of `timesteps`: the direct coding of a static image.
    pub fn spikes_of_constant(&self, current: &Tensor, timesteps: i64) -> Tensor {
        self.run(current, timesteps, true)
    }

    fn run(&self, current: &Tensor, timesteps: i64, constant: bool) -> Tensor {
        let neuron = *self;
        let kernel = current.device() == Device::Cpu && current.kind() == Kind::Float;
        let forward = || {
            let (spikes, potential) = if kernel {
                neuron.forward_kernel(&dense(current, constant), timesteps, constant)
            } else {
                neuron.forward_operations(current, timesteps, constant)
            };
            (vec![spikes], vec![potential])
        };
        let backward = move |gradients: &[Tensor], saved: &[Tensor]| {
            let gradient = if kernel {
                neuron.backward_kernel(&alike(&gradients[0], &saved[0]), &saved[0], constant)
            } else {
                neuron.backward_operations(&gradients[0], &saved[0], constant)
            };
            vec![Some(gradient)]
        };
        custom_function(&[current], forward, backward).pop().expect("one output was given")
    }

    fn forward_kernel(&self, current: &Tensor, timesteps: i64, constant: bool) -> (Tensor, Tensor) {
        let (mut shape, mut stride) = (current.size(), current.stride());
        if constant {
            shape.insert(0, timesteps);
            stride.insert(0, current.numel() as i64);
        }
        let spikes = Tensor::empty_strided(&shape, &stride, (Kind::Float, Device::Cpu));
        let potential = spikes.empty_like();
        let steps = timesteps as usize;
        let neurons = spikes.numel() / steps.max(1);
        let stride = if constant { 0 } else { neurons };
        let (x, s, u) = (Pointer::of(current), Pointer::of(&spikes), Pointer::of(&potential));
        let (tau, threshold) = (self.tau as f32, self.threshold as f32);
        for_blocks(neurons, |begin, end| {
            // SAFETY: x holds `stride * steps` values (or `neurons`), s and u `neurons * steps`; blocks do not overlap.
            unsafe { forward_block(x.get(), s.get(), u.get(), steps, neurons, stride, begin, end, tau, threshold) }
        });
        (spikes, potential)
    }

    fn backward_kernel(&self, gradient: &Tensor, potential: &Tensor, constant: bool) -> Tensor {
        let (shape, stride) = (potential.size(), potential.stride());
        let from = usize::from(constant);
        let result = Tensor::empty_strided(&shape[from..], &stride[from..], (Kind::Float, Device::Cpu));
        let steps = shape[0] as usize;
        let neurons = potential.numel() / steps.max(1);
        let stride = if constant { 0 } else { neurons };
        let (gs, u, gx) = (Pointer::of(gradient), Pointer::of(potential), Pointer::of(&result));
        let slope = Slope::of(self);
        for_blocks(neurons, |begin, end| {
            // SAFETY: as in the forward pass.
            unsafe {
                backward_block(gs.get(), u.get(), gx.get(), steps, neurons, stride, begin, end, slope);
            }
        });
        result
    }

    fn forward_operations(&self, current: &Tensor, timesteps: i64, constant: bool) -> (Tensor, Tensor) {
        let (mut spikes, mut potentials) = (Vec::new(), Vec::<Tensor>::new());
        for step in 0..timesteps {
            let input = if constant { current.shallow_clone() } else { current.get(step) };
            let potential = match (potentials.last(), spikes.last()) {
                (Some(before), Some(spike)) => before * self.tau * (1.0 - spike) + input,
                _ => input,
            };
            spikes.push(potential.gt(self.threshold).to_kind(potential.kind()));
            potentials.push(potential);
        }
        (Tensor::stack(&spikes, 0), Tensor::stack(&potentials, 0))
    }

    fn backward_operations(&self, gradient: &Tensor, potential: &Tensor, constant: bool) -> Tensor {
        let steps = potential.size()[0];
        let mut carried: Option<Tensor> = None;
        let mut results = Vec::new();
        for step in (0..steps).rev() {
            let u = potential.get(step);
            let slope = self.surrogate.derivative(&u);
            let result = match &carried {
                Some(next) => {
                    let next = next * self.tau;
                    let silent = u.le(self.threshold).to_kind(u.kind());
                    (gradient.get(step) - &next * &u) * slope + next * silent
                }
                None => gradient.get(step) * slope,
            };
            carried = Some(result.shallow_clone());
            results.push(result);
        }
        results.reverse();
        let all = Tensor::stack(&results, 0);
        if constant { all.sum_dim_intlist(0, false, None::<Kind>) } else { all }
    }
}

/// The tensor without gaps in memory and with time outermost (unless it is `constant`); the order of the other axes, which the
/// kernels do not see, stays as it is.
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

/// `gradient` in the memory layout of `potential`.
fn alike(gradient: &Tensor, potential: &Tensor) -> Tensor {
    if gradient.stride() == potential.stride() {
        return gradient.shallow_clone();
    }
    let mut copy = potential.empty_like();
    copy.copy_(gradient);
    copy
}

/// The neuron's numbers in f32, for kernels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slope {
    pub(super) tau: f32,
    pub(super) threshold: f32,
    temperature: f32,
    peak: f32,
}

impl Slope {
    pub(super) fn of(neuron: &Lif) -> Slope {
        Slope {
            tau: neuron.tau as f32,
            threshold: neuron.threshold as f32,
            temperature: neuron.surrogate.temperature as f32,
            peak: neuron.surrogate.peak() as f32,
        }
    }

    /// -2 b and four times the peak, the numbers of the derivative below.
    pub(super) fn fall_and_height(self) -> (f32, f32) {
        (-2.0 * self.temperature, self.peak * 4.0)
    }

    /// g(t) from dL/ds(t), u(t) and `carried` = tau · g(t+1).
    #[inline(always)]
    pub(super) fn backward(self, gradient: f32, potential: f32, carried: f32) -> f32 {
        // 1 - tanh²(z) = 4q / (1 + q)² with q = e^(-2|z|)
        let distance = (potential - 0.5).abs();
        let q = exp_of_negative(-2.0 * self.temperature * distance);
        let surrogate = if distance < 0.5 { self.peak * 4.0 * q / ((1.0 + q) * (1.0 + q)) } else { 0.0 };
        (gradient - carried * potential) * surrogate + if potential > self.threshold { 0.0 } else { carried }
    }
}

/// e^x for x <= 0 to a relative error of about 1e-7, in operations that vectorise.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    let scaled = x.max(-87.0) * std::f32::consts::LOG2_E;
    let whole = scaled.floor();
    let f = (scaled - whole) * std::f32::consts::LN_2;
    let series = 1.0 / 120.0 + f * (1.0 / 720.0 + f * (1.0 / 5040.0));
    let fraction = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * series))));
    // SAFETY: `whole` lies in -126..=0.
    let exponent = unsafe { whole.to_int_unchecked::<i32>() };
    fraction * f32::from_bits(((exponent + 127) << 23) as u32)
}

simd! {
    #[allow(clippy::too_many_arguments)]
    unsafe fn forward_block(
        x: *const f32, s: *mut f32, u: *mut f32, steps: usize, neurons: usize, stride: usize, begin: usize, end: usize,
        tau: f32, threshold: f32,
    ) {
        let length = end - begin;
        let mut membrane = [0f32; BLOCK];
        let membrane = &mut membrane[..length];
        for step in 0..steps {
            let x = std::slice::from_raw_parts(x.add(step * stride + begin), length);
            let s = std::slice::from_raw_parts_mut(s.add(step * neurons + begin), length);
            let u = std::slice::from_raw_parts_mut(u.add(step * neurons + begin), length);
            for i in 0..length {
                let value = membrane[i] + x[i];
                let fired = value > threshold;
                u[i] = value;
                s[i] = if fired { 1.0 } else { 0.0 };
                membrane[i] = if fired { 0.0 } else { tau * value };
            }
        }
    }
}

simd! {
    #[allow(clippy::too_many_arguments)]
    unsafe fn backward_block(
        gs: *const f32, u: *const f32, gx: *mut f32, steps: usize, neurons: usize, stride: usize, begin: usize, end: usize,
        slope: Slope,
    ) {
        let length = end - begin;
        let mut carried = [0f32; BLOCK];
        let carried = &mut carried[..length];
        for step in (0..steps).rev() {
            let gs = std::slice::from_raw_parts(gs.add(step * neurons + begin), length);
            let u = std::slice::from_raw_parts(u.add(step * neurons + begin), length);
            let gx = std::slice::from_raw_parts_mut(gx.add(step * stride + begin), length);
            let first = stride > 0 || step + 1 == steps;
            for i in 0..length {
                let value = slope.backward(gs[i], u[i], carried[i]);
                gx[i] = if first { value } else { gx[i] + value };
                carried[i] = value * slope.tau;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Op by op through autograd: the spike is a step forward and Dspike backward, by the detach trick.
    fn reference(neuron: &Lif, current: &Tensor) -> Tensor {
        let b = neuron.surrogate.temperature;
        let half = (b / 2.0).tanh();
        let (mut spikes, mut potential) = (Vec::<Tensor>::new(), None::<Tensor>);
        for step in 0..current.size()[0] {
            let u = match (&potential, spikes.last()) {
                (Some(u), Some(s)) => u * neuron.tau * (1.0 - s) + current.get(step),
                _ => current.get(step),
            };
            let smooth = (((u.clamp(0.0, 1.0) - 0.5) * b).tanh() + half) / (2.0 * half);
            let hard = u.detach().gt(neuron.threshold).to_kind(u.kind());
            spikes.push(hard - smooth.detach() + smooth);
            potential = Some(u);
        }
        Tensor::stack(&spikes, 0)
    }

    fn compare(kind: Kind, tolerance: f64) {
        tch::manual_seed(7);
        let neuron = Lif::default();
        // 5 * 3 * 701 neurons: several blocks and a remainder.
        let values = Tensor::randn([4, 5, 3, 701], (kind, Device::Cpu)) * 0.7 + 0.2;
        let weight = values.randn_like();
        let (a, b) = (values.copy().set_requires_grad(true), values.copy().set_requires_grad(true));
        let (spikes, want) = (neuron.spikes(&a), reference(&neuron, &b));
        assert!((&spikes - &want).abs().max().double_value(&[]) < 1e-6);
        (spikes * &weight).sum(kind).backward();
        (want * &weight).sum(kind).backward();
        let error = (a.grad() - b.grad()).abs().max().double_value(&[]);
        assert!(error < tolerance, "{kind:?}: largest difference of gradients {error}");
        assert!(b.grad().abs().max().double_value(&[]) > 0.1);
    }

    #[test]
    fn the_kernel_agrees_with_op_by_op_autograd() {
        compare(Kind::Float, 5e-6);
    }

    #[test]
    fn the_tensor_operations_agree_with_op_by_op_autograd() {
        compare(Kind::Double, 1e-12);
    }

    #[test]
    fn a_constant_current_is_the_same_as_one_repeated() {
        for kind in [Kind::Float, Kind::Double] {
            let neuron = Lif::default();
            let values = Tensor::randn([2, 1500], (kind, Device::Cpu));
            let weight = Tensor::randn([3, 2, 1500], (kind, Device::Cpu));
            let (a, b) = (values.copy().set_requires_grad(true), values.copy().set_requires_grad(true));
            let constant = neuron.spikes_of_constant(&a, 3);
            let repeated = neuron.spikes(&b.unsqueeze(0).expand([3, 2, 1500], false));
            assert!(constant.equal(&repeated));
            (constant * &weight).sum(kind).backward();
            (repeated * &weight).sum(kind).backward();
            assert!((a.grad() - b.grad()).abs().max().double_value(&[]) < 1e-5);
        }
    }

    #[test]
    fn dspike_has_the_published_peak_and_edge() {
        let dspike = Dspike { temperature: 3.0 };
        let at = |u: f64| dspike.derivative(&Tensor::from(u)).double_value(&[]);
        assert!((dspike.peak() - 1.6572).abs() < 5e-5);
        assert!((at(0.5) - 1.6572).abs() < 5e-5);
        assert!((at(1e-9) - 0.2995).abs() < 5e-5);
        assert_eq!((at(0.0), at(1.0), at(-0.1), at(1.1)), (0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn a_spike_needs_more_than_the_threshold_and_resets_to_zero() {
        let current = Tensor::from_slice(&[0.5f32, 0.45, 0.4]).view([3, 1]);
        // u = 0.5 (no spike), 0.1 + 0.45 = 0.55 (spike), 0 + 0.4 (no spike)
        assert_eq!(Vec::<f32>::try_from(Lif::default().spikes(&current).view([-1])).unwrap(), [0.0, 1.0, 0.0]);
    }
}
