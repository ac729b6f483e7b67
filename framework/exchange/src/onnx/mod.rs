//! ONNX: a network as a graph of operators that onnxruntime and others run.
//!
//! # What is in the file
//!
//! Input `pixels`, f32 `[B, C, H, W]` from 0 to 1 with any B; output `logits`, f32 `[B, K]`, the means
//! over all T timesteps. The graph computes what [`litesnn_engine::Network`] defines, operation for
//! operation, so that a runtime that rounds each operation gives the engine's bits:
//!
//! | in the network | in the graph |
//! |---|---|
//! | x = (pixel - mean) / std | Sub, Div |
//! | levels | integers, and DequantizeLinear with scale 1 ([`Width`]) |
//! | I = scale · n + bias | Conv, whose sum n is a whole number, then Mul and Add |
//! | the same of the image | for each tap Slice, Mul and Add, since the order of rounded sums matters |
//! | currents of a node | Add, one after another; the image's are computed once, and repeated T times |
//! | u > threshold, reset | for each timestep Mul, Add, Greater, Where, Cast |
//! | side by side, resized | Concat; Gather of rows and of columns, whose places litesnn computes |
//! | largest, sums | Pad and MaxPool; Conv with ones in groups, or ReduceSum over a whole map |
//! | joins, widened, flat | Add, Mul, Sub; Slice and Pad; Reshape |
//! | votes and timesteps | Split, and Adds in libtorch's order: blocks of 16 timesteps; then Div |
//!
//! **Time is folded into the batch**, as in litesnn: a map is `[T · B, C, H, W]`, timestep after
//! timestep. So a convolution sees all timesteps at once, and neurons alone are unrolled. Resize is
//! not used, because its places are rounded in f32.
//!
//! # What is refused
//!
//! See [`Refusal`]. The network has to be sound: shapes that fit, and maps that read maps before
//! them.

mod graph;
mod layers;
pub mod message;

use std::fmt;

use litesnn_engine::{EarlyExit, Network};
use prost::Message as _;

use crate::exit_rule;
use message::{Entry, Model, OperatorSet};

/// What a file holds beside the network itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// How levels are held.
    pub width: Width,
    /// Whether the spikes of every map of neurons are outputs, too: `[T · B, C, H, W]` under the map's
    /// name, timestep after timestep.
    pub spikes: bool,
    /// Whether a network that stops early is written nevertheless. The file then answers at T.
    pub past_exit: bool,
    /// Entries of the metadata: where the network comes from, such as its digest and its accuracy.
    pub facts: Vec<(String, String)>,
}

/// How levels are held. A layer whose levels a width does not hold (four bits hold -8 to 7) gets the
/// next width that does; 16 bits hold any level. Weights that nothing quantises are f32 always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Width {
    /// f32, without DequantizeLinear: for runtimes that lack it. An optimiser then folds scale and
    /// bias into the weights, and the currents are rounded.
    Float,
    /// INT8; the operators are those of opset 21.
    #[default]
    Int8,
    /// INT4; the operators are those of opset 25.
    Int4,
    /// INT2; the operators are those of opset 25.
    Int2,
}

impl Width {
    /// The version of the operators, and the version of the file that came with it.
    fn versions(self) -> (i64, i64) {
        match self {
            Width::Float | Width::Int8 => (21, 10),
            Width::Int4 | Width::Int2 => (25, 13),
        }
    }
}

/// Why ONNX cannot hold a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The network stops at a timestep that depends on the image; a graph runs all of them.
    /// [`Options::past_exit`] writes it with its answers at T.
    StopsEarly(EarlyExit),
    /// More timesteps than are unrolled.
    Timesteps(usize),
    /// More bytes than a protobuf message can have.
    Bytes(usize),
}

/// The most timesteps: up to here, libtorch adds them in blocks of 16.
const TIMESTEPS: usize = 255;

/// The most bytes of a protobuf message.
const BYTES: usize = i32::MAX as usize;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Refusal::StopsEarly(exit) => write!(
                f,
                "the network stops at {}, and an ONNX graph runs all timesteps, so that its answers would differ",
                exit_rule(*exit)
            ),
            Refusal::Timesteps(timesteps) => {
                write!(f, "{timesteps} timesteps, and an ONNX graph, which unrolls them, has at most {TIMESTEPS}")
            }
            Refusal::Bytes(bytes) => write!(
                f,
                "{bytes} bytes, and an ONNX file has at most {BYTES}; a smaller width of the levels takes fewer"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// The bytes of an ONNX file. The same network and options give the same bytes.
///
/// # Errors
///
/// [`Refusal`], where ONNX cannot hold the network.
pub fn write(network: &Network, options: &Options) -> Result<Vec<u8>, Refusal> {
    if let Some(exit) = network.exit.filter(|_| !options.past_exit) {
        return Err(Refusal::StopsEarly(exit));
    }
    if network.timesteps > TIMESTEPS {
        return Err(Refusal::Timesteps(network.timesteps));
    }
    let (opset, ir_version) = options.width.versions();
    let model = Model {
        ir_version,
        producer_name: "litesnn".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: "A spiking neural network. Maps are [T·B, C, H, W], timestep after timestep.".to_owned(),
        graph: Some(layers::graph(network, options)),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: opset }],
        metadata: metadata(network, options),
    };
    match model.encoded_len() {
        bytes if bytes > BYTES => Err(Refusal::Bytes(bytes)),
        _ => Ok(model.encode_to_vec()),
    }
}

fn metadata(network: &Network, options: &Options) -> Vec<Entry> {
    let mut entries = vec![
        ("timesteps".to_owned(), network.timesteps.to_string()),
        ("classes".to_owned(), network.classes.join("\n")),
    ];
    if network.exit.is_some() {
        entries.push(("early_exit".to_owned(), "left out: the logits are those of all timesteps".to_owned()));
    }
    entries.extend(options.facts.iter().cloned());
    entries.into_iter().map(|(key, value)| Entry { key, value }).collect()
}
