//! The packed file of a network. `docs/packed-file.md` describes it for readers in other languages.
//!
//! It is a file of safetensors with three tensors:
//!
//! | tensor | type | what |
//! |---|---|---|
//! | `graph` | U8 | JSON: maps, layers, classes, where accuracy was measured (`graph.rs`) |
//! | `numbers` | F32 | means and deviations of the image; then of each layer scales, biases, kept f32 weights |
//! | `weights` | U8 | of each layer in the same order, the mask, then the codes of the kept weights, each from a whole byte on |
//!
//! A code q of b bits stands for the level first + step · q. The mask is coded in the shortest way
//! ([`mask`]). The key `litesnn packed 1` of the metadata has the SHA-256 of all bytes
//! behind the header: `numbers`, `graph`, `weights`. A reader refuses everything that it does not know, and every number that does not
//! fit the others, before it allocates for it.

mod graph;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::check::Flaw;
use crate::mask::{self, BitReader, BitWriter, Coding};
use crate::memory::{product, sum};
use crate::network::{Network, Synapses, Values};
use graph::{Graph, Grid, Layer, Weights};

/// Where a network comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provenance {
    /// What made the file, such as `litesnn 0.1.0`.
    pub producer: String,
    /// The trial, or the name of the design.
    pub name: String,
    /// Accuracy, 0 to 1, as it was measured; NaN where it was not.
    pub accuracy: f64,
    /// On what: data set, split and number of images.
    pub measured_on: String,
    /// The paper's model size in bytes, which counts no masks.
    pub claimed_bytes: f64,
    /// What makes the network's input of what is no image, such as a sound; empty where nothing
    /// does. JSON of the program that wrote the file, which this crate hands on as it is.
    pub input: String,
}

/// The key of the metadata, with the version of the format in it.
const KEY: &str = "litesnn packed 1";
/// What reading a file and running its network allocate at most, in bytes.
pub const LIMIT: usize = 1 << 30;
/// The longest header, in bytes; three tensors and a digest take less than 400.
const HEADER: usize = 1 << 12;
/// Bytes of memory at most that a byte of the graph becomes.
const OF_GRAPH: usize = 64;

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no packed file, or one of another version.
    Format(String),
    /// Its bytes are not those that were written.
    Damaged(String),
    /// A layer does not fit its own numbers.
    Layer {
        /// The layer.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// It holds a network that is not sound.
    Flaw(Flaw),
    /// It needs more memory than the limit.
    TooLarge {
        /// Bytes that it needs: of all, or of the part that alone is over the limit.
        needed: usize,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Unreadable::Format(what) => write!(f, "this is no packed network that can be read: {what}"),
            Unreadable::Damaged(what) => write!(f, "the file is damaged: {what}"),
            Unreadable::Layer { name, what } => write!(f, "the file is damaged: layer `{name}`: {what}"),
            Unreadable::Flaw(flaw) => write!(f, "the file holds a network that cannot run: {flaw}"),
            Unreadable::TooLarge { needed, limit } => {
                write!(f, "to be read and run, it needs {needed} bytes of memory or more, and {limit} are allowed")
            }
        }
    }
}

impl core::error::Error for Unreadable {}

/// The file of a sound network.
///
/// # Errors
///
/// A flaw of the network, or levels that no 16 bits hold.
pub fn write(network: &Network, provenance: &Provenance) -> Result<Vec<u8>, Flaw> {
    network.check()?;
    let (mut numbers, mut weights) = (Vec::<f32>::new(), Vec::new());
    numbers.extend(&network.image.mean);
    numbers.extend(&network.image.std);
    let mut layers = Vec::new();
    for (synapses, _) in network.layers() {
        layers.push(write_layer(synapses, &mut numbers, &mut weights));
    }
    let graph = Graph::of(network, layers, provenance);
    let graph = serde_json::to_vec(&graph).expect("a graph is plain data");
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let digest = digest([&numbers, &graph, &weights]);
    let parts = [("graph", Dtype::U8, &graph), ("numbers", Dtype::F32, &numbers), ("weights", Dtype::U8, &weights)];
    let views = parts.map(|(name, kind, bytes)| {
        let count = if kind == Dtype::F32 { bytes.len() / 4 } else { bytes.len() };
        (name, TensorView::new(kind, vec![count], bytes).expect("as many bytes as numbers"))
    });
    let metadata = core::iter::once((KEY.to_string(), digest)).collect();
    let flaw = |error: safetensors::SafeTensorError| Flaw { place: String::new(), what: error.to_string() };
    safetensors::serialize(views, Some(metadata)).map_err(flaw)
}

/// What a layer takes in a file, in bytes where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// How its mask is written.
    pub coding: Coding,
    /// The mask, in bits; a file fills its last byte.
    pub mask_bits: u64,
    /// The mask and the kept weights.
    pub weights: usize,
    /// Scales and biases.
    pub constants: usize,
}

/// What [`write()`] makes of a layer.
pub fn stored(synapses: &Synapses) -> Stored {
    let (mut numbers, mut weights) = (Vec::new(), Vec::new());
    let layer = write_layer(synapses, &mut numbers, &mut weights);
    let coding = graph::coding_of(layer.weights.coding).expect("a coding that was written");
    let mask_bits = if coding == Coding::None { 0 } else { mask::coding(&kept(&synapses.values)).1 };
    let constants = 4 * (layer.scales + layer.biases);
    Stored { coding, mask_bits, weights: 4 * numbers.len() + weights.len() - constants, constants }
}

/// Bytes of all numbers and weights of a network in its file: what is left beside the graph.
pub fn payload(network: &Network) -> usize {
    let of_image = 4 * (network.image.mean.len() + network.image.std.len());
    let layers = network.layers().map(|(synapses, _)| stored(synapses));
    of_image + layers.map(|layer| layer.weights + layer.constants).sum::<usize>()
}

/// The network of a file, and where it comes from.
///
/// # Errors
///
/// A file that is not one, that is damaged, or that needs more than [`LIMIT`] bytes of memory to be
/// read or to be run, as [`Network::memory`] tells.
pub fn read(file: &[u8]) -> Result<(Network, Provenance), Unreadable> {
    read_within(file, LIMIT)
}

/// [`read`] with another limit, in bytes.
///
/// # Errors
///
/// As [`read`].
pub fn read_within(file: &[u8], limit: usize) -> Result<(Network, Provenance), Unreadable> {
    let format = |what: String| Unreadable::Format(what);
    let header = file.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header > HEADER as u64 {
        return Err(format(format!("its header has {header} bytes, and {HEADER} are more than enough")));
    }
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(|error| format(format!("{error}")))?;
    let keys = metadata.metadata().as_ref();
    let Some(told) = keys.and_then(|keys| keys.get(KEY)).filter(|_| keys.is_some_and(|keys| keys.len() == 1)) else {
        return Err(format(format!("its metadata has not the key `{KEY}` alone")));
    };
    let tensors = SafeTensors::deserialize(file).map_err(|error| format(format!("{error}")))?;
    if tensors.len() != 3 {
        return Err(format(format!("it has {} tensors, and not `graph`, `numbers` and `weights`", tensors.len())));
    }
    let part = |name: &str, kind: Dtype| match tensors.tensor(name) {
        Ok(tensor) if tensor.dtype() == kind && tensor.shape().len() == 1 => Ok(tensor.data()),
        _ => Err(format(format!("it has no tensor `{name}` of one axis of {kind:?}"))),
    };
    let (graph, numbers, weights) =
        (part("graph", Dtype::U8)?, part("numbers", Dtype::F32)?, part("weights", Dtype::U8)?);
    if digest([numbers, graph, weights]) != *told {
        return Err(Unreadable::Damaged("its bytes have another SHA-256 than its metadata tells".into()));
    }
    let within = |needed: usize| if needed > limit { Err(Unreadable::TooLarge { needed, limit }) } else { Ok(needed) };
    let of_graph = within(product(&[OF_GRAPH, graph.len()]))?;
    let graph: Graph = serde_json::from_slice(graph).map_err(|error| format(format!("its graph: {error}")))?;
    // Beside the weights, all numbers once more.
    let needed = graph.bytes().and_then(|bytes| bytes.checked_add(numbers.len()));
    let needed = needed.ok_or_else(|| format("its layers are larger than any memory".into()))?;
    let needed = within(sum([needed, of_graph]))?;
    let numbers = numbers.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let mut rest = Rest { numbers: &numbers.collect::<Vec<f32>>(), weights };
    let (network, provenance) = graph.network(&mut rest)?;
    if !rest.numbers.is_empty() || !rest.weights.is_empty() {
        return Err(Unreadable::Damaged("it holds more than its layers take".into()));
    }
    network.check().map_err(Unreadable::Flaw)?;
    within(sum([needed, network.memory()]))?;
    Ok((network, provenance))
}

/// What no layer has taken yet.
struct Rest<'a> {
    numbers: &'a [f32],
    weights: &'a [u8],
}

impl<'a> Rest<'a> {
    fn numbers(&mut self, count: usize) -> Option<Vec<f32>> {
        let (taken, rest) = self.numbers.split_at_checked(count)?;
        self.numbers = rest;
        Some(taken.to_vec())
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.weights.split_at_checked(count)?;
        self.weights = rest;
        Some(taken)
    }
}

/// Numbers of which all are the first are written once.
fn write_numbers(numbers: &[f32], to: &mut Vec<f32>) -> usize {
    let same = numbers.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
    let count = if same { numbers.len().min(1) } else { numbers.len() };
    to.extend(&numbers[..count]);
    count
}

/// Which weights have a place in a file. A zero of the quantiser's own grid needs none, and is written
/// as removed.
fn kept(values: &Values) -> Vec<bool> {
    match values {
        Values::Full(values) => values.iter().map(|value| value.to_bits() != 0).collect(),
        Values::Levels(levels) => levels.iter().map(|level| *level != 0).collect(),
    }
}

fn write_layer(synapses: &Synapses, numbers: &mut Vec<f32>, weights: &mut Vec<u8>) -> Layer {
    let scales = write_numbers(&synapses.scale, numbers);
    let biases = write_numbers(&synapses.bias, numbers);
    let kept = kept(&synapses.values);
    let stored = match &synapses.values {
        Values::Full(values) => {
            let (coding, mask) = write_mask(&kept, weights);
            numbers.extend(values.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(value, _)| value));
            let kept = kept.iter().filter(|kept| **kept).count();
            Weights { kept, coding, mask, grid: None }
        }
        Values::Levels(levels) => {
            let dense = Grid::of(levels.iter().copied());
            let sparse = Grid::of(levels.iter().copied().filter(|level| *level != 0));
            let (coding, mask_bits) = mask::coding(&kept);
            let count = kept.iter().filter(|kept| **kept).count();
            let length = |grid: &Grid, count: usize| (count as u64 * u64::from(grid.bits)).div_ceil(8);
            let masked = mask_bits.div_ceil(8) + length(&sparse, count);
            // Few zeros are cheaper as codes.
            if coding != Coding::None && length(&dense, levels.len()) <= masked {
                write_codes(levels, &dense, weights);
                return Layer {
                    scales,
                    biases,
                    weights: Weights { kept: levels.len(), coding: graph::NO_MASK, mask: 0, grid: Some(dense) },
                };
            }
            let (coding, mask) = write_mask(&kept, weights);
            let kept: Vec<i16> = levels.iter().copied().filter(|level| *level != 0).collect();
            write_codes(&kept, &sparse, weights);
            Weights { kept: count, coding, mask, grid: Some(sparse) }
        }
    };
    Layer { scales, biases, weights: stored }
}

fn write_mask(kept: &[bool], weights: &mut Vec<u8>) -> (i32, usize) {
    let (coding, _) = mask::coding(kept);
    let bytes = mask::write(kept, coding);
    weights.extend(&bytes);
    (graph::number_of(coding), bytes.len())
}

fn write_codes(levels: &[i16], grid: &Grid, weights: &mut Vec<u8>) {
    let mut bits = BitWriter::default();
    levels.iter().for_each(|level| bits.push(grid.code(*level), grid.bits));
    weights.extend(&bits.bytes);
}

/// The values of a layer of so many weights.
fn read_values(layer: &Layer, count: usize, rest: &mut Rest) -> Result<Values, &'static str> {
    let Weights { kept, coding, mask, grid } = &layer.weights;
    let short = "the file ends within its weights";
    if *kept > count {
        return Err("it keeps more weights than it has");
    }
    let coding = graph::coding_of(*coding).ok_or("its mask has a coding that is not known")?;
    let mask = rest.bytes(*mask).ok_or(short)?;
    let Some(grid) = grid else {
        let (mut values, mut numbers) = (vec![0.0; count], rest.numbers(*kept).ok_or(short)?.into_iter());
        mask::read(mask, coding, count, *kept, |place| {
            values[place] = numbers.next().ok_or(short)?;
            Ok(())
        })?;
        return Ok(Values::Full(values));
    };
    if !grid.is_sound() {
        return Err("its codes have other than 1, 2, 4, 8 or 16 bits, or steps below 1");
    }
    let bytes = (*kept as u64 * u64::from(grid.bits)).div_ceil(8);
    let mut codes = BitReader::new(rest.bytes(bytes as usize).ok_or(short)?);
    let mut levels = vec![0; count];
    mask::read(mask, coding, count, *kept, |place| {
        levels[place] = grid.level(codes.next(grid.bits).ok_or(short)?).ok_or("a level that no 16 bits hold")?;
        Ok(())
    })?;
    codes.end()?;
    Ok(Values::Levels(levels))
}

/// SHA-256 of the parts, one after another, in hexadecimal digits.
fn digest(parts: [&[u8]; 3]) -> String {
    let mut all = Sha256::new();
    parts.iter().for_each(|part| all.update(part));
    all.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
