//! Networks by name, each of them a list in the language of the manifest.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::Layer;

/// The lists, as TOML.
const NETWORKS: &str = include_str!("networks.toml");

/// A network that is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Named {
    /// Seven convolutions with average pooling, two linear layers.
    #[serde(rename = "vgg9")]
    Vgg9,
    /// Eight convolutions with max pooling, one linear layer.
    #[serde(rename = "vgg11")]
    Vgg11,
    /// Thirteen convolutions with a bias and max pooling, one linear layer (Kim et al., ECCV 2022).
    #[serde(rename = "vgg16")]
    Vgg16,
    /// Eight basic blocks of 64 to 512 channels (for images of 32 x 32).
    #[serde(rename = "resnet18")]
    Resnet18,
    /// Eight basic blocks of 128 to 512 channels after a stem of 128.
    #[serde(rename = "resnet19")]
    Resnet19,
    /// The same after a stem of 64, with a hidden linear layer (Kim et al., ECCV 2022).
    #[serde(rename = "resnet19-stem64")]
    Resnet19Stem64,
    /// Nine basic blocks of 128 to 512 channels with zero-padded shortcuts (QP-SNN, ICLR 2025).
    #[serde(rename = "resnet20")]
    Resnet20,
    /// Eight spike-element-wise blocks of 64 to 512 channels (Fang et al., NeurIPS 2021).
    #[serde(rename = "sew-resnet18")]
    SewResnet18,
    /// Six convolutions of 256 channels, two linear layers, a vote of ten (Grad R, STDS).
    #[serde(rename = "6conv2fc")]
    SixConvTwoFc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    layers: Vec<Layer>,
}

impl Named {
    /// The list.
    pub fn layers(self) -> Vec<Layer> {
        let mut all: BTreeMap<Named, List> = toml_edit::de::from_str(NETWORKS).expect("a test reads the lists");
        all.remove(&self).expect("a test finds a list for each name").layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_a_list_and_each_list_a_name() {
        let all: BTreeMap<Named, List> = toml_edit::de::from_str(NETWORKS).unwrap();
        let names = [
            Named::Vgg9,
            Named::Vgg11,
            Named::Vgg16,
            Named::Resnet18,
            Named::Resnet19,
            Named::Resnet19Stem64,
            Named::Resnet20,
            Named::SewResnet18,
            Named::SixConvTwoFc,
        ];
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), names);
        assert!(names.iter().all(|name| !name.layers().is_empty()));
    }

    /// `litesnn plugins layers` shows the lists.
    #[test]
    fn the_documentation_has_the_lists() {
        let documentation: String = include_str!("../layers.rs")
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
            .collect();
        assert!(documentation.contains(NETWORKS.trim()), "the documentation should hold\n\n{NETWORKS}");
    }
}
