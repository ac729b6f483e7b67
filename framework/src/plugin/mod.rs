//! What a plugin is: a name in the registry, a version, documented settings with their ranges.
//!
//! A plugin is a struct of settings that implements the trait of its kind under
//! `#[typetag::serde(name = "...")]`, and one [`register!`](crate::register) line. The name is the
//! key of a table in the manifest:
//!
//! ```toml
//! [[compressor]]
//! score-prune = { rate = 0.8 }
//! ```

mod checked;
mod description;
mod flaw;
mod limits;
mod registry;
mod schema;

pub use checked::checked;
pub use description::Setting;
pub use flaw::{Fault, Flaw};
pub use limits::Limits;
pub use registry::{Descriptor, Kind, check_registry, find, registered};
pub use schema::{Shape, partial_schema, plain_schema, settings_schema};
