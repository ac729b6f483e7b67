//! A node with everything that drives it as one autograd node, by the kernels of a CUDA device.

use std::sync::{Arc, Mutex, PoisonError};

use tch::{Kind, Tensor};

use super::super::batch_norm::BatchNorm;
use super::super::convolution::Convolved;
use super::super::cuda::{NodeOnDevice, Normalisation, TermGradient, TermOnDevice, room_for_maps};
use super::super::function::custom_function;
use super::super::lif::Lif;
use super::super::maps::channels_last;
use super::currents::{Backend, Term};
use super::fused::rows_of;
use super::kernel::TermKind;

/// What the kernels know of a convolution's output and of its normalisation.
pub(super) struct NormalisedMaps {
    normalisation: Normalisation,
    /// A LIF layer on the normalised currents.
    spiking: bool,
    /// Nodes that read a part.
    readers: usize,
    state: Mutex<State>,
}

/// The tensors of a normalisation; a lock makes them shared between threads.
struct State {
    /// `[4, T, C]`
    coefficients: Tensor,
    pending: Option<Pending>,
}

/// The gradient of a convolution's output while its readers run backward one after another.
struct Pending {
    /// Readers that have run.
    done: usize,
    /// Of the normalised currents.
    gradient: Tensor,
    /// Its sums over the rows of a timestep and what belongs to each channel: `[2 T + 3, C]`.
    sums: Tensor,
}

impl NormalisedMaps {
    /// Normalises `x` `[T·B, C, H, W]`, channels-last, or `[B, C, H, W]` where it is `constant`
    /// over time.
    pub(super) fn new(
        x: &Convolved,
        norm: &BatchNorm,
        timesteps: i64,
        constant: bool,
        training: bool,
        spiking: bool,
        readers: usize,
    ) -> NormalisedMaps {
        let normalisation = Normalisation::new(&x.maps, norm, timesteps, constant, training);
        let coefficients = tch::no_grad(|| normalisation.coefficients(&x.maps.detach(), x.steps.as_ref(), norm));
        NormalisedMaps { normalisation, spiking, readers, state: Mutex::new(State { coefficients, pending: None }) }
    }

    fn coefficients(&self) -> Tensor {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).coefficients.shallow_clone()
    }

    /// Where each reader writes the gradient of its channels of `x`, and its sums.
    fn gradient(&self, x: &Tensor) -> TermGradient {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = state.pending.get_or_insert_with(|| Pending {
            done: 0,
            gradient: self.normalisation.room_for_gradient(x),
            sums: self.normalisation.room_for_sums(x),
        });
        TermGradient { gradient: pending.gradient.shallow_clone(), sums: Some(pending.sums.shallow_clone()) }
    }

    /// Counts a reader that has run. Returns to the last one the gradients to x, gamma and beta.
    fn receive(&self, x: &Tensor, gamma: &Tensor) -> Option<[Tensor; 3]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = state.pending.as_mut().expect("a reader has asked for it");
        pending.done += 1;
        if pending.done < self.readers {
            return None;
        }
        let Pending { gradient, sums, .. } = state.pending.take().expect("it is there");
        Some(self.normalisation.backward(&gradient, x, &sums, &state.coefficients, gamma))
    }
}

/// Spikes of a node and their rate, by the kernels of a device, to which all `terms` have to
/// belong.
pub(super) fn device_spikes(
    neuron: &Lif,
    terms: &[Term],
    width: i64,
    alpha: Option<&Tensor>,
    timesteps: i64,
    measure: bool,
) -> (Tensor, Option<Tensor>) {
    // A kernel reads maps of one type.
    let halves = terms.iter().filter_map(|term| match term {
        Term::Part { of, .. } => Some(of.x.kind() == Kind::BFloat16),
        Term::Spikes { .. } => None,
    });
    let widened = halves.clone().any(|half| half) && !halves.clone().all(|half| half);
    let mut inputs: Vec<Tensor> = terms.iter().flat_map(|term| inputs_of(term, widened)).collect();
    inputs.extend(alpha.map(Tensor::contiguous));
    let readers: Vec<Reader> = terms.iter().map(Reader::of).collect();
    let kept: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
    let mut shape = kept[0].size();
    shape[1] = width;
    if readers[0].constant() {
        shape[0] *= timesteps;
    }
    let spikes = tch::no_grad(|| room_for_maps(&shape, (Kind::Float, kept[0].device())));
    let rows = spikes.numel() as i64 / timesteps / width;
    let node = NodeOnDevice { neuron: *neuron, steps: timesteps, width, rows };
    let node = DeviceNode { node, readers, scaled: alpha.is_some() };
    let rate = tch::no_grad(|| node.forward(&kept, &spikes, measure));
    let references: Vec<&Tensor> = inputs.iter().collect();
    let backward = move |gradients: &[Tensor], saved: &[Tensor]| node.backward(&gradients[0], saved);
    let spikes = custom_function(&references, || (vec![spikes], kept), backward).pop().expect("one output was given");
    (spikes, rate)
}

/// The inputs of the autograd node that belong to a term; its currents, which are f32 where they are
/// `widened`, or spikes come first.
fn inputs_of(term: &Term, widened: bool) -> Vec<Tensor> {
    match term {
        Term::Part { of, .. } => {
            let x = if widened { of.x.to_kind(Kind::Float) } else { of.x.shallow_clone() };
            vec![x, of.gamma.shallow_clone(), of.beta.shallow_clone()]
        }
        Term::Spikes { spikes, .. } => vec![channels_last(spikes)],
    }
}

/// A term as the autograd node keeps it.
struct Reader {
    /// What it reads a part of, and the first of the channels; nothing for spikes.
    part: Option<(Arc<NormalisedMaps>, i64)>,
    /// Index into alpha.
    scale: Option<i64>,
}

impl Reader {
    fn of(term: &Term) -> Reader {
        match term {
            Term::Part { of, first, scale } => {
                let Backend::Device(maps) = &of.backend else { unreachable!("`node_spikes` has looked") };
                Reader { part: Some((maps.clone(), *first)), scale: *scale }
            }
            Term::Spikes { scale, .. } => Reader { part: None, scale: *scale },
        }
    }

    /// Whether it reads one map for all timesteps.
    fn constant(&self) -> bool {
        self.part.as_ref().is_some_and(|(maps, _)| maps.normalisation.maps < maps.normalisation.steps)
    }

    fn kind(&self) -> TermKind {
        match &self.part {
            Some((maps, _)) if maps.spiking => TermKind::Candidate,
            Some(_) => TermKind::Current,
            None => TermKind::Spikes,
        }
    }

    /// The number of tensors that [`inputs_of`] gives.
    fn inputs(&self) -> usize {
        if self.part.is_some() { 3 } else { 1 }
    }
}

/// What a node's passes need beside its inputs.
struct DeviceNode {
    node: NodeOnDevice,
    readers: Vec<Reader>,
    /// The last of the inputs is alpha.
    scaled: bool,
}

impl DeviceNode {
    /// The inputs of each term, and alpha.
    fn split<'a>(&self, inputs: &'a [Tensor]) -> (Vec<&'a [Tensor]>, Option<&'a Tensor>) {
        let mut rest = inputs;
        let of_term = |reader: &Reader| {
            let (own, others) = rest.split_at(reader.inputs());
            rest = others;
            own
        };
        let terms = self.readers.iter().map(of_term).collect();
        (terms, if self.scaled { inputs.last() } else { None })
    }

    /// Calls `run` with the terms for the kernels.
    fn with_terms<R>(&self, inputs: &[&[Tensor]], run: impl FnOnce(&[TermOnDevice]) -> R) -> R {
        let coefficients: Vec<Option<Tensor>> =
            self.readers.iter().map(|reader| reader.part.as_ref().map(|(maps, _)| maps.coefficients())).collect();
        let terms: Vec<TermOnDevice> = self
            .readers
            .iter()
            .zip(inputs)
            .zip(&coefficients)
            .map(|((reader, own), coefficients)| TermOnDevice {
                kind: reader.kind(),
                x: &own[0],
                first: reader.part.as_ref().map_or(0, |(_, first)| *first),
                constant: reader.constant(),
                normalised: coefficients.as_ref().map(|coefficients| [coefficients, &own[2]]),
                scale: reader.scale,
            })
            .collect();
        run(&terms)
    }

    /// Fills `spikes`, and returns their rate if `measure`.
    fn forward(&self, inputs: &[Tensor], spikes: &Tensor, measure: bool) -> Option<Tensor> {
        let (of_terms, alpha) = self.split(inputs);
        self.with_terms(&of_terms, |terms| self.node.forward(terms, alpha, spikes, measure))
    }

    /// The gradients of all inputs; `None` for the inputs of a convolution's output that other
    /// nodes have yet to run backward to.
    fn backward(&self, gradient: &Tensor, inputs: &[Tensor]) -> Vec<Option<Tensor>> {
        let (of_terms, alpha) = self.split(inputs);
        let (upstream, stride) = rows_of(gradient);
        let gradient_of = |(reader, own): (&Reader, &&[Tensor])| match &reader.part {
            Some((maps, _)) => maps.gradient(&own[0]),
            None => {
                let gradient = room_for_maps(&own[0].size(), (Kind::Float, own[0].device()));
                TermGradient { gradient, sums: None }
            }
        };
        let gradients: Vec<TermGradient> = self.readers.iter().zip(&of_terms).map(gradient_of).collect();
        let to_alpha =
            self.with_terms(&of_terms, |terms| self.node.backward(terms, &gradients, alpha, &upstream, stride as i64));
        let mut results = Vec::new();
        for ((reader, own), to) in self.readers.iter().zip(&of_terms).zip(gradients) {
            match &reader.part {
                Some((maps, _)) => {
                    results.extend(maps.receive(&own[0], &own[1]).map_or([None, None, None], |all| all.map(Some)));
                }
                None => results.push(Some(to.gradient)),
            }
        }
        results.extend(to_alpha.map(Some));
        results
    }
}
