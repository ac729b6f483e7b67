//! A network without cells, written as a list of layers in the manifest, or taken by its name.
//!
//! Sources: VGG (Simonyan and Zisserman, ICLR 2015); ResNet (He et al., CVPR 2016), as a spiking network
//! Zheng et al. (AAAI 2021); SEW-ResNet (Fang et al., NeurIPS 2021); the networks that compressed spiking
//! networks are compared on (Kim et al., ECCV 2022; Chen et al., IJCAI 2021 and ICML 2022; Wei et al.,
//! ICLR 2025).
//!
//! ```text
//! image [B, C, H, W] -> stem: conv, BN, LIF -> layers and blocks -> classifier, vote -> logits [T, B, K]
//!
//! conv, linear   LIF(BN(W x + b))
//! basic          LIF(BN(W2 LIF(BN(W1 x))) + shortcut(x))             shortcut: x, or BN(W x), or x between zeros
//! sew            g(LIF(BN(W2 LIF(BN(W1 x)))), shortcut(x))           shortcut: x, or LIF(BN(W x))
//!                g(a, s): add a + s, and a s, iand (1 - a) s
//! vote           logit_k = mean of the outputs v k, ..., v k + v - 1
//! ```
//!
//! The space has this network alone. So a manifest without `[optimizer]`, `[search]` and `[design]` trains
//! it, and a search decides about compression and timesteps. The network that is searched is the one that
//! is retrained; `[search]` and `[retrain]` train the same network.
//!
//! # The list
//!
//! `layers` holds a table for each layer, with the key of the layer's kind. A network that is known by its
//! name is such a list, too, and can be copied from below. The first layer is a `conv`, which reads the
//! image: the same current at each timestep, so that it is convolved and normalised once. The last layer is
//! the `classifier`. Linear layers read the flattened map. Kernels of `basic` and `sew` are 3x3.
//!
//! A pooling whose windows leave a row of the map out is refused, with its place in the list, and so are a
//! kernel that is larger than its map and a block whose shortcut does not fit.
//!
//! # Names, groups and what a search counts
//!
//! Layers with weights are numbered from the stem on, a residual block being one: `stem`, `block1.conv`,
//! `block2.conv1`, `block2.conv2`, `block2.shortcut`, ..., `classifier`. Each `blockN` is a group, whose
//! layers share a bit-width. All compressors act on all layers, in the search and in the final network;
//! stem and classifier have a quantiser's `outside` bits. The cost terms of a search count the blocks: what
//! is to be decided is decided there, and stem and classifier would add the same to each decision.
//!
//! # Operations
//!
//! The stem multiplies. Every other layer adds: max pooling leaves spikes spikes, and an average of k spikes
//! is their sum, with 1/k in the weights of the next layer. So each spike of an average, and each of the sum
//! that `sew` with `add` makes, costs an addition for each connection, in the classifier as well. Firing
//! rates of these layers are spikes that arrive at an input at one timestep, and can be above 1.
//! `zero-padding` and `identity` cost nothing. Numbers that dropout leaves are not counted: what is counted is
//! what neurons fire.
//!
//! # The networks by name
//!
//! What the sources leave open is the usual form, and can be changed in a copy: `vgg9` and `vgg11` as in
//! most spiking networks; the strides of `resnet20`; where the two dropouts of `6conv2fc` stand; neurons
//! after the hidden linear layers of `vgg9` and `resnet19-stem64`. All neurons are those of the settings.
//!
//! ```toml
//! # Networks by name, as `layers` of a manifest has them. Copy one into a manifest to change it.
//!
//! # VGG-9 with average pooling, as spiking VGGs of nine layers usually have it.
//! [vgg9]
//! layers = [
//!   { conv = 64, times = 2 }, { average_pool = 2 },
//!   { conv = 128, times = 2 }, { average_pool = 2 },
//!   { conv = 256, times = 3 }, { average_pool = 2 },
//!   { linear = 1024 },
//!   { classifier = 1 },
//! ]
//!
//! # VGG-11 (configuration A of Simonyan and Zisserman, ICLR 2015) with one linear layer.
//! [vgg11]
//! layers = [
//!   { conv = 64 }, { max_pool = 2 },
//!   { conv = 128 }, { max_pool = 2 },
//!   { conv = 256, times = 2 }, { max_pool = 2 },
//!   { conv = 512, times = 2 }, { max_pool = 2 },
//!   { conv = 512, times = 2 }, { max_pool = 2 },
//!   { classifier = 1 },
//! ]
//!
//! # VGG-16 of Kim et al., ECCV 2022: convolutions with a bias, one linear layer.
//! [vgg16]
//! layers = [
//!   { conv = 64, times = 2, bias = true }, { max_pool = 2 },
//!   { conv = 128, times = 2, bias = true }, { max_pool = 2 },
//!   { conv = 256, times = 3, bias = true }, { max_pool = 2 },
//!   { conv = 512, times = 3, bias = true }, { max_pool = 2 },
//!   { conv = 512, times = 3, bias = true }, { max_pool = 2 },
//!   { classifier = 1 },
//! ]
//!
//! # ResNet-18 for images of 32 x 32 (KDSNN, Xu et al., CVPR 2023).
//! [resnet18]
//! layers = [
//!   { conv = 64 },
//!   { basic = 64, times = 2 },
//!   { basic = 128, times = 2, stride = 2 },
//!   { basic = 256, times = 2, stride = 2 },
//!   { basic = 512, times = 2, stride = 2 },
//!   { global_average = true },
//!   { classifier = 1 },
//! ]
//!
//! # ResNet-19 with a stem of 128 channels and no hidden linear layer.
//! [resnet19]
//! layers = [
//!   { conv = 128 },
//!   { basic = 128, times = 3 },
//!   { basic = 256, times = 3, stride = 2 },
//!   { basic = 512, times = 2, stride = 2 },
//!   { global_average = true },
//!   { classifier = 1 },
//! ]
//!
//! # ResNet-19 of Kim et al., ECCV 2022: a stem of 64 channels, stride 2 in each stage, a hidden linear layer.
//! [resnet19-stem64]
//! layers = [
//!   { conv = 64 },
//!   { basic = 128, times = 3, stride = 2 },
//!   { basic = 256, times = 3, stride = 2 },
//!   { basic = 512, times = 2, stride = 2 },
//!   { global_average = true },
//!   { linear = 256 },
//!   { classifier = 1 },
//! ]
//!
//! # ResNet-20 of QP-SNN (Wei et al., ICLR 2025): zero-padded shortcuts.
//! [resnet20]
//! layers = [
//!   { conv = 64 },
//!   { basic = 128, times = 3, shortcut = "zero-padding" },
//!   { basic = 256, times = 3, stride = 2, shortcut = "zero-padding" },
//!   { basic = 512, times = 3, stride = 2, shortcut = "zero-padding" },
//!   { global_average = true },
//!   { classifier = 1 },
//! ]
//!
//! # SEW-ResNet-18 (Fang et al., NeurIPS 2021) for images of 224 x 224.
//! [sew-resnet18]
//! layers = [
//!   { conv = 64, kernel = 7, stride = 2 }, { max_pool = 3, stride = 2, padding = 1 },
//!   { sew = 64, times = 2 },
//!   { sew = 128, times = 2, stride = 2 },
//!   { sew = 256, times = 2, stride = 2 },
//!   { sew = 512, times = 2, stride = 2 },
//!   { global_average = true },
//!   { classifier = 1 },
//! ]
//!
//! # 6Conv2FC of Grad R (Chen et al., IJCAI 2021) and STDS (Chen et al., ICML 2022): ten neurons vote for each class.
//! [6conv2fc]
//! layers = [
//!   { conv = 256, times = 3 }, { max_pool = 2 },
//!   { conv = 256, times = 3 }, { max_pool = 2 },
//!   { dropout = 0.5 }, { linear = 2048, bias = false },
//!   { dropout = 0.5 }, { classifier = 10, bias = false, spiking = true },
//! ]
//! ```

mod named;
mod network;
mod parts;
mod settings;
mod signal;
mod walk;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Stream};
use litesnn_framework::network::{Architecture, Compression, Misfit, NamedCompressors, Network, SearchSpace, Supernet};
use litesnn_framework::{Error, Result, register};

use network::Body;
use parts::Builder;
use settings::NAME;
use walk::pieces;

pub use settings::Layers;

register! {
    kind: Space,
    name: "layers",
    settings: Layers,
    version: 1,
    summary: "a network without cells, by name (VGG, ResNet, SEW-ResNet) or as a list of layers",
    paper: "Simonyan and Zisserman, VGG, ICLR 2015; He et al., ResNet, CVPR 2016; Fang et al., SEW-ResNet, NeurIPS 2021",
    examples: [
        "[space.layers]\nlayers = [\n  { conv = 8, stride = 2 }, { max_pool = 2 },\n  { basic = 12, stride = 2 }, { sew = 12 }, { average_pool = 2 },\n  { dropout = 0.25 }, { linear = 16 },\n  { classifier = 2 },\n]",
        "[space.layers]\nnetwork = \"resnet20\"\nwidth = 0.125",
        "[space.layers]\nlayers = [\n  { conv = 6, kernel = 5, stride = 2, bias = true },\n  { basic = 8, stride = 2, inner = 4, shortcut = \"zero-padding\" },\n  { sew = 8, connect = \"iand\", shortcut = \"projection\" }, { sew = 8, connect = \"and\" },\n  { conv = 8, norm = false, times = 2 }, { global_average = true },\n  { linear = 16, bias = false, norm = true }, { classifier = 4, bias = false, spiking = true },\n]",
    ],
    file: "layers.rs",
}

/// The architecture that every design of this space has.
fn only_architecture() -> Architecture {
    Architecture { space: NAME.into(), edges: Vec::new() }
}

impl Layers {
    fn body(
        &self,
        compression: &Compression,
        open: bool,
        data: &DataInfo,
        compressors: &NamedCompressors,
        build: &mut Build,
    ) -> Result<Body> {
        let refused = |misfits: Vec<Misfit>| {
            let first = misfits.into_iter().next().expect("a list that does not fit says why");
            first.into_error(NAME)
        };
        let pieces = pieces(self, data).map_err(refused)?;
        let builder = Builder { space: self, compressors, compression, open };
        Body::new(&pieces, &builder, build)
    }
}

#[typetag::serde(name = "layers")]
impl SearchSpace for Layers {
    fn supernet(
        &self,
        data: &DataInfo,
        compressors: &NamedCompressors,
        build: &mut Build,
    ) -> Result<Box<dyn Supernet>> {
        Ok(Box::new(self.body(&Compression::new(), true, data, compressors, build)?))
    }

    fn network(
        &self,
        architecture: &Architecture,
        compression: &Compression,
        open: bool,
        data: &DataInfo,
        compressors: &NamedCompressors,
        build: &mut Build,
    ) -> Result<Box<dyn Network>> {
        if let Some(edge) = architecture.edges.first() {
            let message = format!(
                "the design has an edge from `{}` to node {}, and a network of layers has no cell",
                edge.from, edge.node
            );
            return Err(Error::Plugin { kind: "space", name: NAME.into(), message });
        }
        Ok(Box::new(self.body(compression, open, data, compressors, build)?))
    }

    fn sample(&self, _random: &mut Stream) -> Architecture {
        only_architecture()
    }

    fn fixed(&self) -> Option<Architecture> {
        Some(only_architecture())
    }

    fn check(&self, data: &DataInfo) -> Vec<Misfit> {
        pieces(self, data).err().unwrap_or_default()
    }
}
