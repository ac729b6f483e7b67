//! Every plugin linked into the program, by kind and name.

use std::fmt;

use schemars::Schema;

use crate::{Error, Result};

/// The kinds of plugin; each is a section of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `[dataset.NAME]`
    Dataset,
    /// `[space.NAME]`
    Space,
    /// `[[compressor]]` with `NAME = { ... }`
    Compressor,
    /// `[timesteps.NAME]`
    Timesteps,
    /// `[optimizer.NAME]`
    Optimizer,
    /// `[launcher.NAME]`
    Launcher,
}

impl Kind {
    /// All kinds, in the order of a manifest.
    pub const ALL: [Kind; 6] =
        [Kind::Dataset, Kind::Space, Kind::Compressor, Kind::Timesteps, Kind::Optimizer, Kind::Launcher];

    /// The section of the manifest that names plugins of this kind.
    pub const fn section(self) -> &'static str {
        match self {
            Kind::Dataset => "dataset",
            Kind::Space => "space",
            Kind::Compressor => "compressor",
            Kind::Timesteps => "timesteps",
            Kind::Optimizer => "optimizer",
            Kind::Launcher => "launcher",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.section())
    }
}

/// What is known of a plugin without making one. Collected by [`register!`](crate::register).
#[derive(Debug)]
pub struct Descriptor {
    /// Its kind.
    pub kind: Kind,
    /// Its name in manifests.
    pub name: &'static str,
    /// Part of a trial's identity: raise it when the plugin's numbers change.
    pub version: u32,
    /// One line.
    pub summary: &'static str,
    /// The source of the method: authors, venue, year.
    pub paper: &'static str,
    /// Manifest fragments that work, each a complete section.
    pub examples: &'static [&'static str],
    /// JSON schema of its settings, from the struct's own documentation.
    pub schema: fn() -> &'static Schema,
    /// The text of its file, which begins with its documentation.
    pub source: &'static str,
}

inventory::collect!(Descriptor);

/// Registers a plugin.
///
/// ```text
/// register! {
///     kind: Compressor,
///     name: "score-prune",
///     settings: ScorePrune,
///     version: 1,
///     summary: "removes the weights of least trained score, layer by layer",
///     paper: "Sehwag et al., HYDRA, NeurIPS 2020",
///     examples: ["[[compressor]]\nscore-prune = { rate = 0.8 }"],
///     file: "score_prune.rs",
/// }
/// ```
///
/// `file` is the file that this stands in: its documentation (`//!`) is what `litesnn plugins NAME`
/// shows, formula included.
#[macro_export]
macro_rules! register {
    ($($fields:tt)*) => {
        $crate::inventory::submit! { $crate::descriptor! { $($fields)* } }
    };
}

/// The [`Descriptor`](crate::plugin::Descriptor) that [`register!`](crate::register) would submit,
/// by itself.
#[macro_export]
macro_rules! descriptor {
    (kind: $kind:ident, name: $name:literal, settings: $settings:ty, version: $version:literal,
     summary: $summary:literal, paper: $paper:literal, examples: [$($example:literal),* $(,)?],
     file: $file:literal $(,)?) => {
        $crate::plugin::Descriptor {
            kind: $crate::plugin::Kind::$kind,
            name: $name,
            version: $version,
            summary: $summary,
            paper: $paper,
            examples: &[$($example),*],
            schema: $crate::plugin::settings_schema::<$settings>,
            source: include_str!($file),
        }
    };
}

/// All registered plugins, by kind, then by name.
pub fn registered() -> Vec<&'static Descriptor> {
    let mut all: Vec<_> = inventory::iter::<Descriptor>().collect();
    all.sort_by_key(|plugin| (plugin.kind, plugin.name));
    all
}

/// The plugin of that kind and name.
pub fn find(kind: Kind, name: &str) -> Option<&'static Descriptor> {
    inventory::iter::<Descriptor>().find(|plugin| plugin.kind == kind && plugin.name == name)
}

/// Fails when a kind has no plugin (the linker drops a crate of plugins that nothing names) or two
/// share a name.
pub fn check_registry() -> Result<()> {
    check(&registered())
}

fn check(all: &[&Descriptor]) -> Result<()> {
    for kind in Kind::ALL {
        if !all.iter().any(|plugin| plugin.kind == kind) {
            return Err(Error::Plugin {
                kind: kind.section(),
                name: "*".into(),
                message: "no plugin of this kind is linked into this program; \
                          its main file needs `use litesnn_plugins as _;`"
                    .into(),
            });
        }
    }
    for pair in all.windows(2) {
        if (pair[0].kind, pair[0].name) == (pair[1].kind, pair[1].name) {
            return Err(Error::Plugin {
                kind: pair[0].kind.section(),
                name: pair[0].name.into(),
                message: "two plugins are registered under this name".into(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_empty_registry_is_an_error_that_says_what_to_link() {
        let error = super::check(&[]).unwrap_err().to_string();
        assert!(error.contains("use litesnn_plugins as _"), "{error}");
    }
}
