//! A chain of layers, each with a kernel of 3x3 or 1x1.
//!
//! Source: the mixed operation of DARTS (Liu et al., ICLR 2019), on a chain instead of a cell.
//!
//! ```text
//! image -> stem: conv 3x3, BN, LIF -> layer 1 .. layer n -> mean over the map -> classifier -> logits [T, B, K]
//! layer(x) = LIF( sum_o softmax(alpha)_o · BN(conv_o(x)) ), o in {conv3x3, conv1x1}          decoded: o = argmax alpha
//! ```
//!
//! All maps have the size that the stem leaves. An edge of the design is a layer: node i reads
//! `n(i-1)`, node 0 the stem, `s0`.

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Role, Stream};
use litesnn_framework::network::{
    Activity, Architecture, CompressedWeight, Compression, Compressor, Edge, Input, LayerShape, LayerSpec, Network,
    Pass, Place, Response, SearchSpace, Supernet, SynapseLayer,
};
use litesnn_framework::spiking::{
    BatchNorm, NeuronSettings, Neurons, Statistics, fold_time, kaiming_fan_out, unfold_time,
};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

const NAME: &str = "template-space";
/// The candidates of a layer, with the side of their kernel.
const OPERATIONS: [(&str, i64); 2] = [("conv3x3", 3), ("conv1x1", 1)];

/// Settings of `template-space`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateSpace {
    /// Searched layers.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "layers"))]
    pub layers: usize,
    /// Channels of each layer.
    #[schemars(range(min = 1, max = 4096), extend("x-unit" = "channels"))]
    pub channels: i64,
    /// Stride of the stem's convolution.
    #[schemars(range(min = 1, max = 4), extend("x-unit" = "pixels"))]
    pub stem_stride: i64,
    /// All neurons.
    #[serde(flatten)]
    pub neurons: NeuronSettings,
}

impl Default for TemplateSpace {
    fn default() -> Self {
        TemplateSpace { layers: 3, channels: 16, stem_stride: 2, neurons: NeuronSettings::default() }
    }
}

register! {
    kind: Space,
    name: "template-space",
    settings: TemplateSpace,
    version: 1,
    summary: "a chain of convolutions, each with a kernel of 3x3 or 1x1",
    paper: "Liu et al., DARTS, ICLR 2019",
    examples: ["[space.template-space]\nlayers = 2\nchannels = 8"],
    file: "template_space.rs",
}

type Named<'a> = [(&'a str, &'a dyn Compressor)];

#[typetag::serde(name = "template-space")]
impl SearchSpace for TemplateSpace {
    fn supernet(&self, data: &DataInfo, compressors: &Named, build: &mut Build) -> Result<Box<dyn Supernet>> {
        let size = [self.layers as i64, OPERATIONS.len() as i64];
        let alpha = build.parameter("alpha", Role::ArchitectureLogit, |stream| stream.normal(&size) * 1e-3);
        let all: Vec<Vec<usize>> = (0..self.layers).map(|_| (0..OPERATIONS.len()).collect()).collect();
        let compression = Compressors { named: compressors, decided: &Compression::new(), open: true };
        Ok(Box::new(self.chain(&all, Some(alpha), data, &compression, build)?))
    }

    fn network(
        &self,
        architecture: &Architecture,
        compression: &Compression,
        open: bool,
        data: &DataInfo,
        compressors: &Named,
        build: &mut Build,
    ) -> Result<Box<dyn Network>> {
        let chosen = self.read(&architecture.edges)?;
        let compression = Compressors { named: compressors, decided: compression, open };
        Ok(Box::new(self.chain(&chosen, None, data, &compression, build)?))
    }

    fn sample(&self, random: &mut Stream) -> Architecture {
        let edge = |node| {
            let operation = OPERATIONS[random.permutation(OPERATIONS.len())[0] as usize].0.to_owned();
            Edge { node, from: source(node), operation }
        };
        Architecture { space: NAME.into(), edges: (0..self.layers).map(edge).collect() }
    }
}

/// What compresses the weights, and what was decided about it.
struct Compressors<'a> {
    named: &'a Named<'a>,
    decided: &'a Compression,
    /// Whether what is not decided is searched.
    open: bool,
}

fn source(node: usize) -> String {
    if node == 0 { "s0".into() } else { format!("n{}", node - 1) }
}

impl TemplateSpace {
    /// The operation of each layer of a design.
    fn read(&self, edges: &[Edge]) -> Result<Vec<Vec<usize>>> {
        let refuse = |message: String| Error::Plugin { kind: "space", name: NAME.into(), message };
        let operation = |node: usize| {
            let edge = edges.iter().find(|edge| edge.node == node && edge.from == source(node));
            let edge =
                edge.ok_or_else(|| refuse(format!("the design has no edge from `{}` to node {node}", source(node))))?;
            let index = OPERATIONS.iter().position(|(name, _)| *name == edge.operation);
            let index = index.ok_or_else(|| {
                refuse(format!("operation `{}` is not known; known are `conv3x3`, `conv1x1`", edge.operation))
            })?;
            Ok(vec![index])
        };
        if edges.len() != self.layers {
            return Err(refuse(format!("the design has {} edges, and the chain {} layers", edges.len(), self.layers)));
        }
        (0..self.layers).map(operation).collect()
    }

    fn chain(
        &self,
        operations: &[Vec<usize>],
        alpha: Option<Tensor>,
        data: &DataInfo,
        compression: &Compressors,
        build: &mut Build,
    ) -> Result<Chain> {
        let [channels, height, width] = data.shape;
        let map = ((height - 1) / self.stem_stride + 1, (width - 1) / self.stem_stride + 1);
        // As in LitE-SNN, stem and classifier are compressed in the final network alone.
        let outside = Compressors { named: if alpha.is_some() { &[] } else { compression.named }, ..*compression };
        let shape = |name: String, place, side, inputs, outputs, map, reads| LayerShape {
            name,
            place,
            kernel: (side, side),
            inputs,
            outputs,
            groups: 1,
            input_map: map,
            stride: 1,
            padding: side / 2,
            map,
            reads,
        };
        let stem = shape("stem".into(), Place::Stem, 3, channels, self.channels, map, Input::Image);
        let stem = LayerShape { input_map: (height, width), stride: self.stem_stride, ..stem };
        let stem = Convolution::new(stem, 0, &outside, &mut build.at("stem"))?;
        let mut neurons = vec![Neurons::new(&self.neurons, &mut build.at("stem.neurons"))];
        let mut layers = Vec::new();
        for (index, choices) in operations.iter().enumerate() {
            let mut candidates = Vec::new();
            for &choice in choices {
                let (operation, side) = OPERATIONS[choice];
                let name = format!("layer{index}.{operation}");
                let mut at = build.at(&name);
                let shape = shape(name, Place::Cell(index), side, self.channels, self.channels, map, Input::Spikes);
                let choice = index * OPERATIONS.len() + choice;
                candidates.push(Convolution::new(shape, choice, compression, &mut at)?);
            }
            layers.push(candidates);
            neurons.push(Neurons::new(&self.neurons, &mut build.at(format!("layer{index}.neurons"))));
        }
        let classes = data.classes.len() as i64;
        let head = shape("classifier".into(), Place::Classifier, 1, self.channels, classes, (1, 1), Input::Pooled);
        let mut at = build.at("classifier");
        let bound = 1.0 / (self.channels as f64).sqrt();
        let bias = at.parameter("bias", Role::Weight, |stream| stream.uniform(&[classes], -bound, bound));
        let weight = outside.weight(&head, &[classes, self.channels], &mut at)?;
        Ok(Chain { stem, layers, neurons, alpha, open: compression.open, head: (head, weight), bias })
    }
}

impl Compressors<'_> {
    fn weight(&self, shape: &LayerShape, size: &[i64], build: &mut Build) -> Result<CompressedWeight> {
        let spec = LayerSpec { name: shape.name.clone(), place: shape.place, population: None };
        let init = |stream: &mut _| kaiming_fan_out(stream, size);
        CompressedWeight::new(spec, init, self.named.iter().copied(), self.decided, self.open, build)
    }
}

/// A convolution and its normalisation.
struct Convolution {
    shape: LayerShape,
    weight: CompressedWeight,
    norm: BatchNorm,
    /// Its place in the flattened alpha.
    choice: usize,
}

impl Convolution {
    fn new(shape: LayerShape, choice: usize, compression: &Compressors, build: &mut Build) -> Result<Convolution> {
        let size = [shape.outputs, shape.inputs, shape.kernel.0, shape.kernel.1];
        let weight = compression.weight(&shape, &size, build)?;
        let norm = BatchNorm::new(shape.outputs, Statistics::AllTimesteps, &mut build.at("norm"));
        Ok(Convolution { shape, weight, norm, choice })
    }

    /// `[N, C, H, W]` to `[N, C', H', W']`.
    fn current(&self, input: &Tensor, pass: &Pass) -> Tensor {
        let LayerShape { stride, padding, .. } = self.shape;
        let weight = pass.weight(&self.weight);
        let current = match self.shape.reads {
            Input::Image => pass.convolve_image(input, &weight, stride, padding),
            _ => pass.convolve(input, &weight, stride, padding),
        };
        self.norm.forward(&current, None, pass.timesteps, pass.training)
    }
}

/// A network of this space: the supernet when it has alpha.
struct Chain {
    stem: Convolution,
    layers: Vec<Vec<Convolution>>,
    /// Of the stem, then of each layer.
    neurons: Vec<Neurons>,
    alpha: Option<Tensor>,
    /// Whether something is still to be decided.
    open: bool,
    head: (LayerShape, CompressedWeight),
    bias: Tensor,
}

impl Network for Chain {
    fn forward(&self, images: &Tensor, pass: &Pass) -> Response {
        let presence = self.presence();
        let mut activity = Vec::new();
        // The image is the same at every timestep: convolved once.
        let current = self.stem.current(images, pass);
        let (of_stem, of_layers) = self.neurons.split_first().expect("the stem has neurons");
        let mut spikes = fold_time(&of_stem.spikes_of_constant(&current, pass.timesteps));
        activity.extend(pass.activity_of_constant(images));
        for (candidates, neurons) in self.layers.iter().zip(of_layers) {
            let read = pass.activity(&spikes);
            activity.extend(candidates.iter().filter_map(|_| read.as_ref().map(Activity::shallow_clone)));
            let currents = candidates.iter().map(|candidate| {
                let current = candidate.current(&spikes, pass);
                match &presence {
                    Some(presence) => current * presence.get(candidate.choice as i64),
                    None => current,
                }
            });
            let current = currents.reduce(|sum, current| sum + current).expect("a layer has a candidate");
            spikes = fold_time(&neurons.spikes(&unfold_time(&current, pass.timesteps)));
        }
        let features = spikes.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
        activity.extend(pass.activity(&features.unsqueeze(-1).unsqueeze(-1)));
        let logits = features.linear(&pass.weight(&self.head.1), Some(&self.bias));
        Response { logits: unfold_time(&logits, pass.timesteps), auxiliary: None, activity }
    }

    fn layers(&self) -> Vec<SynapseLayer<'_>> {
        let plain = |shape, weight| SynapseLayer { shape, weight, choice: None, searched: false };
        let mut all = vec![plain(&self.stem.shape, &self.stem.weight)];
        for candidates in &self.layers {
            all.extend(candidates.iter().map(|candidate| SynapseLayer {
                shape: &candidate.shape,
                weight: &candidate.weight,
                choice: self.alpha.as_ref().map(|_| candidate.choice),
                searched: self.open,
            }));
        }
        all.push(plain(&self.head.0, &self.head.1));
        all
    }

    fn has_fused_neurons(&self) -> bool {
        self.neurons.iter().all(Neurons::are_fused)
    }

    /// The weights of both candidates of each layer in turn.
    fn presence(&self) -> Option<Tensor> {
        self.alpha.as_ref().map(|alpha| alpha.softmax(1, Kind::Float).flatten(0, -1))
    }

    fn full_precision_parameters(&self) -> u64 {
        let norms = self.layers.iter().flatten().map(|candidate| candidate.norm.parameters()).sum::<u64>();
        let learned = self.neurons.iter().map(Neurons::parameters).sum::<u64>();
        norms + learned + self.stem.norm.parameters() + self.bias.numel() as u64
    }
}

impl Supernet for Chain {
    fn decode(&self) -> Architecture {
        let best = self.alpha.as_ref().map(|alpha| Vec::<i64>::try_from(alpha.argmax(1, false)).unwrap_or_default());
        let edges = best.unwrap_or_default().into_iter().enumerate().map(|(node, choice)| Edge {
            node,
            from: source(node),
            operation: OPERATIONS[choice as usize].0.into(),
        });
        Architecture { space: NAME.into(), edges: edges.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_design_is_read_layer_by_layer() {
        let space = TemplateSpace { layers: 2, ..TemplateSpace::default() };
        let edge = |node, from: &str, operation: &str| Edge { node, from: from.into(), operation: operation.into() };
        let read = space.read(&[edge(0, "s0", "conv1x1"), edge(1, "n0", "conv3x3")]).unwrap();
        assert_eq!(read, [[1], [0]]);
        let error = space.read(&[edge(0, "s0", "conv5x5"), edge(1, "n0", "conv3x3")]).unwrap_err().to_string();
        assert!(error.contains("operation `conv5x5` is not known"), "{error}");
    }
}
