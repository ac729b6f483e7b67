//! Networks: what a search space builds, how compressors transform the weights, how many timesteps
//! are run, what a design says, and what all of it costs.
//!
//! | file | what it holds |
//! |---|---|
//! | [`SearchSpace`], [`Network`], [`Supernet`] | the traits of networks and of the spaces that build them |
//! | [`Compressor`], [`WeightTransform`] | transforms of one layer's weight |
//! | [`OpenBits`] | the bit-widths that a search chooses among |
//! | [`Schedule`], [`Progress`] | transforms that change with training, and how far training is |
//! | [`Formula`], [`Level`] | what a transform does, in terms that the kernels of a device know |
//! | [`CompressedWeight`] | a weight and the stack of transforms that it goes through |
//! | [`Pass`], [`WeightCache`] | a forward pass, and what is kept from one pass to the next |
//! | [`Path`] | one architecture of a supernet |
//! | [`Inheritance`] | what a final network takes over from the supernet |
//! | [`SpikeTap`], [`SpikeCount`] | who is told of the spikes of a pass, and their number |
//! | [`TimestepSearcher`], [`TimestepGate`] | the number of timesteps |
//! | [`EarlyExit`] | images that stop before the last timestep |
//! | [`LayerShape`], [`LayerSpec`], [`SynapseLayer`] | a layer with weights |
//! | [`Population`], [`Channels`] | neurons whose channels can be removed, and which of them are there |
//! | [`Activity`] | what the input neurons of a layer did |
//! | [`design`] | `design.toml`, the outcome of a search |
//! | [`Ticket`] | masks that an optimizer has written, in a file beside the design |
//! | [`cost`] | parameters, size, operations, energy |
//! | [`Factor`], [`CostConstants`] | what compressors give to a layer's cost, and what of it stays on the device |
//! | [`StoredMask`] | the bits that a mask takes in a file |
//! | [`NetworkSize`] | the memory that training needs |

mod activity;
mod cache;
mod channels;
mod compression;
mod constants;
pub mod cost;
pub mod design;
mod early_exit;
mod factor;
mod formula;
mod fused_weights;
mod inheritance;
mod layer;
mod mask_code;
mod memory;
mod packing;
mod pass;
mod path;
mod schedule;
mod space;
mod spike_count;
mod ticket;
mod timesteps;
mod weight;

/// What a packed file holds and the engine runs.
pub use litesnn_engine as engine;

pub use activity::Activity;
pub use cache::WeightCache;
pub use channels::{Channels, Population};
pub use compression::{Compressor, NEVER, OpenBits, Technique, Techniques, WeightTransform, same_rate};
pub use constants::CostConstants;
pub use design::{Architecture, Compression, Decision, Decisions, Design, DesignNetwork, Edge};
pub use early_exit::{EarlyExit, first_timestep, prefix_means, running};
pub use factor::Factor;
pub use formula::{Formula, Level};
pub use inheritance::{Inheritance, Piece, Rows};
pub use layer::{Input, LayerShape, LayerSpec, Place};
pub use mask_code::{Coding, StoredMask, expected_mask_bits};
pub use memory::NetworkSize;
pub use packing::{Packer, Written, packed};
pub use pass::{Pass, SpikeTap};
pub use path::Path;
pub use schedule::{Progress, Schedule};
pub use space::{Misfit, NamedCompressors, Network, Response, SearchSpace, Supernet, SynapseLayer};
pub use spike_count::SpikeCount;
pub use ticket::Ticket;
pub use timesteps::{TimestepGate, TimestepSearcher, exceedance, prefix_cross_entropy};
pub use weight::{CompressedWeight, FULL_PRECISION};
