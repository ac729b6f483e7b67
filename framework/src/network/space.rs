//! Search spaces and the networks they build.

use litesnn_engine::Logits;
use tch::Tensor;

use super::activity::Activity;
use super::compression::{Compressor, Technique, Techniques};
use super::design::{Architecture, Compression};
use super::inheritance::Piece;
use super::layer::{LayerShape, Place};
use super::packing::Packer;
use super::pass::Pass;
use super::path::Path;
use super::weight::CompressedWeight;
use crate::data::DataInfo;
use crate::ground::{Build, Stream};
use crate::{Error, Result};

/// Compressors in the order of the manifest, with their names.
pub type NamedCompressors<'a> = [(&'a str, &'a dyn Compressor)];

/// A search space: it builds the supernet that is searched and the network of a design.
#[typetag::serde]
pub trait SearchSpace: std::fmt::Debug + Send + Sync {
    /// The network that contains every architecture of the space.
    fn supernet(&self, data: &DataInfo, compressors: &NamedCompressors, build: &mut Build)
    -> Result<Box<dyn Supernet>>;

    /// The final network of one architecture. A compressor finds its decisions in `compression`;
    /// where it has none, they are still searched if `open`, as in a supernet.
    fn network(
        &self,
        architecture: &Architecture,
        compression: &Compression,
        open: bool,
        data: &DataInfo,
        compressors: &NamedCompressors,
        build: &mut Build,
    ) -> Result<Box<dyn Network>>;

    /// A random architecture, each of a decoded one's size as likely as any other.
    fn sample(&self, random: &mut Stream) -> Architecture;

    /// The architecture, when the space has one alone: the network is written in the settings, and
    /// only compression and timesteps are left to search.
    fn fixed(&self) -> Option<Architecture> {
        None
    }

    /// Whether the supernet runs the path of one architecture ([`Supernet::path`]). It is asked
    /// before anything runs.
    fn runs_paths(&self) -> bool {
        self.fixed().is_some()
    }

    /// Why a final network cannot begin with the weights of the supernet, such as other widths; `None`
    /// where it can. It is asked before anything runs.
    fn refuses_inheritance(&self) -> Option<Misfit> {
        let message = "the space does not say where the weights of a final network lie in its supernet".to_owned();
        self.fixed().is_none().then(|| Misfit { key: String::new(), message, help: None })
    }

    /// What of the final network of an architecture lies elsewhere in the supernet than under its own
    /// path: see [`Inheritance`](super::Inheritance).
    fn inheritance(&self, _architecture: &Architecture) -> Result<Vec<Piece>> {
        Ok(Vec::new())
    }

    /// A neighbour of an architecture: each node's edges are drawn anew with this `probability`, as
    /// [`SearchSpace::sample`] draws them, and stay otherwise.
    ///
    /// A space whose nodes depend on one another has its own.
    fn mutate(&self, architecture: &Architecture, probability: f64, random: &mut Stream) -> Architecture {
        let other = self.sample(random);
        let nodes = architecture.nodes().max(other.nodes());
        let drawn = Vec::<f32>::try_from(random.uniform(&[nodes as i64], 0.0, 1.0)).expect("as many numbers as nodes");
        architecture.mixed(&other, |node| f64::from(drawn[node]) < probability)
    }

    /// A child of two architectures: the first has the nodes before a random place, and the second
    /// those from there on.
    ///
    /// A space whose nodes depend on one another has its own.
    fn cross(&self, first: &Architecture, second: &Architecture, random: &mut Stream) -> Architecture {
        let nodes = first.nodes().max(second.nodes());
        let cut = match nodes {
            0 | 1 => 0,
            _ => 1 + random.integers(1, nodes as i64 - 1)[0] as usize,
        };
        first.mixed(second, |node| node >= cut)
    }

    /// What of the settings does not fit each other or `data`, of which the shape and the number of
    /// classes count. It is asked before anything runs; what a network cannot be built from anyway
    /// is refused here, with its place.
    fn check(&self, _data: &DataInfo) -> Vec<Misfit> {
        Vec::new()
    }
}

/// A setting that does not fit the others or the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Dotted path of the setting below the plugin's table; an index of an array is a segment:
    /// `layers.3.stride`. Empty for the table itself.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Misfit {
    /// The same as an error of the search space of that name.
    pub fn into_error(self, name: &str) -> Error {
        let help = self.help.map(|help| format!("; {help}")).unwrap_or_default();
        let key = if self.key.is_empty() { String::new() } else { format!("`{}`: ", self.key) };
        Error::Plugin { kind: "space", name: name.to_owned(), message: format!("{key}{}{help}", self.message) }
    }
}

/// A layer with weights, as cost and record see it.
pub struct SynapseLayer<'a> {
    /// Its dimensions.
    pub shape: &'a LayerShape,
    /// Its weight and what compresses it.
    pub weight: &'a CompressedWeight,
    /// Its place in [`Network::presence`]: the operation whose weight says how far the layer is
    /// there; `None` when it is there.
    pub choice: Option<usize>,
    /// Whether the search's cost terms count it.
    pub searched: bool,
}

/// The outcome of a forward pass.
pub struct Response {
    /// `[T, B, K]`: logits of every timestep.
    pub logits: Tensor,
    /// `[T, B, K]`: logits of the head that is used in training only, and the weight of its loss.
    pub auxiliary: Option<(Tensor, f64)>,
    /// For each of [`Network::layers`], in that order: what its input neurons did. Empty unless
    /// [`Pass::measure`]; a layer that reads the image has a rate of 1.
    pub activity: Vec<Activity>,
}

/// A network of spiking neurons.
pub trait Network {
    /// Runs `images` `[B, C, H, W]` for `pass.timesteps` timesteps.
    fn forward(&self, images: &Tensor, pass: &Pass) -> Response;

    /// The layers with weights.
    fn layers(&self) -> Vec<SynapseLayer<'_>>;

    /// How far each operation of a supernet is there, `[choices]`: softmax(alpha), flattened, with
    /// its gradient. `None` where all layers are there.
    fn presence(&self) -> Option<Tensor> {
        None
    }

    /// Number of parameters outside of synapse weights that are stored in full precision:
    /// normalisation and biases, of the channels that are there.
    fn full_precision_parameters(&self) -> u64;

    /// Those of [`Self::full_precision_parameters`] that belong to layers of [`Place::Auxiliary`], which
    /// training alone needs and no file holds.
    fn auxiliary_parameters(&self) -> u64 {
        0
    }

    /// Maps that a training pass keeps beside the output maps of the layers with weights, such as
    /// those of a pooling: where they are, and how many numbers they have for one image and
    /// timestep.
    fn other_maps(&self) -> Vec<(Place, f64)> {
        Vec::new()
    }

    /// Whether all its neurons have a form that kernels compute: others keep more in a training pass.
    fn has_fused_neurons(&self) -> bool {
        true
    }

    /// The techniques of the compressors that act on its layers.
    fn techniques(&self) -> Techniques {
        let layers = self.layers();
        let act = |technique| layers.iter().any(|layer| layer.weight.is_compressed(Techniques::only(technique)));
        Techniques { prune: act(Technique::Prune), quantize: act(Technique::Quantize) }
    }

    /// Writes down what a final network is, for the engine and for other programs: its maps to
    /// `packer`, and its logits.
    ///
    /// # Errors
    ///
    /// What the engine has no form for. A space without this method says that it has none.
    fn packed(&self, _packer: &mut Packer) -> Result<Logits> {
        Err(Error::design(
            "its search space does not say what its networks are made of, so that none can leave as a file",
        ))
    }

    /// What the compressors of these stages decided, by their names; the first layer of a group
    /// speaks for it.
    fn decisions(&self, stages: Techniques) -> Compression {
        let mut all = Compression::new();
        for layer in self.layers() {
            for (compressor, group, decision) in layer.weight.decisions(stages) {
                all.entry(compressor.to_owned()).or_default().entry(group).or_insert(decision);
            }
        }
        all
    }
}

/// A network that contains every architecture of its space.
pub trait Supernet: Network {
    /// The architecture with the largest weights.
    fn decode(&self) -> Architecture;

    /// The path of an architecture of the space, for [`Pass::path`]. A space has it whose
    /// [`SearchSpace::runs_paths`] says so, unless it has one architecture alone.
    fn path(&self, architecture: &Architecture) -> Result<Path> {
        let message = "its supernet does not run the path of one architecture".to_owned();
        Err(Error::Plugin { kind: "space", name: architecture.space.clone(), message })
    }
}
