//! `average-pool3x3` between two nodes: sums of spikes, normalised.

use litesnn_framework::Result;
use litesnn_framework::ground::Build;
use litesnn_framework::network::engine::Current;
use litesnn_framework::network::{Channels, Packer, Pass, Techniques, Written};
use litesnn_framework::spiking::{BatchNorm, Currents, Drives, Neurons};

use super::edges::{Candidate, Predecessor};
use super::layers::Builder;
use super::signal::Signal;
use super::stack::window_of_3x3;

/// An edge between nodes that hands on means of spikes. It has no weights.
pub(super) struct Pool {
    pub(super) predecessor: Predecessor,
    pub(super) node: usize,
    /// Its place in the flattened alpha.
    pub(super) choice: i64,
    norm: BatchNorm,
    /// On the currents, where candidates hand on spikes.
    candidates: Option<Neurons>,
}

impl Pool {
    /// Of maps with `width` channels.
    pub(super) fn new(builder: &Builder, candidate: &Candidate, width: i64, build: &mut Build) -> Pool {
        let Candidate { link, operation, choice, .. } = *candidate;
        let mut at = build.at(format!("n{}.{operation}", link.node));
        let norm = BatchNorm::new(width, builder.space.normalisation, &mut at.at("norm"));
        let candidates = builder.candidate_neurons(&mut at);
        Pool { predecessor: link.predecessor, node: link.node, choice, norm, candidates }
    }

    /// What is stored of it; the node that it leads to has so many channels.
    pub(super) fn full_precision_parameters(&self, channels: i64) -> u64 {
        BatchNorm::PARAMETERS * channels as u64 + self.candidates.as_ref().map_or(0, Neurons::parameters)
    }

    /// Its current on spikes, written for the engine.
    pub(super) fn packed(&self, name: &str, input: Written, there: &Channels, packer: &mut Packer) -> Result<Current> {
        let sums = packer.sums(name.to_owned(), input, window_of_3x3(1), 1.0);
        let (scale, bias) = self.norm.keeping(there.mask(Techniques::ALL).as_ref()).coefficients();
        let current = Current::Scaled { of: sums.map, divisor: 1.0, scale, bias };
        match &self.candidates {
            None => Ok(current),
            Some(neurons) => {
                let shape = packer.shape(sums);
                Ok(packer.spikes(format!("{name}.spikes"), shape, neurons, vec![current])?.handed_on())
            }
        }
    }

    /// The normalised currents on `sums`; `nodes` are neurons that they reach, with the channels
    /// `there`.
    pub(super) fn currents(&self, sums: &Signal, nodes: &Neurons, there: &Channels, pass: &Pass) -> Currents {
        let drives = self.candidates.as_ref().map_or(Drives::Nodes(nodes), Drives::Candidates);
        let norm = self.norm.keeping(there.mask(pass.active).as_ref());
        Currents::new(&sums.spikes, &norm, pass.timesteps, sums.constant, pass.training, drives, 1)
    }
}
