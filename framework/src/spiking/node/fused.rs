//! A node with everything that drives it as one autograd node: forward and backward by the kernels.

use std::sync::Arc;

use tch::Tensor;

use super::super::function::custom_function;
use super::super::lif::Lif;
use super::super::maps::{channels_last, empty_channels_last};
use super::super::parallel::{Pointer, for_parts, parts};
use super::currents::{Backend, Term};
use super::kernel::{NodeShape, TermKind, TermRows, backward_rows, forward_rows};
use super::normalised::{Coefficients, NormalisedOutput, ReaderSums};

/// Spikes of a node and their rate, by the kernels, to which all `terms` have to belong.
pub(super) fn fused_spikes(
    neuron: &Lif,
    terms: &[Term],
    width: i64,
    alpha: Option<&Tensor>,
    timesteps: i64,
    measure: bool,
) -> (Tensor, Option<Tensor>) {
    let (steps, scales) = (timesteps as usize, Scales::of(alpha));
    let fused = terms.iter().map(|term| FusedTerm::new(term, width as usize, &scales)).collect();
    let node = FusedNode { neuron: *neuron, steps, width: width as usize, terms: fused, scale_count: scales.0.len() };
    let mut inputs: Vec<Tensor> = terms.iter().flat_map(inputs_of).collect();
    inputs.extend(alpha.map(Tensor::shallow_clone));
    let spikes = tch::no_grad(|| empty_channels_last(&node.output_shape(&inputs[0])));
    let kept: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
    let counts = node.forward(&kept, &spikes);
    let rate = measure.then(|| {
        let neurons = spikes.numel() as f64 / steps as f64;
        Tensor::from_slice(&counts.iter().map(|count| (count / neurons) as f32).collect::<Vec<_>>())
    });
    let references: Vec<&Tensor> = inputs.iter().collect();
    let backward = move |gradients: &[Tensor], saved: &[Tensor]| node.backward(&gradients[0], saved);
    let spikes = custom_function(&references, || (vec![spikes], kept), backward).pop().expect("one output was given");
    (spikes, rate)
}

/// The values of alpha; none without it.
struct Scales(Vec<f32>);

impl Scales {
    fn of(alpha: Option<&Tensor>) -> Scales {
        Scales(alpha.map_or_else(Vec::new, |alpha| Vec::try_from(alpha.detach()).expect("scales are f32")))
    }

    /// The scale with this index into alpha, or 1.
    fn value(&self, index: Option<i64>) -> f32 {
        match index {
            Some(index) if !self.0.is_empty() => self.0[index as usize],
            _ => 1.0,
        }
    }
}

/// The inputs of the autograd node that belong to a term; its currents or spikes come first.
fn inputs_of(term: &Term) -> Vec<Tensor> {
    match term {
        Term::Part { of, .. } => [&of.x, &of.gamma, &of.beta].map(Tensor::shallow_clone).into(),
        Term::Spikes { spikes, .. } => vec![channels_last(spikes)],
    }
}

/// A term as the autograd node keeps it.
struct FusedTerm {
    reads: Reads,
    coefficients: Coefficients,
    /// Index into alpha.
    scale: Option<i64>,
    /// The scale, or 1.
    value: f32,
}

/// What a term reads, and where its gradient goes.
enum Reads {
    /// The channels from `first` on of a convolution's output.
    Part { output: Arc<NormalisedOutput>, first: usize },
    /// Spikes, a tensor of its own.
    Spikes,
}

impl FusedTerm {
    fn new(term: &Term, width: usize, scales: &Scales) -> FusedTerm {
        match term {
            Term::Part { of, first, scale } => {
                let Backend::Kernel(output) = &of.backend else { unreachable!("`node_spikes` has looked") };
                let (first, value) = (*first as usize, scales.value(*scale));
                // Currents are scaled by what normalises them, spikes after it.
                let folded = if output.spiking { 1.0 } else { value };
                let coefficients = output.coefficients(first, width, folded);
                FusedTerm { reads: Reads::Part { output: output.clone(), first }, coefficients, scale: *scale, value }
            }
            Term::Spikes { scale, .. } => FusedTerm {
                reads: Reads::Spikes,
                coefficients: Coefficients::default(),
                scale: *scale,
                value: scales.value(*scale),
            },
        }
    }

    /// The number of tensors that [`inputs_of`] gives.
    fn inputs(&self) -> usize {
        match self.reads {
            Reads::Part { .. } => 3,
            Reads::Spikes => 1,
        }
    }

    /// The tensor that the gradient of its currents or spikes is written to.
    fn gradient(&self, input: &Tensor) -> Tensor {
        match &self.reads {
            Reads::Part { output, .. } => output.gradient(input),
            Reads::Spikes => empty_channels_last(&input.size()),
        }
    }
}

/// What a node's passes need beside its inputs.
struct FusedNode {
    neuron: Lif,
    steps: usize,
    width: usize,
    terms: Vec<FusedTerm>,
    /// Length of alpha; 0 without it.
    scale_count: usize,
}

impl FusedNode {
    /// The shape of the spikes, from the first input.
    fn output_shape(&self, first: &Tensor) -> Vec<i64> {
        let mut shape = first.size();
        shape[1] = self.width as i64;
        if let Reads::Part { output, .. } = &self.terms[0].reads {
            shape[0] *= (self.steps / output.maps) as i64;
        }
        shape
    }

    /// The currents or spikes of each term.
    fn currents<'a>(&self, inputs: &'a [Tensor]) -> Vec<&'a Tensor> {
        let mut next = 0;
        let mut first_of = |term: &FusedTerm| {
            let tensor = &inputs[next];
            next += term.inputs();
            tensor
        };
        self.terms.iter().map(&mut first_of).collect()
    }

    /// The terms for the kernels, with `rows` rows at a timestep; `gradients` are empty in the
    /// forward pass.
    fn term_rows(&self, currents: &[&Tensor], gradients: &[Tensor], rows: usize) -> Vec<TermRows> {
        let one = |(index, term): (usize, &FusedTerm)| {
            let (stride, first, advance, kind) = match &term.reads {
                Reads::Part { output, first } => {
                    let kind = if output.spiking { TermKind::Candidate } else { TermKind::Current };
                    (output.channels, *first, if output.maps == self.steps { rows } else { 0 }, kind)
                }
                Reads::Spikes => (self.width, 0, rows, TermKind::Spikes),
            };
            // SAFETY: `first` lies within a row.
            let at = |tensor: &Tensor| Pointer(unsafe { Pointer::of(tensor).get().add(first) });
            let [factor, shift, mean] = &term.coefficients;
            TermRows {
                x: at(currents[index]),
                gradient: gradients.get(index).map_or(Pointer(std::ptr::null_mut()), at),
                stride,
                advance,
                kind,
                scale: term.value,
                factor: factor.as_ptr(),
                shift: shift.as_ptr(),
                mean: mean.as_ptr(),
            }
        };
        self.terms.iter().enumerate().map(one).collect()
    }

    /// Fills `spikes` and returns their number at each timestep.
    fn forward(&self, inputs: &[Tensor], spikes: &Tensor) -> Vec<f64> {
        let rows = spikes.numel() / self.steps / self.width;
        let terms = self.term_rows(&self.currents(inputs), &[], rows);
        let out = Pointer::of(spikes);
        let mut counts = vec![0f64; parts() * self.steps];
        let slots = Pointer::to(&mut counts);
        let shape = NodeShape { steps: self.steps, rows, width: self.width, neuron: self.neuron };
        for_parts(rows, |part, begin, end| {
            // SAFETY: a slot of counts for each part, rows of this part alone.
            unsafe {
                let own = std::slice::from_raw_parts_mut(slots.get().cast::<f64>().add(part * self.steps), self.steps);
                forward_rows(&terms, &shape, begin, end, out.get(), own);
            }
        });
        (0..self.steps).map(|step| (0..parts()).map(|part| counts[part * self.steps + step]).sum()).collect()
    }

    /// The gradients of all inputs; `None` for the inputs of a convolution's output that other
    /// nodes have yet to run backward to.
    fn backward(&self, gradient: &Tensor, inputs: &[Tensor]) -> Vec<Option<Tensor>> {
        let currents = self.currents(inputs);
        let (upstream, stride) = rows_of(gradient);
        let gradients: Vec<Tensor> =
            self.terms.iter().zip(&currents).map(|(term, current)| term.gradient(current)).collect();
        let rows = upstream.numel() / self.steps / self.width;
        let terms = self.term_rows(&currents, &gradients, rows);
        let found = self.run_backward(&terms, rows, &upstream, stride);
        let mut to_alpha = vec![0f32; self.scale_count];
        let mut results = Vec::new();
        for (((term, own), current), found) in self.terms.iter().zip(gradients).zip(&currents).zip(&found) {
            let mut to_scale = found.to_scale;
            match &term.reads {
                Reads::Part { output, first } => {
                    let (scale, whole) = output.receive(current, *first, term.value, found);
                    to_scale = scale;
                    results.extend(whole.map_or([None, None, None], |whole| whole.map(Some)));
                }
                Reads::Spikes => results.push(Some(own)),
            }
            if let Some(scale) = term.scale.filter(|_| self.scale_count > 0) {
                to_alpha[scale as usize] += to_scale as f32;
            }
        }
        if self.scale_count > 0 {
            results.push(Some(Tensor::from_slice(&to_alpha)));
        }
        results
    }

    /// Fills the gradients of all terms, and returns the sums that belong to them.
    fn run_backward(&self, terms: &[TermRows], rows: usize, upstream: &Tensor, stride: usize) -> Vec<ReaderSums> {
        let (steps, width) = (self.steps, self.width);
        let upstream = Pointer::of(upstream);
        // For each term: sums, products `[T, width]`, and the gradient to its scale.
        let of_term = 2 * steps * width + 1;
        let slot = terms.len() * of_term;
        let mut sums = vec![0f64; parts() * slot];
        let slots = Pointer::to(&mut sums);
        let shape = NodeShape { steps, rows, width, neuron: self.neuron };
        for_parts(rows, |part, begin, end| {
            // SAFETY: a slot of sums for each part, rows of this part alone.
            unsafe {
                let own = std::slice::from_raw_parts_mut(slots.get().cast::<f64>().add(part * slot), slot);
                backward_rows(terms, &shape, begin, end, upstream.get(), stride, own);
            }
        });
        let total = |at: usize| (0..parts()).map(|part| sums[part * slot + at]).sum::<f64>();
        let of = |index: usize| {
            let at = index * of_term;
            ReaderSums {
                sums: (at..at + steps * width).map(total).collect(),
                products: (at + steps * width..at + 2 * steps * width).map(total).collect(),
                to_scale: total(at + 2 * steps * width),
            }
        };
        (0..terms.len()).map(of).collect()
    }
}

/// The gradient `[N, C, H, W]` as rows of channels, and how far apart they are: a part of a larger
/// map stays where it is.
pub(super) fn rows_of(gradient: &Tensor) -> (Tensor, usize) {
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
    use super::*;
    use crate::ground::Stream;

    #[test]
    fn a_part_of_a_map_is_read_where_it_is() {
        let map = channels_last(&Stream::numbered(1).normal(&[2, 6, 3, 4]));
        let (rows, stride) = rows_of(&map.narrow(1, 2, 3));
        assert_eq!((rows.data_ptr(), stride), (map.narrow(1, 2, 3).data_ptr(), 6));
        let (rows, stride) = rows_of(&map.narrow(1, 2, 3).contiguous());
        assert_eq!((rows.stride()[1], stride), (1, 3));
    }
}
