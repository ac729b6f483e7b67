//! The settings of neurons, which every search space shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::lif::Lif;
use super::surrogate::{Dspike, Surrogate};

/// Settings of neurons: how the membrane potential decays, when a neuron spikes, what a spike leaves
/// and how gradients pass; see the [module](super) for the formulas.
///
/// A search space has them as a table of its settings, or flattened into them:
///
/// ```
/// use litesnn_framework::spiking::NeuronSettings;
///
/// let paper: NeuronSettings = serde_json::from_str("{}").unwrap();
/// assert!(paper.fused().is_some());
/// let plif = r#"{ "time_constant": 2.0, "learn_decay": true, "scaled_input": true, "threshold": 1.0, "surrogate": "atan" }"#;
/// let plif: NeuronSettings = serde_json::from_str(plif).unwrap();
/// assert!(plif.fused().is_none());
/// let error = serde_json::from_str::<NeuronSettings>(r#"{ "tau": 0.5, "time_constant": 2.0 }"#).unwrap_err();
/// assert!(error.to_string().contains("`tau` and `time_constant` both set the decay"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "Given")]
pub struct NeuronSettings {
    /// What they hand on.
    pub activation: Activation,
    /// How the membrane potential decays.
    pub leak: Leak,
    /// Whether the decay is learned, one for each layer of neurons (PLIF).
    pub learn_decay: bool,
    /// Whether the input current is scaled by 1 - decay.
    pub scaled_input: bool,
    /// Threshold V_th of a spike.
    pub threshold: f64,
    /// Whether the threshold is learned, one for each layer of neurons.
    pub learn_threshold: bool,
    /// What a spike leaves of the membrane potential.
    pub reset: Reset,
    /// Whether no gradient passes through the reset.
    pub detach_reset: bool,
    /// The surrogate gradient.
    pub surrogate: Surrogate,
}

/// What neurons hand on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Spikes.
    #[default]
    Spike,
    /// max(0, current) at each timestep: a network without spikes and without memory, such as an
    /// ANN that teaches (KDSNN). It is as good with one timestep as with more.
    Relu,
}

/// How the membrane potential decays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leak {
    /// What is left of it at the next timestep, 0 to 1.
    Decay(f64),
    /// The time constant, in timesteps and 1 or more: 1 - 1/time constant is left.
    TimeConstant(f64),
}

impl Leak {
    /// What is left of the membrane potential at the next timestep, 0 to 1.
    pub fn decay(self) -> f64 {
        match self {
            Leak::Decay(decay) => decay,
            Leak::TimeConstant(steps) => 1.0 - 1.0 / steps,
        }
    }
}

/// What a spike leaves of the membrane potential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// Nothing: it becomes 0.
    #[default]
    Hard,
    /// What exceeds the threshold: the threshold is subtracted.
    Soft,
}

/// The neuron of the paper.
impl Default for NeuronSettings {
    fn default() -> NeuronSettings {
        NeuronSettings {
            activation: Activation::Spike,
            leak: Leak::Decay(0.2),
            learn_decay: false,
            scaled_input: false,
            threshold: 0.5,
            learn_threshold: false,
            reset: Reset::Hard,
            detach_reset: false,
            surrogate: Surrogate::Dspike(Dspike { temperature: 3.0 }),
        }
    }
}

impl NeuronSettings {
    /// The neuron for the kernels, where it has the form of the paper's.
    pub fn fused(&self) -> Option<Lif> {
        let NeuronSettings { leak, threshold, reset, surrogate, .. } = *self;
        let special = self.activation != Activation::Spike
            || self.learn_decay
            || self.scaled_input
            || self.learn_threshold
            || self.detach_reset;
        match surrogate {
            Surrogate::Dspike(surrogate) if reset == Reset::Hard && !special => {
                Some(Lif { tau: leak.decay(), threshold, surrogate })
            }
            _ => None,
        }
    }
}

impl From<Lif> for NeuronSettings {
    fn from(Lif { tau, threshold, surrogate }: Lif) -> NeuronSettings {
        let surrogate = Surrogate::Dspike(surrogate);
        NeuronSettings { leak: Leak::Decay(tau), threshold, surrogate, ..NeuronSettings::default() }
    }
}

/// The settings as a manifest has them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Given {
    /// What neurons hand on: `relu` makes a network without spikes, and reads no other setting of
    /// neurons.
    #[serde(skip_serializing_if = "is_spike")]
    #[schemars(extend("default" = "spike"))]
    activation: Activation,
    /// Decay of the membrane potential: what is left of it at the next timestep, 1 for neurons
    /// without leak (paper: 0.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", range(min = 0.0, max = 1.0), extend("default" = 0.2))]
    tau: Option<f64>,
    /// The decay as a time constant, in place of `tau`: 1 - 1/time_constant of the potential is left
    /// at the next timestep. It is what SpikingJelly calls tau.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", range(min = 1.0), extend("x-unit" = "timesteps"))]
    time_constant: Option<f64>,
    /// Whether the decay is learned, one for each layer of neurons, from the given one on (PLIF).
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(extend("default" = false))]
    learn_decay: bool,
    /// Whether the input current is scaled by 1 - decay, which is 1/time_constant.
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(extend("default" = false))]
    scaled_input: bool,
    /// Threshold of a spike, and centre of the surrogate gradient (paper: 0.5).
    threshold: f64,
    /// Whether the threshold is learned, one for each layer of neurons, from the given one on.
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(extend("default" = false))]
    learn_threshold: bool,
    /// What a spike leaves of the membrane potential.
    #[serde(skip_serializing_if = "is_hard")]
    #[schemars(extend("default" = "hard"))]
    reset: Reset,
    /// Whether no gradient passes through the reset.
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(extend("default" = false))]
    detach_reset: bool,
    /// What stands for the derivative of a spike in the backward pass.
    #[serde(skip_serializing_if = "is_dspike")]
    #[schemars(extend("default" = "dspike"))]
    surrogate: Name,
    /// Temperature of the surrogate `dspike`, which reaches 0.5 to both sides of the threshold
    /// (paper: 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", extend("exclusiveMinimum" = 0.0, "default" = 3.0))]
    temperature: Option<f64>,
    /// Sharpness of the surrogates `atan` (2 without it) and `sigmoid` (4 without it).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", extend("exclusiveMinimum" = 0.0))]
    alpha: Option<f64>,
    /// How far to both sides of the threshold the surrogates `triangle` (1 without it) and
    /// `rectangle` (0.5 without it) reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", extend("exclusiveMinimum" = 0.0))]
    reach: Option<f64>,
}

/// A surrogate gradient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Name {
    /// The derivative of Dspike (Li et al., NeurIPS 2021).
    #[default]
    Dspike,
    /// The derivative of an arc tangent (Fang et al., ICCV 2021).
    Atan,
    /// A triangle (Deng et al., ICLR 2022).
    Triangle,
    /// A rectangle (Wu et al., 2018).
    Rectangle,
    /// The derivative of a logistic sigmoid (Zenke and Ganguli, 2018).
    Sigmoid,
}

fn is_spike(activation: &Activation) -> bool {
    *activation == Activation::Spike
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_hard(reset: &Reset) -> bool {
    *reset == Reset::Hard
}

fn is_dspike(name: &Name) -> bool {
    *name == Name::Dspike
}

impl Default for Given {
    /// What is left out of a manifest.
    fn default() -> Given {
        Given { tau: None, temperature: None, ..NeuronSettings::default().into() }
    }
}

impl TryFrom<Given> for NeuronSettings {
    type Error = String;

    fn try_from(given: Given) -> Result<NeuronSettings, String> {
        if given.activation == Activation::Relu {
            return given.of_relu();
        }
        let leak = match (given.tau, given.time_constant) {
            (Some(_), Some(_)) => {
                return Err("`tau` and `time_constant` both set the decay; leave one of them".into());
            }
            (_, Some(steps)) => Leak::TimeConstant(refuse_unless(steps >= 1.0, "time_constant", steps, "1 or more")?),
            (Some(decay), None) => Leak::Decay(refuse_unless((0.0..=1.0).contains(&decay), "tau", decay, "0 to 1")?),
            (None, None) => NeuronSettings::default().leak,
        };
        if given.learn_decay && !(leak.decay() > 0.0 && leak.decay() < 1.0) {
            return Err(format!(
                "a decay that is learned (`learn_decay`) begins between 0 and 1, and this one is {}",
                leak.decay()
            ));
        }
        Ok(NeuronSettings {
            activation: Activation::Spike,
            leak,
            learn_decay: given.learn_decay,
            scaled_input: given.scaled_input,
            threshold: refuse_unless(given.threshold.is_finite(), "threshold", given.threshold, "finite")?,
            learn_threshold: given.learn_threshold,
            reset: given.reset,
            detach_reset: given.detach_reset,
            surrogate: given.surrogate()?,
        })
    }
}

impl Given {
    /// The settings of neurons that do not spike.
    fn of_relu(&self) -> Result<NeuronSettings, String> {
        let relu = NeuronSettings { activation: Activation::Relu, ..NeuronSettings::default() };
        // A setting may be written out where it says what it says without being there.
        let (own, written) = (serde_json::json!(self), serde_json::json!(Given::from(NeuronSettings::default())));
        let own = own.as_object().expect("settings are a table");
        let is_read = |key: &str| key == "activation";
        match own.iter().find(|(key, value)| !is_read(key) && written.get(*key) != Some(*value)) {
            Some((key, _)) => Err(format!("nothing reads `{key}`: neurons with the activation `relu` have no spikes")),
            None => Ok(relu),
        }
    }

    fn surrogate(&self) -> Result<Surrogate, String> {
        let settings = [("temperature", self.temperature), ("alpha", self.alpha), ("reach", self.reach)];
        let own = |name: &str, default: f64| {
            let unread = settings.iter().find(|(other, value)| *other != name && value.is_some());
            if let Some((other, _)) = unread {
                let surrogate = serde_json::json!(self.surrogate);
                return Err(format!("nothing reads `{other}`: the surrogate {surrogate} has the setting `{name}`"));
            }
            let value = settings.iter().find(|(own, _)| *own == name).and_then(|(_, value)| *value);
            let value = value.unwrap_or(default);
            refuse_unless(value > 0.0, name, value, "more than 0")
        };
        Ok(match self.surrogate {
            Name::Dspike => Surrogate::Dspike(Dspike { temperature: own("temperature", 3.0)? }),
            Name::Atan => Surrogate::Atan { alpha: own("alpha", 2.0)? },
            Name::Triangle => Surrogate::Triangle { reach: own("reach", 1.0)? },
            Name::Rectangle => Surrogate::Rectangle { reach: own("reach", 0.5)? },
            Name::Sigmoid => Surrogate::Sigmoid { alpha: own("alpha", 4.0)? },
        })
    }
}

/// The schema says the same, for those who read settings by it.
fn refuse_unless(holds: bool, name: &str, value: f64, range: &str) -> Result<f64, String> {
    if holds && value.is_finite() { Ok(value) } else { Err(format!("`{name}` is {value}, and has to be {range}")) }
}

impl From<NeuronSettings> for Given {
    fn from(settings: NeuronSettings) -> Given {
        if settings.activation == Activation::Relu {
            return Given { activation: Activation::Relu, ..Given::default() };
        }
        let (tau, time_constant) = match settings.leak {
            Leak::Decay(decay) => (Some(decay), None),
            Leak::TimeConstant(steps) => (None, Some(steps)),
        };
        let (surrogate, temperature, alpha, reach) = match settings.surrogate {
            Surrogate::Dspike(Dspike { temperature }) => (Name::Dspike, Some(temperature), None, None),
            Surrogate::Atan { alpha } => (Name::Atan, None, Some(alpha), None),
            Surrogate::Triangle { reach } => (Name::Triangle, None, None, Some(reach)),
            Surrogate::Rectangle { reach } => (Name::Rectangle, None, None, Some(reach)),
            Surrogate::Sigmoid { alpha } => (Name::Sigmoid, None, Some(alpha), None),
        };
        Given {
            activation: settings.activation,
            tau,
            time_constant,
            learn_decay: settings.learn_decay,
            scaled_input: settings.scaled_input,
            threshold: settings.threshold,
            learn_threshold: settings.learn_threshold,
            reset: settings.reset,
            detach_reset: settings.detach_reset,
            surrogate,
            temperature,
            alpha,
            reach,
        }
    }
}

impl JsonSchema for NeuronSettings {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NeuronSettings".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Given::json_schema(generator)
    }
}
