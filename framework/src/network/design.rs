//! A design: the outcome of a search, as TOML that a person can read, write, ship and move to
//! another data set.
//!
//! ```toml
//! version = 1
//! space = "spike-dhs"
//! timesteps = 2
//!
//! [[edge]]                       # a cell, shared by all cells of the network
//! node = 0
//! from = "s0"                    # s0, s1: outputs of the two cells before; n0, n1, ...: nodes of this cell
//! operation = "conv3x3"
//!
//! [compression.gaussian-quantize]
//! cell0 = { bits = 4 }
//! ```
//!
//! A space with one architecture alone ([`SearchSpace::fixed`]) has designs without edges.
//!
//! [`SearchSpace::fixed`]: super::SearchSpace::fixed

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::compression::Compressor;
use super::space::{Network, SearchSpace};
use crate::data::DataInfo;
use crate::ground::Build;
use crate::ground::file::{MOST_TEXT, read_bounded, read_text, set_aside, write_atomically};
use crate::{Error, Result};

/// Version of the file format that this program writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// One edge of a cell that survived the search.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// The node it ends in, from 0.
    pub node: usize,
    /// Where it begins: `s0`, `s1`, or an earlier node `n0`, `n1`, ...
    pub from: String,
    /// The operation on it.
    pub operation: String,
}

/// What a compressor decided for one group of layers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Bits of a weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// Fraction of the weights that is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

/// What one compressor decided, by the name of the group of layers (`cell0`, `stem`, `all`: the
/// compressor chooses).
pub type Decisions = BTreeMap<String, Decision>;

/// What every compressor decided, by its name.
pub type Compression = BTreeMap<String, Decisions>;

/// The discrete architecture that a supernet decodes to, or the only one of its space.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Architecture {
    /// The space it belongs to.
    pub space: String,
    /// The edges of the cell, in order of their node; none in a space with one architecture alone.
    pub edges: Vec<Edge>,
}

impl Architecture {
    /// Nodes of the cell: one more than the last that an edge leads to.
    pub fn nodes(&self) -> usize {
        self.edges.iter().map(|edge| edge.node + 1).max().unwrap_or(0)
    }

    /// The edges of this architecture, but those of `other` for the nodes that `taken` names.
    pub fn mixed(&self, other: &Architecture, taken: impl Fn(usize) -> bool) -> Architecture {
        let own = self.edges.iter().filter(|edge| !taken(edge.node));
        let mut edges: Vec<Edge> = own.chain(other.edges.iter().filter(|edge| taken(edge.node))).cloned().collect();
        // Stable: the edges of a node keep their order.
        edges.sort_by_key(|edge| edge.node);
        Architecture { space: self.space.clone(), edges }
    }
}

/// The outcome of a search. See the [module](self) for its form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// Format version.
    pub version: u32,
    /// Name of the search space.
    pub space: String,
    /// Number of timesteps to run.
    pub timesteps: i64,
    /// Digest of the masks that an optimizer has written, in a file beside the design's: see
    /// [`Ticket`](super::Ticket).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Edges of the cell; none in a space with one architecture alone.
    #[serde(rename = "edge", default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
    /// Decisions by compressor.
    #[serde(default)]
    pub compression: Compression,
    /// The network that the design was found for; a manifest that takes the design over has its
    /// own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<DesignNetwork>,
    /// How its published cost was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounting: Option<Accounting>,
}

/// `[network]`: with it a design is a whole network, whose cost can be told without a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DesignNetwork {
    /// Channels, height, width of the input.
    pub input: [i64; 3],
    /// Number of classes.
    pub classes: usize,
    /// Settings of the search space, as in a manifest's `[space.NAME]`.
    pub space: serde_json::Value,
    /// Settings of the compressors in their order, each as in a manifest's `[[compressor]]`.
    #[serde(default)]
    pub compressor: Vec<serde_json::Value>,
}

/// `[accounting]`: what a published table counted otherwise than the network runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounting {
    /// Timesteps over which the stem's multiplications are counted, where these are not the
    /// design's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplication_timesteps: Option<i64>,
    /// Fraction of the weights that is kept, where operations are counted by it and not by the
    /// whole weights that a mask keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
    /// Mean spikes of a neuron over all timesteps, where firing rates by layer are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spikes: Option<f64>,
}

impl Design {
    /// A design of an architecture, for a network that is told elsewhere.
    pub fn new(architecture: Architecture, timesteps: i64, compression: Compression) -> Design {
        let Architecture { space, edges } = architecture;
        Design { version: VERSION, space, timesteps, edges, ticket: None, compression, network: None, accounting: None }
    }

    /// The edges, with the space that they belong to.
    pub fn architecture(&self) -> Architecture {
        Architecture { space: self.space.clone(), edges: self.edges.clone() }
    }

    /// Builds the network that `[network]` describes.
    pub fn build(&self, build: &mut Build) -> Result<Box<dyn Network>> {
        let wrong = |what: &str, why: serde_json::Error| {
            Error::design(format!("the design has a wrong {what} in [network]: {why}"))
        };
        let Some(DesignNetwork { input, classes, space, compressor }) = &self.network else {
            return Err(Error::design("the design has no [network] section, which says how wide its network is"));
        };
        let space: Box<dyn SearchSpace> = Deserialize::deserialize(space).map_err(|error| wrong("space", error))?;
        let compressors: Vec<Box<dyn Compressor>> = compressor
            .iter()
            .map(Deserialize::deserialize)
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| wrong("compressor", error))?;
        let compressors: Vec<(&str, &dyn Compressor)> =
            compressors.iter().map(|compressor| (compressor.typetag_name(), compressor.as_ref())).collect();
        let info = DataInfo::of_form((*input, *classes));
        space.network(&self.architecture(), &self.compression, false, &info, &compressors, build)
    }

    /// The design as TOML.
    pub fn to_toml(&self) -> String {
        let body = toml_edit::ser::to_string_pretty(self).expect("a design has only string keys");
        format!("# What the search decided. `[design] file = \"...\"` in a manifest retrains it.\n{body}")
    }

    /// Reads a design; an error names file, line and what was expected.
    pub fn read(path: &Path) -> Result<Design> {
        let text = read_text(path).map_err(Error::file("read", path))?;
        Design::parse(&text, path)
    }

    /// The design that a checkpoint has as `text`. The file at `path` is made to hold it again
    /// where it holds anything else, which is kept under another name; `note` is told.
    pub fn restore(path: &Path, text: &str, note: impl Fn(&str)) -> Result<Design> {
        let found = match read_bounded(path, MOST_TEXT) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        if found.as_deref() != Some(text.as_bytes()) {
            let aside = match found {
                Some(_) => format!(", and what it held is kept as `{}`", set_aside(path)?.display()),
                None => String::new(),
            };
            write_atomically(path, text.as_bytes())?;
            let why = "is not as the trial's checkpoint has it: it was written again";
            note(&format!("`{}` {why}{aside}", path.display()));
        }
        Design::parse(text, path)
    }

    /// Whether a TOML file is a design: a design has its space by name, where a manifest has a section.
    pub fn is_told_by(text: &str) -> bool {
        let table: std::result::Result<toml_edit::DocumentMut, _> = text.parse();
        table.is_ok_and(|table| table.get("space").is_some_and(toml_edit::Item::is_str))
    }

    /// Whether both are the same decisions: architecture, timesteps, what every compressor decided, and
    /// masks. `[network]`, which a manifest replaces by its own, and `[accounting]` are none; but where a
    /// design has no edges, the architecture is the settings of its space.
    pub fn decides_as(&self, other: &Design) -> bool {
        fn decided(design: &Design) -> (Architecture, i64, &Compression, &Option<String>) {
            (design.architecture(), design.timesteps, &design.compression, &design.ticket)
        }
        let space = |design: &Design| design.network.as_ref().map(|network| network.space.clone());
        let settings = space(self).zip(space(other));
        decided(self) == decided(other)
            && (!self.edges.is_empty() || settings.is_none_or(|(own, others)| own == others))
    }

    /// Parses the text of `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Design> {
        let content = |message: String, hint: &str| Error::Content { path: path.into(), message, hint: hint.into() };
        let design: Design = toml_edit::de::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            content(
                format!("is not a design: line {line}: {}", error.message()),
                "a design has version, space, timesteps, [[edge]] and [compression], as `design.toml` in the folder of a trial",
            )
        })?;
        if design.version > VERSION {
            return Err(content(
                format!("is a design of version {}, and this program reads up to {VERSION}", design.version),
                "upgrade litesnn",
            ));
        }
        if design.timesteps < 1 {
            return Err(content(format!("has timesteps = {}", design.timesteps), "timesteps are 1 or more"));
        }
        Ok(design)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Design {
        Design {
            version: VERSION,
            space: "spike-dhs".into(),
            timesteps: 2,
            edges: vec![Edge { node: 0, from: "s0".into(), operation: "conv3x3".into() }],
            ticket: None,
            compression: BTreeMap::from([(
                "gaussian-quantize".to_owned(),
                Decisions::from([("cell0".to_owned(), Decision { bits: Some(4), rate: None })]),
            )]),
            network: None,
            accounting: None,
        }
    }

    #[test]
    fn a_design_survives_writing_and_reading() {
        let text = example().to_toml();
        assert_eq!(Design::parse(&text, Path::new("design.toml")).unwrap(), example(), "{text}");
    }

    #[test]
    fn a_mixture_has_the_edges_of_each_node_from_one_of_two() {
        let of = |operation: &str| {
            let edge = |node, from: &str| Edge { node, from: from.into(), operation: operation.into() };
            Architecture { space: "a".into(), edges: vec![edge(0, "s0"), edge(0, "s1"), edge(1, "n0"), edge(2, "s0")] }
        };
        let mixed = of("conv3x3").mixed(&of("skip"), |node| node == 1);
        let shown: Vec<&str> = mixed.edges.iter().map(|edge| edge.operation.as_str()).collect();
        assert_eq!(shown, ["conv3x3", "conv3x3", "skip", "conv3x3"]);
        assert_eq!((mixed.nodes(), of("skip").mixed(&of("skip"), |_| true)), (3, of("skip")));
    }

    #[test]
    fn errors_name_file_and_line() {
        let error = |text: &str| Design::parse(text, Path::new("d.toml")).unwrap_err().to_string();
        assert_eq!(
            error("version = 1\nspace = 3\ntimesteps = 2\n"),
            "`d.toml` is not a design: line 2: invalid type: integer `3`, expected a string"
        );
        assert!(error("version = 9\nspace = \"a\"\ntimesteps = 2\n").contains("version 9"));
        assert!(error("version = 1\nspace = \"a\"\ntimesteps = 0\n").contains("timesteps = 0"));
    }

    #[test]
    fn designs_are_the_same_where_their_decisions_are() {
        let network = |width: i64| {
            let space = serde_json::json!({ "spike-dhs": { "width": width } });
            Some(DesignNetwork { input: [1, 8, 8], classes: 2, space, compressor: Vec::new() })
        };
        let of = |change: &dyn Fn(&mut Design)| {
            let mut design = example();
            change(&mut design);
            design.decides_as(&example())
        };
        assert!(of(&|design| design.accounting = Some(Accounting::default())));
        assert!(!of(&|design| design.timesteps = 3));
        assert!(!of(&|design| design.edges[0].operation = "skip".into()));
        assert!(!of(&|design| design.ticket = Some("digest".into())));
        assert!(!of(&|design| design.compression.clear()));
        let wide = |edges: bool, width: i64| {
            let edges = if edges { example().edges } else { Vec::new() };
            Design { network: network(width), edges, ..example() }
        };
        assert!(wide(true, 2).decides_as(&wide(true, 3)), "a manifest has a network of its own");
        assert!(!wide(false, 2).decides_as(&wide(false, 3)) && wide(false, 2).decides_as(&wide(false, 2)));
        assert!(Design::is_told_by(&example().to_toml()) && !Design::is_told_by("[space.spike-dhs]\n"));
    }
}
