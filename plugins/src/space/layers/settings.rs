//! The settings of `layers`: the language in which a network is written.

use litesnn_framework::spiking::{NeuronSettings, Statistics};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::named::Named;

/// The name of the plugin.
pub const NAME: &str = "layers";

/// Settings of `layers`. One of `network` and `layers` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Layers {
    /// A network by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Named>,
    /// The network as a list, from the image to the classifier. Each element is one layer: a table
    /// with the key of its kind (`conv`, `basic`, `sew`, `linear`, `max_pool`, `average_pool`,
    /// `global_average`, `dropout`, `classifier`) and with keys that say more of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
    pub layers: Vec<Layer>,
    /// Factor of all channels and linear outputs but the classifier's, rounded, at least one: 0.25
    /// makes a network of a quarter of the width.
    #[schemars(range(max = 64.0), extend("exclusiveMinimum" = 0.0))]
    pub width: f64,
    /// What batch normalisation averages over.
    pub normalisation: Statistics,
    /// All neurons.
    #[serde(flatten)]
    pub neurons: NeuronSettings,
}

impl Default for Layers {
    fn default() -> Self {
        Layers {
            network: None,
            layers: Vec::new(),
            width: 1.0,
            normalisation: Statistics::AllTimesteps,
            neurons: NeuronSettings::default(),
        }
    }
}

/// A layer as it is written: the key of its kind, and keys that say more of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// A convolution to so many channels, batch normalisation, neurons. The first layer is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub conv: Option<i64>,
    /// A basic residual block to so many channels: two convolutions 3x3 with batch normalisation;
    /// the shortcut is added to the currents of the second one's neurons.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub basic: Option<i64>,
    /// A spike-element-wise residual block to so many channels: the same, but the shortcut is joined
    /// to the spikes of the second one's neurons.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub sew: Option<i64>,
    /// A linear layer to so many outputs on the flattened map, neurons.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub linear: Option<i64>,
    /// The largest of each window of so many rows and columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_pool: Option<i64>,
    /// The mean of each window of so many rows and columns, which lie side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub average_pool: Option<i64>,
    /// `true`: the mean over the whole map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global_average: Option<bool>,
    /// Sets numbers to zero with this probability in training, the same ones at all timesteps, and
    /// divides the others by one minus it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: Option<f64>,
    /// The last layer: linear on the flattened map, with so many outputs for each class, whose mean
    /// is the class's logit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub classifier: Option<i64>,
    /// Of `conv`: rows and columns of the kernel; 3 without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub kernel: Option<i64>,
    /// Of `conv`, `basic`, `sew` (1 without it) and `max_pool` (the size of its window without it).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub stride: Option<i64>,
    /// Of `conv` (half the kernel without it) and `max_pool` (0 without it): zeros, or nothing, on
    /// every side of the map.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1024))]
    pub padding: Option<i64>,
    /// Of `conv` (false without it), `linear` and `classifier` (true without it): whether a trained
    /// number is added to each output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// Of `conv` (true without it) and `linear` (false without it): whether batch normalisation
    /// follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<bool>,
    /// Of `basic` and `sew`: channels between the two convolutions; those of the block without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub inner: Option<i64>,
    /// Of `basic` and `sew`: `identity` where channels and size stay and `projection` where they do
    /// not, without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Shortcut>,
    /// Of `sew`: `add` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Of `classifier`: whether its outputs are neurons, whose spikes vote; false without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiking: Option<bool>,
    /// Of `conv`, `basic`, `sew` and `linear`: so many of them, one after another; the stride is the
    /// first one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub times: Option<usize>,
}

/// How a residual block hands on what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// As it is.
    Identity,
    /// By a convolution 1x1 with batch normalisation; in a `sew` block neurons follow.
    Projection,
    /// Every so many rows and columns of it, as the stride says, between channels of zeros.
    ZeroPadding,
}

/// How a spike-element-wise block joins the spikes a of its convolutions and s of its shortcut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connect {
    /// a + s: sums of spikes.
    Add,
    /// a s.
    And,
    /// (1 - a) s.
    Iand,
}

/// The kind of a layer, by its key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Conv(i64),
    Basic(i64),
    Sew(i64),
    Linear(i64),
    MaxPool(i64),
    AveragePool(i64),
    GlobalAverage,
    Dropout(f64),
    Classifier(i64),
}

/// What is wrong with the keys of a layer: the key that it is about, if it is about one.
pub type Flaw = (Option<&'static str>, String);

const KINDS: &str = "`conv`, `basic`, `sew`, `linear`, `max_pool`, `average_pool`, `global_average`, `dropout`, \
                     `classifier`";

impl Kind {
    /// The key.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Conv(_) => "conv",
            Kind::Basic(_) => "basic",
            Kind::Sew(_) => "sew",
            Kind::Linear(_) => "linear",
            Kind::MaxPool(_) => "max_pool",
            Kind::AveragePool(_) => "average_pool",
            Kind::GlobalAverage => "global_average",
            Kind::Dropout(_) => "dropout",
            Kind::Classifier(_) => "classifier",
        }
    }

    /// The keys that say more of it.
    fn details(self) -> &'static [&'static str] {
        match self {
            Kind::Conv(_) => &["kernel", "stride", "padding", "bias", "norm", "times"],
            Kind::Basic(_) => &["stride", "inner", "shortcut", "times"],
            Kind::Sew(_) => &["stride", "inner", "shortcut", "connect", "times"],
            Kind::Linear(_) => &["bias", "norm", "times"],
            Kind::MaxPool(_) => &["stride", "padding"],
            Kind::AveragePool(_) | Kind::GlobalAverage | Kind::Dropout(_) => &[],
            Kind::Classifier(_) => &["bias", "spiking"],
        }
    }
}

impl Layer {
    /// The kind, where there is exactly one and every other key says something about it.
    pub fn kind(&self) -> Result<Kind, Flaw> {
        let all = [
            self.conv.map(Kind::Conv),
            self.basic.map(Kind::Basic),
            self.sew.map(Kind::Sew),
            self.linear.map(Kind::Linear),
            self.max_pool.map(Kind::MaxPool),
            self.average_pool.map(Kind::AveragePool),
            self.global_average.map(|_| Kind::GlobalAverage),
            self.dropout.map(Kind::Dropout),
            self.classifier.map(Kind::Classifier),
        ];
        let mut kinds = all.into_iter().flatten();
        let kind = kinds.next().ok_or_else(|| (None, format!("a layer has the key of its kind: one of {KINDS}")))?;
        if let Some(other) = kinds.next() {
            let message =
                format!("a layer is of one kind, and `{}` is another one than `{}`", other.name(), kind.name());
            return Err((Some(other.name()), message));
        }
        if self.global_average == Some(false) {
            return Err((Some("global_average"), "it is `true`, or the layer is left out".into()));
        }
        let given = [
            ("kernel", self.kernel.is_some()),
            ("stride", self.stride.is_some()),
            ("padding", self.padding.is_some()),
            ("bias", self.bias.is_some()),
            ("norm", self.norm.is_some()),
            ("inner", self.inner.is_some()),
            ("shortcut", self.shortcut.is_some()),
            ("connect", self.connect.is_some()),
            ("spiking", self.spiking.is_some()),
            ("times", self.times.is_some()),
        ];
        let foreign = given.into_iter().find(|(key, given)| *given && !kind.details().contains(key));
        match foreign {
            None => Ok(kind),
            Some((key, _)) => {
                let known: Vec<String> = kind.details().iter().map(|key| format!("`{key}`")).collect();
                let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                let message = format!("`{key}` says nothing about `{}`; keys beside it: {known}", kind.name());
                Err((Some(key), message))
            }
        }
    }
}
