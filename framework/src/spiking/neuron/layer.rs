//! A layer of neurons: settings with the parameters that it learns.

use tch::{Kind, Tensor};

use super::super::lif::Lif;
use super::super::time::{repeat_over_time, unfold_time};
use super::operations::{Dynamics, Number, spikes};
use super::settings::{Activation, NeuronSettings, Reset};
use crate::ground::{Build, Role};

/// A layer of neurons.
#[derive(Debug)]
pub struct Neurons {
    settings: NeuronSettings,
    /// a of a decay that is learned, `[1]`.
    leak: Option<Tensor>,
    /// A threshold that is learned, `[1]`.
    threshold: Option<Tensor>,
}

impl Neurons {
    /// Creates a layer with the parameters `leak` (a, from which the decay is 1 - sigmoid(a)) and
    /// `threshold`, where they are learned.
    pub fn new(settings: &NeuronSettings, build: &mut Build) -> Neurons {
        let options = (Kind::Float, build.device());
        let mut learned = |name: &str, value: f64| {
            build.parameter_without_decay(name, Role::Weight, |_| Tensor::full([1], value, options))
        };
        let decay = settings.leak.decay();
        Neurons {
            settings: *settings,
            leak: settings.learn_decay.then(|| learned("leak", ((1.0 - decay) / decay).ln())),
            threshold: settings.learn_threshold.then(|| learned("threshold", settings.threshold)),
        }
    }

    /// The neurons for the kernels, where they have the form of the paper's.
    pub(in super::super) fn fused(&self) -> Option<Lif> {
        self.settings.fused()
    }

    /// Whether kernels compute them.
    pub fn are_fused(&self) -> bool {
        self.fused().is_some()
    }

    /// Spikes of currents `[T, ...]`, of the same shape.
    pub fn spikes(&self, current: &Tensor) -> Tensor {
        self.run(current, current.size()[0], false)
    }

    /// Spikes `[T, ...]` of a current `[...]` that is the same at each of `timesteps`: the direct
    /// coding of a static image.
    pub fn spikes_of_constant(&self, current: &Tensor, timesteps: i64) -> Tensor {
        self.run(current, timesteps, true)
    }

    fn run(&self, current: &Tensor, timesteps: i64, constant: bool) -> Tensor {
        if self.settings.activation == Activation::Relu {
            let handed_on = current.relu();
            return if constant { unfold_time(&repeat_over_time(&handed_on, timesteps), timesteps) } else { handed_on };
        }
        match self.fused() {
            Some(lif) => lif.run(current, timesteps, constant),
            None => {
                let NeuronSettings { scaled_input, reset, detach_reset: detached, surrogate, .. } = self.settings;
                let dynamics = Dynamics { scaled_input, reset, detached, surrogate };
                spikes(dynamics, [&self.decay(), &self.limit()], current, timesteps, constant)
            }
        }
    }

    /// What the engine runs in their place; why it cannot.
    pub fn packed(&self) -> Result<litesnn_engine::Neuron, String> {
        let number = |number: Number| match number {
            Number::Fixed(value) => value as f32,
            Number::Learned(value) => value.double_value(&[0]) as f32,
        };
        let NeuronSettings { activation, scaled_input, reset, .. } = self.settings;
        if activation == Activation::Relu {
            return Err("its neurons do not spike (`activation = \"relu\"`), and the engine runs spikes alone".into());
        }
        let decay = number(self.decay());
        Ok(litesnn_engine::Neuron {
            decay,
            threshold: number(self.limit()),
            reset: match reset {
                Reset::Hard => litesnn_engine::Reset::Hard,
                Reset::Soft => litesnn_engine::Reset::Soft,
            },
            gain: scaled_input.then(|| match self.decay() {
                Number::Fixed(decay) => (1.0 - decay) as f32,
                Number::Learned(_) => 1.0 - decay,
            }),
        })
    }

    fn decay(&self) -> Number {
        match &self.leak {
            Some(leak) => Number::Learned(1.0 - leak.sigmoid()),
            None => Number::Fixed(self.settings.leak.decay()),
        }
    }

    fn limit(&self) -> Number {
        match &self.threshold {
            Some(threshold) => Number::Learned(threshold.shallow_clone()),
            None => Number::Fixed(self.settings.threshold),
        }
    }

    /// Number of stored parameters: what is learned.
    pub fn parameters(&self) -> u64 {
        u64::from(self.leak.is_some()) + u64::from(self.threshold.is_some())
    }
}

impl From<Lif> for Neurons {
    fn from(lif: Lif) -> Neurons {
        Neurons { settings: lif.into(), leak: None, threshold: None }
    }
}
