//! Supernet and final network of `spike-dhs`.

use litesnn_framework::Result;
use litesnn_framework::ground::Build;
use litesnn_framework::network::engine::Logits;
use litesnn_framework::network::{
    Architecture, LayerShape, Network, Packer, Pass, Path, Place, Response, Supernet, SynapseLayer,
};
use tch::{Kind, Tensor};

use super::cell::{CellShape, SpikingCell};
use super::edges::{Candidate, choices, decode};
use super::head::{Auxiliary, Head};
use super::layers::{Builder, MapShape, halved};
use super::operation::Operation;
use super::stack::StackedConvolution;
use super::stem::Stem;

impl Builder<'_> {
    pub(super) fn body(&self, candidates: &[Candidate], alpha: Option<Tensor>, build: &mut Build) -> Result<Body> {
        let space = self.space;
        let nodes = self.nodes as i64;
        let stem = Stem::new(self, &mut build.at("stem"))?;
        let stem_map = stem.map();
        let mut inputs = [stem_map, stem_map];
        let mut reads = [stem.weight.channels().clone(), stem.weight.channels().clone()];
        let mut cells = Vec::new();
        // The authors' program: cell 2n/3, from 0.
        let watched = 2 * space.cells.len() / 3;
        let mut auxiliary = None;
        for (index, &level) in space.cells.iter().enumerate() {
            let mut at = build.at(format!("cell{index}"));
            let cell = SpikingCell::new(self, CellShape { index, level, inputs }, candidates, &reads, &mut at)?;
            let [_, last] = reads;
            reads = [last, cell.channels()];
            cells.push(cell);
            let (channels, size) = (nodes * (self.channels << level), halved(stem_map.size, level));
            let map = MapShape { channels, level, size };
            if index == watched && !self.supernet && space.auxiliary > 0.0 {
                auxiliary = Some((index, Auxiliary::new(self, map, &reads[1], &mut build.at("auxiliary"))?));
            }
            inputs = [inputs[1], map];
        }
        let head = Head::new(self, inputs[1].channels, &reads[1], &mut build.at("classifier"))?;
        Ok(Body {
            stem,
            cells,
            auxiliary,
            head,
            alpha,
            searched: self.open,
            operations: space.columns(),
            kept_nodes: space.kept_nodes(),
            fused: space.neurons.fused().is_some(),
        })
    }
}

/// A network of this space: the supernet when it has alpha, the network of an architecture when
/// not.
pub(super) struct Body {
    stem: Stem,
    cells: Vec<SpikingCell>,
    /// The head that is used in training only, and the index of the cell that it reads.
    auxiliary: Option<(usize, Auxiliary)>,
    head: Head,
    alpha: Option<Tensor>,
    /// Whether something is still to be decided, so that the search's cost terms count the cells.
    searched: bool,
    /// The columns of alpha.
    operations: Vec<Operation>,
    kept_nodes: usize,
    /// Whether kernels compute its neurons.
    fused: bool,
}

impl Network for Body {
    fn forward(&self, images: &Tensor, pass: &Pass) -> Response {
        let alpha = if pass.path.is_none() { self.presence() } else { None };
        let mut activity = Vec::new();
        // The stem reads the image, the same at every timestep.
        activity.extend(pass.activity_of_constant(images));
        let mut before = self.stem.forward(images, pass);
        let mut last = before.shallow_clone();
        let (mut auxiliary, mut of_auxiliary) = (None, Vec::new());
        for (index, cell) in self.cells.iter().enumerate() {
            let output = cell.forward(&before, &last, alpha.as_ref(), pass, &mut activity);
            if let Some((_, head)) = self.auxiliary.as_ref().filter(|(read, _)| *read == index && pass.training) {
                let logits = head.forward(&output.spikes, pass, &mut of_auxiliary);
                auxiliary = Some((logits, head.weight));
            }
            before = std::mem::replace(&mut last, output);
        }
        let logits = self.head.forward(&last.spikes, pass, &mut activity);
        if let Some((_, head)) = self.auxiliary.as_ref().filter(|_| !pass.training) {
            // It does not work outside of training.
            let still = |(shape, _): (&LayerShape, _)| pass.no_activity(shape.input_neurons(), images.device());
            activity.extend(head.layers().filter_map(still));
        }
        activity.extend(of_auxiliary);
        Response { logits, auxiliary, activity }
    }

    fn layers(&self) -> Vec<SynapseLayer<'_>> {
        let outside = |(shape, weight)| SynapseLayer { shape, weight, choice: None, searched: false };
        let mut layers = vec![outside((&self.stem.shape, &self.stem.weight))];
        for cell in &self.cells {
            for (shape, weight, choice) in cell.stacks.iter().flat_map(StackedConvolution::layers) {
                let choice = self.alpha.as_ref().map(|_| choice as usize);
                layers.push(SynapseLayer { shape, weight, choice, searched: self.searched });
            }
        }
        layers.push(outside(self.head.layer()));
        layers.extend(self.auxiliary.iter().flat_map(|(_, head)| head.layers()).map(outside));
        layers
    }

    fn other_maps(&self) -> Vec<(Place, f64)> {
        self.cells.iter().enumerate().map(|(index, cell)| (Place::Cell(index), cell.sums())).collect()
    }

    fn packed(&self, packer: &mut Packer) -> Result<Logits> {
        let stem = self.stem.packed(packer)?;
        let (mut before, mut last) = (stem, stem);
        for (index, cell) in self.cells.iter().enumerate() {
            let output = cell.packed(&format!("cell{index}"), [before, last], packer)?;
            before = std::mem::replace(&mut last, output);
        }
        self.head.packed(last, packer)
    }

    fn has_fused_neurons(&self) -> bool {
        self.fused
    }

    /// The operations of each edge in turn.
    fn presence(&self) -> Option<Tensor> {
        self.alpha.as_ref().map(|alpha| alpha.softmax(1, Kind::Float).flatten(0, -1))
    }

    fn full_precision_parameters(&self) -> u64 {
        let cells = self.cells.iter().map(SpikingCell::full_precision_parameters);
        let heads = self.head.full_precision_parameters() + self.auxiliary_parameters();
        cells.sum::<u64>() + self.stem.full_precision_parameters() + heads
    }

    fn auxiliary_parameters(&self) -> u64 {
        self.auxiliary.as_ref().map_or(0, |(_, head)| head.full_precision_parameters())
    }
}

impl Supernet for Body {
    fn decode(&self) -> Architecture {
        let weights = self.presence().map(|alpha| Vec::<f32>::try_from(alpha.detach()).unwrap_or_default());
        decode(&weights.unwrap_or_default(), &self.operations, self.kept_nodes)
    }

    fn path(&self, architecture: &Architecture) -> Result<Path> {
        let mut there = vec![false; self.alpha.as_ref().map_or(0, Tensor::numel)];
        for choice in choices(architecture, &self.operations, self.kept_nodes)? {
            there[choice] = true;
        }
        Ok(Path::new(there))
    }
}
