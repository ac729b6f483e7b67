//! A layer of neurons with everything that drives it, as one autograd node: batch normalisation of the currents, neurons on
//! candidate operations, their weighted sum, the layer's own neurons.
//!
//! ```text
//! y_k(t) = gamma_k · (x_k(t) - mean_k) / sqrt(var_k + eps) + beta_k          a part of the channels of a convolution
//! I(t)   = sum over k of  scale_k · y_k(t)                                    a current
//!                      or scale_k · LIF(y_k)(t)                               a candidate with neurons of its own
//!                      or scale_k · s_k(t)                                    spikes themselves
//! s      = LIF(I)
//! ```
//!
//! Written op by op, each of these steps reads and writes maps as large as the convolution's. Here the outputs x of the
//! convolutions are all that is kept: the forward pass reads them once for the statistics and once for the spikes, the backward
//! pass recomputes every potential in registers. Maps are channels-last, so that a vector holds neighbouring channels with their
//! own mean and scale; libtorch's convolutions are faster in that layout, too.
//!
//! On a device other than the CPU, or in another type than f32, the same function is made of tensor operations.

mod kernel;

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use tch::{Device, Kind, Tensor};

use self::kernel::{Drive, Frame, Source, TILE, backward_rows, combine_rows, forward_rows, sum_rows};
use super::custom_function;
use super::layer::{BatchNorm, firing_rate, fold_time, unfold_time};
use super::lif::Lif;
use super::parallel::{Pointer, for_parts, parts};

/// Normalised currents from one convolution, `[T·B, C, H, W]`; `readers` parts of whose channels drive nodes.
pub struct Currents {
    form: Form,
    /// `[C]`
    gamma: Tensor,
    beta: Tensor,
    /// `[T·B, C, H, W]`: of the convolution for the kernels, what is handed to the nodes for tensor operations.
    x: Tensor,
}

enum Form {
    Kernel(Arc<Group>),
    Operations,
}

/// What the kernels know of a convolution's output.
struct Group {
    /// `[C]`
    gamma: Vec<f32>,
    beta: Vec<f32>,
    /// `[S, C]` with S = T, or 1 where all timesteps are alike.
    mean: Vec<f32>,
    /// 1 / sqrt(var + eps), `[S, C]`.
    inverse: Vec<f32>,
    statistics: Vec<usize>,
    /// Timesteps that x holds: T, or 1 for all of them.
    maps: usize,
    channels: usize,
    training: bool,
    /// A LIF layer on the normalised currents.
    spiking: bool,
    /// Nodes that read a part.
    readers: usize,
    pending: Mutex<Pending>,
}

/// The gradient of a group while its readers run backward one after another; the last hands it on.
#[derive(Default)]
struct Pending {
    done: usize,
    /// Of the normalised currents, then of x: `[T·B, C, H, W]`.
    gradient: Option<Tensor>,
    /// Sums of it over the rows of a timestep, and of it times (x - mean): `[T, C]`.
    sums: Vec<f64>,
    products: Vec<f64>,
    /// The scale of each channel where it multiplies currents, else 1: `[C]`.
    scales: Vec<f32>,
}

/// What drives a node.
pub enum Term {
    /// Channels of currents, times `alpha[scale]`.
    Part {
        /// The currents.
        of: Rc<Currents>,
        /// The first of the channels.
        first: i64,
        /// Index into alpha.
        scale: Option<i64>,
    },
    /// Spikes of another node, times `alpha[scale]`.
    Spikes {
        /// `[T·B, C, H, W]`
        spikes: Tensor,
        /// Index into alpha.
        scale: Option<i64>,
    },
}

/// Maps `[N, C, H, W]` with the channels last in memory; on a device other than the CPU as they are.
pub fn channels_last(x: &Tensor) -> Tensor {
    if x.device() != Device::Cpu {
        return x.shallow_clone();
    }
    let (_, channels, height, width) = x.size4().expect("maps are [N, C, H, W]");
    if x.stride() == [height * width * channels, 1, width * channels, channels] {
        return x.shallow_clone();
    }
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Maps `[N, C, H, W]` of the same form side by side: `[N, sum of C, H, W]`, in one pass over them where they are channels-last.
/// Gradients are the parts of the whole one, which stay where they are.
pub fn side_by_side(maps: &[Tensor]) -> Tensor {
    let last = |map: &Tensor| {
        map.device() == Device::Cpu && map.kind() == Kind::Float && channels_last(map).data_ptr() == map.data_ptr()
    };
    if !maps.iter().all(last) {
        return Tensor::cat(maps, 1);
    }
    let widths: Vec<usize> = maps.iter().map(|map| map.size()[1] as usize).collect();
    let whole: usize = widths.iter().sum();
    let forward = || {
        let mut shape = maps[0].size();
        shape[1] = whole as i64;
        let together = empty_channels_last(&shape);
        let to = Pointer::of(&together);
        let from: Vec<(Pointer, usize)> = maps.iter().map(Pointer::of).zip(widths.iter().copied()).collect();
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
        (vec![together], vec![])
    };
    let parts = widths.clone();
    let backward = move |gradients: &[Tensor], _: &[Tensor]| {
        let mut first = 0;
        let part = |width: &usize| {
            let part = gradients[0].narrow(1, first, *width as i64);
            first += *width as i64;
            Some(part)
        };
        parts.iter().map(part).collect()
    };
    let references: Vec<&Tensor> = maps.iter().collect();
    custom_function(&references, forward, backward).pop().expect("one output was given")
}

/// Maps `[B, C, H, W]` of one timestep as those `[T·B, C, H, W]` of all.
pub fn repeat(x: &Tensor, timesteps: i64) -> Tensor {
    channels_last(&fold_time(&x.unsqueeze(0).expand([timesteps, -1, -1, -1, -1], false)))
}

/// New maps with the channels last in memory.
pub(super) fn empty_channels_last(shape: &[i64]) -> Tensor {
    let permuted = [shape[0], shape[2], shape[3], shape[1]];
    Tensor::empty(permuted, (Kind::Float, Device::Cpu)).permute([0, 3, 1, 2])
}

impl Currents {
    /// Normalises the output `[T·B, C, H, W]` of a convolution, `readers` parts of which drive nodes. With `candidate`, a layer of
    /// such neurons follows. The gradient arrives once all readers have one: each of them has to lead to the loss, or none.
    ///
    /// With `constant`, x is `[B, C, H, W]`: the same at every timestep, convolved once.
    pub fn new(
        x: &Tensor,
        norm: &BatchNorm,
        timesteps: i64,
        constant: bool,
        training: bool,
        candidate: Option<&Lif>,
        readers: usize,
    ) -> Currents {
        if x.device() != Device::Cpu || x.kind() != Kind::Float || x.dim() != 4 {
            let x = if constant { repeat(x, timesteps) } else { x.shallow_clone() };
            let mut handed = norm.forward(&x, None, timesteps, training);
            if let Some(neuron) = candidate {
                handed = fold_time(&neuron.spikes(&unfold_time(&handed, timesteps)));
            }
            return Currents::of(Form::Operations, handed, norm);
        }
        let x = channels_last(x);
        let channels = x.size()[1] as usize;
        let timesteps = timesteps as usize;
        let maps = if constant { 1 } else { timesteps };
        let (mut mean, mut variance) = match training {
            true => {
                let moments = moments(&x.detach(), maps).repeated(timesteps / maps);
                norm.observe(&moments, timesteps, x.numel() / maps / channels)
            }
            false => norm.running(),
        };
        if constant {
            mean.truncate(channels);
            variance.truncate(channels);
        }
        let inverse = variance.iter().map(|variance| 1.0 / (variance + BatchNorm::EPSILON as f32).sqrt()).collect();
        let rows = mean.len() / channels;
        let group = Group {
            gamma: values(norm.gamma()).to_vec(),
            beta: values(norm.beta()).to_vec(),
            mean,
            inverse,
            statistics: (0..timesteps).map(|step| if rows == 1 { 0 } else { step }).collect(),
            maps,
            channels,
            training,
            spiking: candidate.is_some(),
            readers,
            pending: Mutex::default(),
        };
        Currents::of(Form::Kernel(Arc::new(group)), x, norm)
    }

    fn of(form: Form, x: Tensor, norm: &BatchNorm) -> Currents {
        Currents { form, gamma: norm.gamma().shallow_clone(), beta: norm.beta().shallow_clone(), x }
    }
}

/// Spikes `[T·B, width, H, W]` of the node that `terms` drive, and their rate `[T]` if `measure`; `alpha` holds the scales.
pub fn node(
    neuron: &Lif,
    terms: &[Term],
    width: i64,
    alpha: Option<&Tensor>,
    timesteps: i64,
    measure: bool,
) -> (Tensor, Option<Tensor>) {
    let kernel = terms.iter().all(|term| match term {
        Term::Part { of, .. } => matches!(of.form, Form::Kernel(_)),
        Term::Spikes { spikes, .. } => spikes.device() == Device::Cpu && spikes.kind() == Kind::Float,
    });
    if kernel {
        return fused(neuron, terms, width, alpha, timesteps, measure);
    }
    let scaled = |value: Tensor, scale: Option<i64>| match (alpha, scale) {
        (Some(alpha), Some(index)) => value * alpha.get(index),
        _ => value,
    };
    let current = terms.iter().map(|term| match term {
        Term::Part { of, first, scale } => scaled(of.x.narrow(1, *first, width), *scale),
        Term::Spikes { spikes, scale } => scaled(spikes.shallow_clone(), *scale),
    });
    let current = current.reduce(|sum, next| sum + next).expect("a node has a term");
    let spikes = neuron.spikes(&unfold_time(&current, timesteps));
    let rate = measure.then(|| firing_rate(&spikes));
    (fold_time(&spikes), rate)
}

/// Where the gradient of a term goes.
#[derive(Clone)]
enum Target {
    /// The channels from here on of a group.
    Group(Arc<Group>, usize),
    /// A tensor of its own.
    Spikes,
}

/// factor, shift and mean of a term, each `[T, width]`.
type Coefficients = [Vec<f32>; 3];

impl Group {
    fn coefficients(&self, first: usize, width: usize, scale: f32) -> Coefficients {
        let mut all = [(); 3].map(|()| Vec::with_capacity(self.statistics.len() * width));
        for row in &self.statistics {
            for channel in first..first + width {
                let (mean, inverse) =
                    (self.mean[row * self.channels + channel], self.inverse[row * self.channels + channel]);
                let factor = self.gamma[channel] * inverse;
                all[0].push(factor * scale);
                all[1].push((self.beta[channel] - mean * factor) * scale);
                all[2].push(mean);
            }
        }
        all
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The gradients to x, gamma and beta, once all parts have arrived.
    fn finish(&self, x: &Tensor, pending: Pending) -> [Tensor; 3] {
        let gradient = pending.gradient.expect("a reader has made it");
        let (steps, channels) = (self.maps, self.channels);
        let rows = x.numel() / steps / channels;
        let all_alike = self.mean.len() == channels;
        // Sums over what the statistics are taken over: `[S, C]`.
        let shared = |sums: &[f64], step: usize, channel: usize| match all_alike {
            true => (0..steps).map(|step| sums[step * channels + channel]).sum::<f64>(),
            false => sums[step * channels + channel],
        };
        let count = (if all_alike { rows * steps } else { rows }) as f64;
        let mut factors = [(); 3].map(|()| vec![0f32; steps * channels]);
        let (mut to_gamma, mut to_beta) = (vec![0f64; channels], vec![0f64; channels]);
        for (step, row) in self.statistics.iter().take(steps).enumerate() {
            for channel in 0..channels {
                let (mean, inverse) = (self.mean[row * channels + channel], self.inverse[row * channels + channel]);
                let scale = f64::from(pending.scales[channel]);
                let at = step * channels + channel;
                to_gamma[channel] += scale * pending.products[at] * f64::from(inverse);
                to_beta[channel] += scale * pending.sums[at];
                let factor = f64::from(self.gamma[channel]) * scale * f64::from(inverse);
                factors[0][at] = factor as f32;
                if self.training {
                    let sum = shared(&pending.sums, step, channel) / count;
                    let slope = shared(&pending.products, step, channel) / count * f64::from(inverse * inverse);
                    factors[1][at] = (-factor * slope) as f32;
                    factors[2][at] = (factor * (slope * f64::from(mean) - sum)) as f32;
                }
            }
        }
        let (g, x) = (Pointer::of(&gradient), Pointer::of(x));
        for_parts(steps * rows, |_, begin, end| {
            for step in begin / rows..=(end.max(1) - 1) / rows {
                let first = begin.max(step * rows);
                let last = end.min((step + 1) * rows);
                let [a, p, q] = [0, 1, 2].map(|which: usize| factors[which][step * channels..].as_ptr());
                // SAFETY: rows of this part alone, `channels` values each.
                unsafe { combine_rows(g.get(), x.get(), first, last, channels, a, p, q) };
            }
        });
        let vector = |values: &[f64]| Tensor::from_slice(&values.iter().map(|&value| value as f32).collect::<Vec<_>>());
        [gradient, vector(&to_gamma), vector(&to_beta)]
    }
}

fn values(tensor: &Tensor) -> &[f32] {
    // SAFETY: a contiguous f32 tensor on the CPU, which outlives the slice's use.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<f32>(), tensor.numel()) }
}

/// Sum and sum of squares around a shift of every channel at every timestep, as mean and variance (biased), each `[T, C]`.
pub(super) struct Moments {
    pub(super) mean: Vec<f64>,
    pub(super) variance: Vec<f64>,
}

impl Moments {
    /// Those of the same maps once more and more.
    fn repeated(self, times: usize) -> Moments {
        Moments { mean: self.mean.repeat(times), variance: self.variance.repeat(times) }
    }
}

fn moments(x: &Tensor, steps: usize) -> Moments {
    let channels = x.size()[1] as usize;
    let rows = x.numel() / steps / channels;
    let x = Pointer::of(x);
    // SAFETY: the first row of a timestep is there.
    let shift = |step: usize| unsafe { std::slice::from_raw_parts(x.get().add(step * rows * channels), channels) };
    let width = 2 * steps * channels;
    let mut sums = vec![0f64; parts() * width];
    let slots = Pointer::to(&mut sums);
    for_parts(rows, |part, begin, end| {
        // SAFETY: each part has a slot of its own, and reads rows that are there.
        let own = unsafe { std::slice::from_raw_parts_mut(slots.get().cast::<f64>().add(part * width), width) };
        let mut block = vec![0f32; 2 * channels];
        for step in 0..steps {
            for tile in (begin..end).step_by(TILE) {
                let rows = step * rows + tile..step * rows + (tile + TILE).min(end);
                block.fill(0.0);
                unsafe { sum_rows(x.get(), rows.start, rows.end, channels, shift(step).as_ptr(), block.as_mut_ptr()) };
                let own = &mut own[2 * step * channels..2 * (step + 1) * channels];
                own.iter_mut().zip(&block).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
    });
    let (mut mean, mut variance) = (Vec::with_capacity(width / 2), Vec::with_capacity(width / 2));
    for step in 0..steps {
        for channel in 0..channels {
            let of = |which: usize| -> f64 {
                let at = (2 * step + which) * channels + channel;
                (0..parts()).map(|part| sums[part * width + at]).sum::<f64>() / rows as f64
            };
            let (first, second) = (of(0), of(1));
            mean.push(first + f64::from(shift(step)[channel]));
            variance.push((second - first * first).max(0.0));
        }
    }
    Moments { mean, variance }
}

fn fused(
    neuron: &Lif,
    terms: &[Term],
    width: i64,
    alpha: Option<&Tensor>,
    timesteps: i64,
    measure: bool,
) -> (Tensor, Option<Tensor>) {
    let steps = timesteps as usize;
    let scales = alpha.map(|alpha| Vec::<f32>::try_from(alpha.detach()).expect("scales are f32"));
    let scale_of = |scale: Option<i64>| match (&scales, scale) {
        (Some(scales), Some(index)) => scales[index as usize],
        _ => 1.0,
    };
    let mut inputs: Vec<Tensor> = Vec::new();
    let mut targets: Vec<Target> = Vec::new();
    let mut coefficients: Vec<Coefficients> = Vec::new();
    let mut term_scales: Vec<(Option<i64>, f32)> = Vec::new();
    for term in terms {
        match term {
            Term::Part { of, first, scale } => {
                let Form::Kernel(group) = &of.form else { unreachable!("`node` has looked") };
                let value = scale_of(*scale);
                // Currents are scaled by what normalises them, spikes after it.
                let folded = if group.spiking { 1.0 } else { value };
                coefficients.push(group.coefficients(*first as usize, width as usize, folded));
                inputs.extend([&of.x, &of.gamma, &of.beta].map(Tensor::shallow_clone));
                targets.push(Target::Group(group.clone(), *first as usize));
                term_scales.push((*scale, value));
            }
            Term::Spikes { spikes, scale } => {
                coefficients.push(Default::default());
                inputs.push(channels_last(spikes));
                targets.push(Target::Spikes);
                term_scales.push((*scale, scale_of(*scale)));
            }
        }
    }
    let scale_count = scales.as_ref().map_or(0, Vec::len);
    inputs.extend(alpha.map(Tensor::shallow_clone));
    let work =
        Work { neuron: *neuron, steps, width: width as usize, targets, coefficients, scales: term_scales, scale_count };
    let mut shape = inputs[0].size();
    shape[1] = width;
    if let Target::Group(group, _) = &work.targets[0] {
        shape[0] *= timesteps / group.maps as i64;
    }
    let spikes = tch::no_grad(|| empty_channels_last(&shape));
    let kept: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
    let counts = work.forward(&kept, &spikes);
    let rate = measure.then(|| {
        let neurons = spikes.numel() as f64 / steps as f64;
        Tensor::from_slice(&counts.iter().map(|count| (count / neurons) as f32).collect::<Vec<_>>())
    });
    let references: Vec<&Tensor> = inputs.iter().collect();
    let backward = move |gradients: &[Tensor], saved: &[Tensor]| work.backward(&gradients[0], saved);
    let spikes = custom_function(&references, || (vec![spikes], kept), backward).pop().expect("one output was given");
    (spikes, rate)
}

/// What a node's passes need beside its inputs.
struct Work {
    neuron: Lif,
    steps: usize,
    width: usize,
    targets: Vec<Target>,
    coefficients: Vec<Coefficients>,
    /// Index into alpha, and value, of each term.
    scales: Vec<(Option<i64>, f32)>,
    /// Length of alpha; 0 without it.
    scale_count: usize,
}

impl Work {
    /// The first of `inputs` of each term.
    fn currents<'a>(&self, inputs: &'a [Tensor]) -> Vec<&'a Tensor> {
        let mut next = 0;
        let step = |target: &Target| match target {
            Target::Group(..) => 3,
            Target::Spikes => 1,
        };
        self.targets
            .iter()
            .map(|target| {
                let tensor = &inputs[next];
                next += step(target);
                tensor
            })
            .collect()
    }

    fn sources(&self, currents: &[&Tensor], gradients: &[Option<Tensor>], rows: usize) -> Vec<Source> {
        let one = |(index, target): (usize, &Target)| {
            let (stride, first, advance, kind) = match target {
                Target::Group(group, first) => {
                    let kind = if group.spiking { Drive::Candidate } else { Drive::Current };
                    (group.channels, *first, if group.maps == self.steps { rows } else { 0 }, kind)
                }
                Target::Spikes => (self.width, 0, rows, Drive::Spikes),
            };
            // SAFETY: `first` lies within a row.
            let at = |tensor: &Tensor| Pointer(unsafe { Pointer::of(tensor).get().add(first) });
            let [factor, shift, mean] = &self.coefficients[index];
            Source {
                x: at(currents[index]),
                gradient: gradients.get(index).and_then(Option::as_ref).map_or(Pointer(std::ptr::null_mut()), at),
                stride,
                advance,
                kind,
                scale: self.scales[index].1,
                factor: factor.as_ptr(),
                shift: shift.as_ptr(),
                mean: mean.as_ptr(),
            }
        };
        self.targets.iter().enumerate().map(one).collect()
    }

    /// Fills `spikes` and returns their number at each timestep.
    fn forward(&self, inputs: &[Tensor], spikes: &Tensor) -> Vec<f64> {
        let rows = spikes.numel() / self.steps / self.width;
        let sources = self.sources(&self.currents(inputs), &[], rows);
        let out = Pointer::of(spikes);
        let mut counts = vec![0f64; parts() * self.steps];
        let slots = Pointer::to(&mut counts);
        let frame = Frame { steps: self.steps, rows, width: self.width, neuron: self.neuron };
        for_parts(rows, |part, begin, end| {
            // SAFETY: a slot of counts for each part, rows of this part alone.
            unsafe {
                let own = std::slice::from_raw_parts_mut(slots.get().cast::<f64>().add(part * self.steps), self.steps);
                forward_rows(&sources, &frame, begin, end, out.get(), own);
            }
        });
        (0..self.steps).map(|step| (0..parts()).map(|part| counts[part * self.steps + step]).sum()).collect()
    }

    fn backward(&self, gradient: &Tensor, inputs: &[Tensor]) -> Vec<Option<Tensor>> {
        let currents = self.currents(inputs);
        let (gradient, stride) = rows_of(gradient);
        let targets: Vec<Option<Tensor>> = self
            .targets
            .iter()
            .zip(&currents)
            .map(|(target, current)| {
                Some(match target {
                    Target::Group(group, _) => {
                        let mut pending = group.pending();
                        pending.gradient.get_or_insert_with(|| empty_channels_last(&current.size())).shallow_clone()
                    }
                    Target::Spikes => empty_channels_last(&current.size()),
                })
            })
            .collect();
        let (steps, width) = (self.steps, self.width);
        let rows = gradient.numel() / steps / width;
        let sources = self.sources(&currents, &targets, rows);
        let upstream = Pointer::of(&gradient);
        // For each term: sums, products `[T, width]`, and the gradient to its scale.
        let slot = sources.len() * (2 * steps * width + 1);
        let mut sums = vec![0f64; parts() * slot];
        let slots = Pointer::to(&mut sums);
        let frame = Frame { steps, rows, width, neuron: self.neuron };
        for_parts(rows, |part, begin, end| {
            // SAFETY: a slot of sums for each part, rows of this part alone.
            unsafe {
                let own = std::slice::from_raw_parts_mut(slots.get().cast::<f64>().add(part * slot), slot);
                backward_rows(&sources, &frame, begin, end, upstream.get(), stride, own);
            }
        });
        let total = |at: usize| (0..parts()).map(|part| sums[part * slot + at]).sum::<f64>();
        self.hand_on(&currents, targets, &total)
    }

    /// The gradients of all inputs; `total` sums what the parts have found.
    fn hand_on(
        &self,
        currents: &[&Tensor],
        targets: Vec<Option<Tensor>>,
        total: &dyn Fn(usize) -> f64,
    ) -> Vec<Option<Tensor>> {
        let (steps, width) = (self.steps, self.width);
        let mut to_alpha = vec![0f32; self.scale_count];
        let mut results = Vec::new();
        for (index, (target, own)) in self.targets.iter().zip(targets).enumerate() {
            let at = index * (2 * steps * width + 1);
            let (scale, value) = self.scales[index];
            let mut to_scale = total(at + 2 * steps * width);
            match target {
                Target::Group(group, first) => {
                    let channels = group.channels;
                    let mut pending = group.pending();
                    if pending.sums.is_empty() {
                        pending.sums = vec![0.0; group.maps * channels];
                        pending.products = vec![0.0; group.maps * channels];
                        pending.scales = vec![1.0; channels];
                    }
                    for step in 0..group.maps {
                        for lane in 0..width {
                            let channel = first + lane;
                            let (sum, product) =
                                (total(at + step * width + lane), total(at + (steps + step) * width + lane));
                            pending.sums[step * channels + channel] = sum;
                            pending.products[step * channels + channel] = product;
                            if !group.spiking {
                                let inverse = group.inverse[group.statistics[step] * channels + channel];
                                to_scale += f64::from(group.gamma[channel] * inverse) * product
                                    + f64::from(group.beta[channel]) * sum;
                            }
                        }
                    }
                    if !group.spiking {
                        pending.scales[*first..first + width].fill(value);
                    }
                    pending.done += 1;
                    if pending.done == group.readers {
                        let whole = std::mem::take(&mut *pending);
                        drop(pending);
                        results.extend(group.finish(currents[index], whole).map(Some));
                    } else {
                        results.extend([None, None, None]);
                    }
                }
                Target::Spikes => results.push(own),
            }
            if let Some(scale) = scale.filter(|_| self.scale_count > 0) {
                to_alpha[scale as usize] += to_scale as f32;
            }
        }
        if self.scale_count > 0 {
            results.push(Some(Tensor::from_slice(&to_alpha)));
        }
        results
    }
}

/// The gradient `[N, C, H, W]` as rows of channels, and how far apart they are: a part of a larger map stays where it is.
fn rows_of(gradient: &Tensor) -> (Tensor, usize) {
    let (_, channels, height, width) = gradient.size4().expect("maps are [N, C, H, W]");
    let stride = gradient.stride();
    let row = stride[3];
    if row >= channels && stride == [height * width * row, 1, width * row, row] {
        return (gradient.shallow_clone(), row as usize);
    }
    (channels_last(gradient), channels as usize)
}

#[cfg(test)]
mod tests {
    use super::super::layer::Statistics;
    use super::*;
    use crate::plugin::{Build, Parameters};
    use crate::random::Stream;

    const STEPS: i64 = 3;
    const WIDTH: i64 = 13;

    struct Case {
        /// One of the two convolutions has the same maps at every timestep.
        constant: bool,
        statistics: Statistics,
        spiking: bool,
        training: bool,
        scaled: bool,
    }

    struct Made {
        spikes: Tensor,
        rate: Tensor,
        gradients: Vec<Tensor>,
        running: Vec<Tensor>,
    }

    /// Two nodes; the first reads two parts of one convolution and one of another, the second what is left and the first.
    fn run(case: &Case, fused: bool) -> Made {
        // Not libtorch's own generator, which tests that run beside this one draw from.
        let mut stream = Stream::open(3, "node", 0);
        let neuron = Lif::default();
        let mut random = |channels: i64| channels_last(&(stream.normal(&[STEPS * 2, channels, 5, 4]) * 0.6 + 0.3));
        let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
        let (a, b) = (leaf(random(3 * WIDTH)), random(2 * WIDTH));
        let b = leaf(channels_last(&b.narrow(0, 0, if case.constant { 2 } else { STEPS * 2 }).contiguous()));
        let upstream = random(2 * WIDTH);
        let alpha = leaf(stream.uniform(&[6], 0.2, 1.2));
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let norms = [(3 * WIDTH, "a"), (2 * WIDTH, "b")]
            .map(|(channels, name)| BatchNorm::new(channels, case.statistics, &mut build.at(name)));
        tch::no_grad(|| {
            for parameter in parameters.trainable() {
                parameter.tensor.shallow_clone().copy_(&stream.uniform(&parameter.tensor.size(), 0.3, 1.3));
            }
            parameters.buffers().iter().for_each(|(_, buffer)| drop(buffer.shallow_clone().fill_(0.4)));
        });
        let given = case.scaled.then_some(&alpha);
        let scale = |index: i64| case.scaled.then_some(index);
        let candidate = case.spiking.then_some(&neuron);
        let currents = |x: &Tensor, norm: &BatchNorm, readers| {
            let constant = x.size()[0] == 2;
            if fused {
                return Currents::new(x, norm, STEPS, constant, case.training, candidate, readers);
            }
            let x = &if constant { repeat(x, STEPS) } else { x.shallow_clone() };
            let mut handed = norm.forward(x, None, STEPS, case.training);
            if case.spiking {
                handed = fold_time(&neuron.spikes(&unfold_time(&handed, STEPS)));
            }
            Currents::of(Form::Operations, handed, norm)
        };
        let (ca, cb) = (Rc::new(currents(&a, &norms[0], 3)), Rc::new(currents(&b, &norms[1], 2)));
        let part = |of: &Rc<Currents>, part: i64, index| Term::Part {
            of: of.clone(),
            first: part * WIDTH,
            scale: scale(index),
        };
        let terms = [part(&ca, 0, 0), part(&ca, 1, 1), part(&cb, 1, 2)];
        let (first, rate) = node(&neuron, &terms, WIDTH, given, STEPS, true);
        let skip = Term::Spikes { spikes: first.shallow_clone(), scale: scale(3) };
        let terms = [part(&cb, 0, 4), skip, part(&ca, 2, 5)];
        let (second, _) = node(&neuron, &terms, WIDTH, given, STEPS, false);
        let spikes = Tensor::cat(&[first, second], 1);
        (&spikes * upstream).sum(Kind::Float).backward();
        let mut gradients = vec![a.grad(), b.grad()];
        if case.scaled {
            gradients.push(alpha.grad());
        }
        gradients.extend(parameters.trainable().iter().map(|parameter| parameter.tensor.grad()));
        let running = parameters.buffers().iter().map(|(_, buffer)| buffer.copy()).collect();
        Made { spikes, rate: rate.unwrap(), gradients, running }
    }

    fn close(got: &Tensor, want: &Tensor, what: &str) {
        assert_eq!(got.size(), want.size(), "{what}");
        let scale = want.abs().max().double_value(&[]);
        let error = (got - want).abs().max().double_value(&[]);
        assert!(scale > 0.0 && error < 2e-5 * scale.max(1.0), "{what}: {error}, largest value {scale}");
    }

    #[test]
    fn the_kernel_agrees_with_op_by_op_autograd_in_every_form() {
        for statistics in [Statistics::AllTimesteps, Statistics::EachTimestep] {
            for (constant, spiking, training, scaled) in [
                (false, true, true, true),
                (false, false, true, true),
                (false, false, true, false),
                (false, true, false, true),
                (false, false, false, false),
                (true, true, true, true),
                (true, false, true, true),
                (true, false, false, false),
            ] {
                let case = Case { constant, statistics, spiking, training, scaled };
                let what = format!(
                    "{statistics:?}, constant {constant}, candidates {spiking}, training {training}, alpha {scaled}"
                );
                let (got, want) = (run(&case, true), run(&case, false));
                assert!(got.spikes.equal(&want.spikes), "{what}");
                close(&got.rate, &want.rate, &what);
                for (index, (got, want)) in got.gradients.iter().zip(&want.gradients).enumerate() {
                    close(got, want, &format!("{what}, gradient {index}"));
                }
                for (got, want) in got.running.iter().zip(&want.running) {
                    close(got, want, &format!("{what}, running statistics"));
                }
            }
        }
    }

    #[test]
    fn the_same_numbers_come_out_to_the_bit() {
        let case =
            Case { constant: false, statistics: Statistics::EachTimestep, spiking: true, training: true, scaled: true };
        let (first, second) = (run(&case, true), run(&case, true));
        assert!(first.gradients.iter().zip(&second.gradients).all(|(a, b)| a.equal(b)));
    }

    #[test]
    fn other_types_are_computed_by_tensor_operations() {
        let neuron = Lif::default();
        let x = Tensor::randn([4, 3, 2, 2], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let terms = [Term::Spikes { spikes: x.shallow_clone(), scale: None }];
        let (spikes, _) = node(&neuron, &terms, 3, None, 2, false);
        assert!(spikes.equal(&fold_time(&neuron.spikes(&unfold_time(&x, 2)))));
    }

    #[test]
    fn maps_side_by_side_are_their_concatenation() {
        let leaf = |channels: i64| {
            channels_last(&Tensor::randn([2, channels, 3, 4], (Kind::Float, Device::Cpu))).set_requires_grad(true)
        };
        let (a, b) = (leaf(5), leaf(2));
        let (got, want) = (side_by_side(&[a.shallow_clone(), b.shallow_clone()]), Tensor::cat(&[&a, &b], 1));
        assert!(got.equal(&want) && got.stride() == want.stride());
        let upstream = want.rand_like();
        (got * &upstream).sum(Kind::Float).backward();
        assert!(a.grad().equal(&upstream.narrow(1, 0, 5)) && b.grad().equal(&upstream.narrow(1, 5, 2)));
    }

    #[test]
    fn a_part_of_a_map_is_read_where_it_is() {
        let map = channels_last(&Tensor::randn([2, 6, 3, 4], (Kind::Float, Device::Cpu)));
        let (rows, stride) = rows_of(&map.narrow(1, 2, 3));
        assert_eq!((rows.data_ptr(), stride), (map.narrow(1, 2, 3).data_ptr(), 6));
        let (rows, stride) = rows_of(&map.narrow(1, 2, 3).contiguous());
        assert_eq!((rows.stride()[1], stride), (1, 3));
    }
}
