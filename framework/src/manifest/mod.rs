//! From TOML layers to a plan of trials.
//!
//! Layers, later wins: plugin defaults < `extends` < file < profile < `LITESNN_*` < `--set`; then
//! what a `[[variant]]` changes, then the point of the `[sweep]`. Tables merge, and a layer
//! replaces an array whole. A layer that names another plugin in a section of one plugin
//! (`[timesteps.fixed]` over `[timesteps.compressive]`) replaces that section. A dotted path may
//! name a plugin inside `[[compressor]]` (`compressor.score-prune.rate`). An extended file's
//! profile of the same name lies below the manifest's own one.
//!
//! ```toml
//! [[variant]]
//! name = "dense"
//! remove = ["optimizer", "search"]                    # sections or keys
//! set = { "compressor" = [], "timesteps.fixed.steps" = 4, "design.from" = "searched", "design.keep" = ["architecture"] }
//!
//! [axis.scale]                                        # for `name = "joint-{scale}"`: a variant for each value
//! small = { set = { "compressor.score-prune.rate" = 0.9 } }
//!
//! [sweep]                                             # the cross product
//! "optimizer.joint.lambda_memory" = [1e-9, 5e-9]
//!
//! [[compare]]                                         # pairs that a report tests; changes no trial
//! a = "searched"
//! b = "dense"
//! ```
//!
//! - A swept key concerns the variants that have the plugin or section it belongs to; one that
//!   concerns none is a problem. A variant that takes another's design has one trial for each of
//!   that one's points.
//! - The user's word on the command line or in the environment is not lost silently: it is a
//!   problem when a variant or the sweep sets the same key, and when every variant replaces or
//!   removes what it sets. A variant that drops a whole section may do so as long as another one
//!   keeps it.
//! - All [`Problem`](crate::ground::Problem)s of a manifest are reported at once, each with its place and the layer that
//!   set the value.

mod axes;
mod check;
mod comparisons;
mod dataset;
mod device;
mod file;
#[cfg(test)]
mod fixtures;
mod images;
mod layers;
mod marks;
mod origins;
mod overlay;
mod overrides;
mod plan;
mod planner;
mod refusal;
mod resolve;
mod resolved_toml;
mod sections;
mod spelling;
mod stack;
mod sweep;
mod to_toml;
mod tree;
mod trial;
mod typed;
mod variants;

pub use comparisons::Comparison;
pub use dataset::dataset;
pub use device::check_device;
pub use images::check_images;
pub use layers::{Finder, Request};
pub use origins::{Origin, explain, origins};
pub use plan::{Plan, load};
pub use resolved_toml::resolved_toml;
pub use sections::{Holds, Presence, SECTIONS, Section};
pub use spelling::nearest;
pub use trial::Trial;
pub use typed::{DesignSource, Experiment, Manifest, Part, VERSION};
