//! NIR: a network as a graph of the Neuromorphic Intermediate Representation (Pedersen et al.,
//! Nature Communications 2024), in the HDF5 file of package `nir` 1.0.8.
//!
//! # What is in the file
//!
//! The node `input` is the normalised image `[C, H, W]`, the same at every timestep; `output` is
//! the logits of a timestep, `[K, 1, 1]`. Their mean over T timesteps is the answer: neither mean
//! nor T is anything that NIR has, so both stand in the metadata.
//!
//! | in the network | in NIR |
//! |---|---|
//! | synapses | Conv2d in one group: weight = scale · level in f32; zeros outside of groups |
//! | currents of a node | edges into its LIF, which adds them; an edge from LIF to LIF where spikes are handed on |
//! | side by side, added | nothing: what reads the map has a Conv2d for each of its parts |
//! | resized, widened | nothing: Conv2d with n-fold stride, dilation and padding, which read every n-th row |
//! | flat | nothing: the linear layer is a Conv2d with a kernel as large as the map |
//! | sums of windows | AvgPool2d, and weights times the numbers of a window |
//! | largest of spikes | AvgPool2d, and a LIF that spikes when one spike or more is in the window |
//! | votes | a Conv2d of 1x1 whose weights are 1/votes |
//!
//! # Neurons
//!
//! NIR's LIF is tau v' = v_leak - v + r I. A step of forward Euler, which importers take, gives
//! v(t) = (1 - dt/tau) v(t-1) + (r dt/tau) I(t). So with dt = 1e-4 s, on which importers agree,
//!
//! tau = dt / (1 - decay), r = 1 / (1 - decay), v_leak = v_reset = 0
//!
//! and v_threshold is the next f32 above the threshold: some importers fire at the threshold
//! itself, the network above it. Where a network multiplies its currents by 1 - decay, r is 1;
//! another gain is in the weights.
//!
//! # Rounding
//!
//! NIR has no levels: scale and bias are folded into f32 weights, and importers add branches in an
//! order of their own. So potentials agree within rounding, and a potential next to the threshold
//! may fall to the other side. `docs/nir.md` says how many did.
//!
//! # What is refused
//!
//! See [`Refusal`]. The network has to be sound: [`litesnn_engine::Network::check`].

mod file;
mod graph;
mod layers;
mod parts;

use std::fmt;

use litesnn_engine::{EarlyExit, Network};

use crate::exit_rule;
use file::Fact;

/// Seconds of a timestep.
pub const DT: f64 = 1e-4;

/// What a file holds beside the network itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Whether r is 1 in every neuron, and weights have the factor 1 / (1 - decay): for importers
    /// that ignore r, such as Norse. The weights are rounded once more.
    pub unit_resistance: bool,
    /// Whether a network that stops early is written nevertheless. The file then answers at T.
    pub past_exit: bool,
    /// Entries of the metadata: where the network comes from, such as its digest and its accuracy.
    /// A key has no `/`.
    pub facts: Vec<(String, String)>,
}

/// Why NIR cannot hold a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The network stops at a timestep that depends on the image; who runs a file decides on T
    /// alone. [`Options::past_exit`] writes it with its answers at T.
    StopsEarly(EarlyExit),
    /// A map or a layer that has no form in NIR.
    Layer {
        /// The map or the layer.
        name: String,
        /// What NIR does not have.
        why: String,
    },
    /// HDF5 cannot hold it.
    File(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Refusal::StopsEarly(exit) => write!(
                f,
                "the network stops at {}, and a NIR graph has no rule to stop, so that its answers would differ",
                exit_rule(*exit)
            ),
            Refusal::Layer { name, why } => write!(f, "`{name}`: {why}"),
            Refusal::File(why) => write!(f, "no HDF5 file holds it: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// The bytes of a NIR file. The same network and options give the same bytes.
///
/// # Errors
///
/// [`Refusal`], where NIR cannot hold the network.
pub fn write(network: &Network, options: &Options) -> Result<Vec<u8>, Refusal> {
    if let Some(exit) = network.exit.filter(|_| !options.past_exit) {
        return Err(Refusal::StopsEarly(exit));
    }
    let graph = layers::graph(network, options)?;
    file::bytes(&graph, &metadata(network, options)).map_err(|error| Refusal::File(error.to_string()))
}

fn metadata(network: &Network, options: &Options) -> Vec<(String, Fact)> {
    let text = |text: &str| Fact::Text(text.to_owned());
    let mut facts = vec![
        ("producer", text(concat!("litesnn ", env!("CARGO_PKG_VERSION")))),
        ("timesteps", Fact::Integer(network.timesteps as i64)),
        ("dt", Fact::Number(DT)),
        ("input", text("the image at every timestep, [C, H, W]: (pixel - mean) / std, pixels from 0 to 1")),
        ("mean", Fact::Numbers(network.image.mean.clone())),
        ("std", Fact::Numbers(network.image.std.clone())),
        ("output", text("the logits of a timestep, [K, 1, 1]; the answer is their mean over all timesteps")),
        ("classes", text(&network.classes.join("\n"))),
    ];
    if network.exit.is_some() {
        facts.push(("early_exit", text("left out: the answer is that of all timesteps")));
    }
    let facts = facts.into_iter().map(|(key, fact)| (key.to_owned(), fact));
    facts.chain(options.facts.iter().map(|(key, value)| (key.clone(), text(value)))).collect()
}
