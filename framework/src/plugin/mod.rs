//! What a plugin is: one trait for each kind, a registry, and the pieces that plugins are handed.
//!
//! A plugin is a struct of settings that implements the trait of its kind under `#[typetag::serde(name = "...")]`, and one
//! [`register!`](crate::register) line. The name is the key of a table in the manifest:
//!
//! ```toml
//! [[compressor]]
//! score-prune = { rate = 0.8 }
//! ```

mod build;
mod compression;
pub mod conformance;
mod data;
mod description;
mod facts;
mod images;
mod largest;
mod records;
mod registry;
mod setting;
mod source;
mod space;
mod timesteps;

pub use build::{Build, Parameter, Parameters, Role};
pub use compression::{
    CompressedWeight, Compressor, FULL_PRECISION, LayerSpec, Place, Stage, Stages, WeightTransform, held, hold,
    same_rate, straight_through_mask,
};
pub use data::{DataInfo, DataStore, Dataset, Normalisation, Preparation, Split, Splits};
pub use description::{Limits, Setting, plain_schema, settings_schema};
pub use facts::DataFacts;
pub use images::{Counts, Files, Images, Parts, partition};
pub use largest::largest_mask;
pub use records::{RecordFiles, Records};
pub use registry::{Descriptor, Kind, check_registry, find, registered};
pub use setting::checked;
pub use source::{Archive, Form, Source, SourceFile, note, sources};
pub use space::{Activity, Network, Pass, Response, SearchSpace, Supernet, SynapseLayer};
pub use timesteps::{TimestepGate, TimestepSearcher, exceedance, prefix_cross_entropy};

pub use crate::launch::Launcher;
pub use crate::spiking::Precision;
pub use crate::train::Optimizer;
