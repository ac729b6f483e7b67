//! Supernet and final network of `spike-dhs`.

use std::rc::Rc;

use litesnn_framework::Result;
use litesnn_framework::cost::{Input, LayerShape};
use litesnn_framework::design::{Architecture, Compression};
use litesnn_framework::plugin::{
    Build, CompressedWeight, Compressor, DataInfo, LayerSpec, Network, Pass, Place, Response, Supernet, SynapseLayer,
    hold,
};
use litesnn_framework::random::Stream;
use litesnn_framework::spiking::convolution::stack_weights;
use litesnn_framework::spiking::layer::{BatchNorm, firing_rate, fold_time, kaiming_fan_out, unfold_time};
use litesnn_framework::spiking::node::{channels_last, repeat, side_by_side};
use litesnn_framework::spiking::{Currents, Dspike, Lif, Precision, Term, convolution, node};
use tch::{Kind, Tensor};

use super::head::{Auxiliary, Head};
use super::{
    CONVOLUTION, Candidates, Downsampling, Handed, Link, SKIP, SearchStem, Source, SpikeDhs, decode, source_name,
};

/// What a network is built from.
pub(super) struct Builder<'a> {
    pub(super) space: &'a SpikeDhs,
    pub(super) nodes: usize,
    /// Channels of a node at level 0.
    pub(super) channels: i64,
    pub(super) data: &'a DataInfo,
    pub(super) compressors: &'a [(&'a str, &'a dyn Compressor)],
    /// Decisions of the compressors.
    pub(super) compression: &'a Compression,
    /// Whether what is not decided is searched.
    pub(super) open: bool,
    pub(super) supernet: bool,
}

/// Channels, resolution level and size of a map.
#[derive(Clone, Copy)]
pub(super) struct MapShape {
    pub(super) channels: i64,
    level: u32,
    pub(super) size: (i64, i64),
}

fn halved(size: (i64, i64), times: u32) -> (i64, i64) {
    let divisor = 1i64 << times;
    ((size.0 + divisor - 1) / divisor, (size.1 + divisor - 1) / divisor)
}

impl Builder<'_> {
    pub(super) fn body(&self, edges: &[(Link, Candidates)], alpha: Option<Tensor>, build: &mut Build) -> Result<Body> {
        let space = self.space;
        let [channels, height, width] = self.data.shape;
        let nodes = self.nodes as i64;
        let stem_channels = nodes * self.channels;
        let stem_size = halved((height, width), space.stem_stride.trailing_zeros());
        let stem_shape = LayerShape {
            name: "stem".into(),
            place: Place::Stem,
            kernel: (3, 3),
            inputs: channels,
            outputs: stem_channels,
            map: stem_size,
            reads: Input::Image,
        };
        let mut at = build.at("stem");
        let stem = Convolution {
            weight: self.weight(&stem_shape, self.outside(), kaiming_fan_out, &mut at)?,
            shape: stem_shape,
            node: 0,
            choice: 0,
        };
        let stem_norm = BatchNorm::new(stem_channels, space.normalisation, &mut at.at("norm"));

        let stem_map = MapShape { channels: stem_channels, level: 0, size: stem_size };
        let mut inputs = [stem_map, stem_map];
        let mut cells = Vec::new();
        // The authors' program: cell 2n/3, from 0.
        let watched = 2 * space.cells.len() / 3;
        let mut auxiliary = None;
        for (index, &level) in space.cells.iter().enumerate() {
            let mut at = build.at(format!("cell{index}"));
            cells.push(self.cell(index, level, inputs, edges, &mut at)?);
            let map = MapShape { channels: nodes * (self.channels << level), level, size: halved(stem_size, level) };
            if index == watched && !self.supernet && space.auxiliary > 0.0 {
                auxiliary = Some((index, Auxiliary::new(self, map, &mut build.at("auxiliary"))?));
            }
            inputs = [inputs[1], map];
        }
        let head = Head::new(self, inputs[1].channels, &mut build.at("classifier"))?;
        let neuron =
            Lif { tau: space.tau, threshold: space.threshold, surrogate: Dspike { temperature: space.temperature } };
        Ok(Body {
            neuron,
            stem,
            stem_norm,
            stem_stride: space.stem_stride,
            stem_spikes: !self.supernet || space.search_stem == SearchStem::Spiking,
            cells,
            auxiliary,
            head,
            alpha,
            searched: self.open,
            kept_nodes: space.kept_nodes(),
        })
    }

    /// The compressors of layers outside of cells: they leave these alone in a supernet.
    pub(super) fn outside(&self) -> &[(&str, &dyn Compressor)] {
        if self.supernet { &[] } else { self.compressors }
    }

    pub(super) fn weight(
        &self,
        shape: &LayerShape,
        compressors: &[(&str, &dyn Compressor)],
        init: impl FnOnce(&mut Stream, &[i64]) -> Tensor,
        build: &mut Build,
    ) -> Result<CompressedWeight> {
        let spec = LayerSpec { name: shape.name.clone(), place: shape.place };
        let dimensions = match shape.reads {
            Input::Pooled => vec![shape.outputs, shape.inputs],
            _ => vec![shape.outputs, shape.inputs, shape.kernel.0, shape.kernel.1],
        };
        let compressors = compressors.iter().copied();
        CompressedWeight::new(spec, |stream| init(stream, &dimensions), compressors, self.compression, self.open, build)
    }

    fn cell(
        &self,
        index: usize,
        level: u32,
        inputs: [MapShape; 2],
        edges: &[(Link, Candidates)],
        build: &mut Build,
    ) -> Result<Cell> {
        let space = self.space;
        let width = self.channels << level;
        let mut groups = Vec::new();
        let mut identities = Vec::new();
        for source in 0..self.nodes + 2 {
            let (in_channels, drop) = match inputs.get(source) {
                Some(map) => (map.channels, level - map.level),
                None => (width, 0),
            };
            let size = match inputs.get(source) {
                Some(map) => halved(map.size, drop),
                None => halved(inputs[1].size, level - inputs[1].level),
            };
            let mut at = build.at(format!("from_{}", source_name(source)));
            let mut convolutions = Vec::new();
            for (link, candidates) in edges.iter().filter(|(link, _)| link.source == source) {
                let choices: &[(&str, i64)] = match (candidates, source) {
                    (Candidates::All, 0 | 1) => &[(SKIP, 0), (CONVOLUTION, 1)],
                    (Candidates::All | Candidates::Convolution, _) => &[(CONVOLUTION, 1)],
                    (Candidates::Identity, _) => &[],
                };
                for (operation, choice) in choices {
                    let shape = LayerShape {
                        name: format!("cell{index}.n{}.{}.{operation}", link.node, source_name(source)),
                        place: Place::Cell(index),
                        kernel: (3, 3),
                        inputs: in_channels,
                        outputs: width,
                        map: size,
                        reads: Input::Spikes,
                    };
                    let mut here = at.at(format!("n{}.{operation}", link.node));
                    let weight = self.weight(&shape, self.compressors, kaiming_fan_out, &mut here)?;
                    convolutions.push(Convolution {
                        weight,
                        shape,
                        node: link.node,
                        choice: 2 * link.index as i64 + choice,
                    });
                }
                let identity = *candidates == Candidates::Identity || (*candidates == Candidates::All && source >= 2);
                if identity {
                    identities.push((source, link.node, 2 * link.index as i64));
                }
            }
            if !convolutions.is_empty() {
                let channels = width * convolutions.len() as i64;
                let norm = BatchNorm::new(channels, space.normalisation, &mut at.at("norm"));
                let resize = !self.supernet && space.downsampling == Downsampling::Resize;
                groups.push(Group {
                    source,
                    stride: if resize { 1 } else { 1 << drop },
                    resized: (resize && drop > 0).then_some([size.0, size.1]),
                    convolutions,
                    norm,
                });
            }
        }
        let spiking_candidates = self.supernet && space.candidates == Handed::Spike;
        Ok(Cell { nodes: self.nodes, width, groups, identities, spiking_candidates })
    }
}

/// A convolution 3x3 towards a node.
struct Convolution {
    weight: CompressedWeight,
    shape: LayerShape,
    node: usize,
    /// Its place in the flattened alpha.
    choice: i64,
}

/// Convolutions of a cell that read the same spikes: one convolution with stacked weights, one normalisation.
struct Group {
    source: Source,
    stride: i64,
    /// Size that the input is resized to.
    resized: Option<[i64; 2]>,
    convolutions: Vec<Convolution>,
    norm: BatchNorm,
}

impl Group {
    /// The step of each output channel's weights, `[out]`, where all convolutions have one and it is asked for.
    fn steps(&self, pass: &Pass) -> Option<Tensor> {
        if pass.precision == Precision::F32 {
            return None;
        }
        let step = |convolution: &Convolution| {
            Some(convolution.weight.step(pass.active)?.expand([convolution.shape.outputs], false))
        };
        let all: Option<Vec<Tensor>> = self.convolutions.iter().map(step).collect();
        Some(Tensor::cat(&all?, 0))
    }
}

struct Cell {
    nodes: usize,
    width: i64,
    groups: Vec<Group>,
    /// Source, node, place in the flattened alpha.
    identities: Vec<(Source, usize, i64)>,
    /// A LIF layer on every candidate.
    spiking_candidates: bool,
}

/// Spikes `[T·B, C, H, W]` and their rate `[T]`, if it is measured.
pub(super) struct Signal {
    pub(super) spikes: Tensor,
    /// It is `[B, C, H, W]`, the same at every timestep.
    constant: bool,
    pub(super) rate: Option<Tensor>,
}

impl Signal {
    pub(super) fn new(spikes: Tensor, pass: &Pass) -> Signal {
        let rate = pass.measure.then(|| firing_rate(&unfold_time(&spikes, pass.timesteps)));
        Signal { spikes, constant: false, rate }
    }
}

/// Spikes of a layer of neurons on currents `[T·B, ...]`.
pub(super) fn fire(neuron: &Lif, current: &Tensor, pass: &Pass) -> Tensor {
    fold_time(&neuron.spikes(&unfold_time(current, pass.timesteps)))
}

impl Cell {
    /// `alpha` is the flattened softmax of the architecture logits, in a search.
    fn forward(
        &self,
        s0: &Signal,
        s1: &Signal,
        neuron: &Lif,
        alpha: Option<&Tensor>,
        pass: &Pass,
        activity: &mut Vec<Tensor>,
    ) -> Signal {
        let mut terms: Vec<Vec<Term>> = (0..self.nodes).map(|_| Vec::new()).collect();
        self.send(0, s0, neuron, alpha, pass, &mut terms, activity);
        self.send(1, s1, neuron, alpha, pass, &mut terms, activity);
        let (mut outputs, mut rates) = (Vec::new(), Vec::new());
        for index in 0..self.nodes {
            let driven = std::mem::take(&mut terms[index]);
            let (spikes, rate) = node(neuron, &driven, self.width, alpha, pass.timesteps, pass.measure);
            rates.extend(rate.as_ref().map(Tensor::shallow_clone));
            let signal = Signal { spikes, constant: false, rate };
            self.send(index + 2, &signal, neuron, alpha, pass, &mut terms, activity);
            outputs.push(signal.spikes);
        }
        // All nodes have the same number of neurons.
        let rate = pass.measure.then(|| Tensor::stack(&rates, 0).mean_dim(0, false, None::<Kind>));
        Signal { spikes: side_by_side(&outputs), constant: false, rate }
    }

    /// Adds what leaves `source` to what drives the nodes that it reaches.
    #[allow(clippy::too_many_arguments)]
    fn send(
        &self,
        source: Source,
        signal: &Signal,
        neuron: &Lif,
        alpha: Option<&Tensor>,
        pass: &Pass,
        terms: &mut [Vec<Term>],
        activity: &mut Vec<Tensor>,
    ) {
        for group in self.groups.iter().filter(|group| group.source == source) {
            let weight = hold(std::ptr::from_ref(group) as usize, pass.active, || {
                let values = group.convolutions.iter().map(|convolution| convolution.weight.value(pass.active));
                stack_weights(&values.collect::<Vec<Tensor>>())
            });
            let input = match group.resized {
                Some(size) => signal.spikes.upsample_nearest2d(size, None, None),
                None => signal.spikes.shallow_clone(),
            };
            let steps = group.steps(pass);
            let current = pass.precision.convolve(&input, &weight, steps.as_ref(), group.stride, 1);
            let candidate = self.spiking_candidates.then_some(neuron);
            let readers = group.convolutions.len();
            let currents = Rc::new(Currents::new(
                &current,
                &group.norm,
                pass.timesteps,
                signal.constant,
                pass.training,
                candidate,
                readers,
            ));
            for (index, convolution) in group.convolutions.iter().enumerate() {
                let scale = alpha.map(|_| convolution.choice);
                let part = Term::Part { of: currents.clone(), first: index as i64 * self.width, scale };
                terms[convolution.node].push(part);
                activity.extend(signal.rate.as_ref().map(Tensor::shallow_clone));
            }
        }
        for &(_, node, choice) in self.identities.iter().filter(|(from, ..)| *from == source) {
            let spikes = match signal.constant {
                true => repeat(&signal.spikes, pass.timesteps),
                false => signal.spikes.shallow_clone(),
            };
            terms[node].push(Term::Spikes { spikes, scale: alpha.map(|_| choice) });
        }
    }
}

/// A network of this space: the supernet when it has alpha, the network of an architecture when not.
pub(super) struct Body {
    neuron: Lif,
    stem: Convolution,
    stem_norm: BatchNorm,
    stem_stride: i64,
    stem_spikes: bool,
    cells: Vec<Cell>,
    /// The head that is used in training only, and the index of the cell that it reads.
    auxiliary: Option<(usize, Auxiliary)>,
    head: Head,
    alpha: Option<Tensor>,
    /// Whether something is still to be decided, so that the search's cost terms count the cells.
    searched: bool,
    kept_nodes: usize,
}

impl Body {
    /// softmax(alpha), flattened: skip and convolution of each edge in turn.
    fn choice_weights(&self) -> Option<Tensor> {
        self.alpha.as_ref().map(|alpha| alpha.softmax(1, Kind::Float).flatten(0, -1))
    }

    /// What the cells read of the image.
    fn stem_signal(&self, images: &Tensor, pass: &Pass) -> Signal {
        // A static image drives the same current at every timestep: convolved and normalised once.
        let weight = self.stem.weight.value(pass.active);
        let current = convolution(&channels_last(images), &weight, self.stem_stride, 1);
        let current = self.stem_norm.forward(&current, None, 1, pass.training);
        if self.stem_spikes {
            return Signal::new(fold_time(&self.neuron.spikes_of_constant(&current, pass.timesteps)), pass);
        }
        let rate = pass.measure.then(|| Tensor::ones([pass.timesteps], (Kind::Float, images.device())));
        Signal { spikes: channels_last(&current), constant: true, rate }
    }
}

impl Network for Body {
    fn forward(&self, images: &Tensor, pass: &Pass) -> Response {
        let alpha = self.choice_weights();
        let mut activity = Vec::new();
        if pass.measure {
            // The stem reads the image, the same at every timestep.
            activity.push(Tensor::ones([pass.timesteps], (Kind::Float, images.device())));
        }
        let mut before = self.stem_signal(images, pass);
        let mut last = Signal {
            spikes: before.spikes.shallow_clone(),
            rate: before.rate.as_ref().map(Tensor::shallow_clone),
            ..before
        };
        let mut auxiliary = None;
        for (index, cell) in self.cells.iter().enumerate() {
            let output = cell.forward(&before, &last, &self.neuron, alpha.as_ref(), pass, &mut activity);
            if let Some((_, head)) = self.auxiliary.as_ref().filter(|(read, _)| *read == index && pass.training) {
                auxiliary = Some((head.forward(&output.spikes, &self.neuron, pass), head.weight));
            }
            before = std::mem::replace(&mut last, output);
        }
        let logits = self.head.forward(&last.spikes, &self.neuron, pass);
        activity.extend(last.rate);
        if let Some((_, head)) = self.auxiliary.as_ref().filter(|_| pass.measure) {
            // It does not work outside of training.
            let still = Tensor::zeros([pass.timesteps], (Kind::Float, images.device()));
            activity.extend(head.layers().map(|_| still.shallow_clone()));
        }
        Response { logits, auxiliary, activity }
    }

    fn layers(&self) -> Vec<SynapseLayer<'_>> {
        let alpha = self.choice_weights();
        let outside = |(shape, weight)| SynapseLayer { shape, weight, presence: None, searched: false };
        let mut layers = vec![outside((&self.stem.shape, &self.stem.weight))];
        for cell in &self.cells {
            for convolution in cell.groups.iter().flat_map(|group| &group.convolutions) {
                layers.push(SynapseLayer {
                    shape: &convolution.shape,
                    weight: &convolution.weight,
                    presence: alpha.as_ref().map(|alpha| alpha.get(convolution.choice)),
                    searched: self.searched,
                });
            }
        }
        layers.push(outside(self.head.layer()));
        layers.extend(self.auxiliary.iter().flat_map(|(_, head)| head.layers()).map(outside));
        layers
    }

    fn full_precision_parameters(&self) -> u64 {
        let norms = self.cells.iter().flat_map(|cell| &cell.groups).map(|group| group.norm.parameters());
        let auxiliary = self.auxiliary.as_ref().map_or(0, |(_, head)| head.full_precision_parameters());
        norms.sum::<u64>() + self.stem_norm.parameters() + self.head.full_precision_parameters() + auxiliary
    }
}

impl Supernet for Body {
    fn decode(&self) -> Architecture {
        let weights = self.choice_weights().map(|alpha| Vec::<f32>::try_from(alpha.detach()).unwrap_or_default());
        decode(&weights.unwrap_or_default(), self.kept_nodes)
    }
}
