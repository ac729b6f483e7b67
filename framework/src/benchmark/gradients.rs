//! Loss and gradients of one step, by which two devices are compared.

use tch::{Device, Kind, Tensor};

use super::{Benchmark, Work};
use crate::ground::{Build, Parameters, Role, Stream, guarded};
use crate::network::Pass;
use crate::run::Method;
use crate::train::{Batch, Gating, Open, Regime, SearchParts, Searched};
use crate::{Error, Result};

/// What a step computed, on the CPU.
#[derive(Debug)]
pub struct Gradients {
    /// The loss: of a search L_CE + L_mem + L_comp, the two costs relative to those of the dense
    /// network; of retraining the cross-entropy.
    pub loss: f64,
    /// `[T, B, K]`
    pub logits: Tensor,
    /// Of every trainable tensor that the loss depends on: its name, its role, the gradient.
    pub of: Vec<(String, Role, Tensor)>,
}

impl Benchmark<'_> {
    /// The gradients of all parameters, for a new network and a batch of random images, which are
    /// the same on every device. With a `nudge`, each value of each parameter is changed by about
    /// this part of it: what such a change does to the gradients is what rounding may do.
    ///
    /// A search is taken in one pass, with the gate's weights as after its warm-up.
    pub fn gradients(&self, nudge: f64) -> Result<Gradients> {
        let splits = self.splits();
        let method = self.method(&splits, None);
        guarded(|| match self.work {
            Work::SearchStep => self.of_search(&method, nudge),
            _ => self.of_retraining(&method, nudge),
        })
    }

    fn of_search(&self, method: &Method, nudge: f64) -> Result<Gradients> {
        let manifest = method.manifest();
        let Some(training) = &manifest.search else {
            return Err(Error::design("the trial does not search"));
        };
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, method.trial.seed, self.device);
        let gate = manifest.timesteps.attach(&mut build.at("timesteps"))?;
        let supernet = manifest.space.supernet(&method.splits.info, &manifest.compressors(), &mut build)?;
        self.nudge(&parameters, nudge);
        let open = Open::new(Searched::Supernet(supernet), gate, parameters);
        let parts = SearchParts { open, training, max_timesteps: manifest.timesteps.max(), recorder: None };
        let regime = Regime { gating: Gating::Warm, ..parts.whole() };
        let (memory, compute) = parts.dense_cost();
        let batch = self.images(method);
        let response = parts.forward(&batch, regime, true);
        let losses = parts.losses(&response, &batch, 0, regime);
        let costs = losses.memory / memory + losses.compute / compute;
        Gradients::of(losses.cross_entropy + costs.to_kind(Kind::Float), &response.logits, parts.parameters())
    }

    fn of_retraining(&self, method: &Method, nudge: f64) -> Result<Gradients> {
        let design = self.design()?;
        let (network, parameters) = method.build(design)?;
        self.nudge(&parameters, nudge);
        let precision = method.manifest().retrain.precision;
        let batch = self.images(method);
        let pass = Pass { training: true, precision, ..Pass::new(design.timesteps) };
        let response = network.forward(&batch.images, &pass);
        let of = |logits: &Tensor| logits.mean_dim(0, false, None::<Kind>).cross_entropy_for_logits(&batch.labels);
        let mut loss = of(&response.logits);
        if let Some((auxiliary, weight)) = &response.auxiliary {
            loss += of(auxiliary) * *weight;
        }
        Gradients::of(loss, &response.logits, &parameters)
    }

    fn nudge(&self, parameters: &Parameters, nudge: f64) {
        if nudge == 0.0 {
            return;
        }
        tch::no_grad(|| {
            for (index, parameter) in parameters.trainable().iter().enumerate() {
                let mut stream = Stream::open(self.trial().seed, "bench/nudge", index as u64);
                let change = stream.normal(&parameter.tensor.size()).to_device(self.device) * nudge + 1.0;
                let _ = parameter.tensor.shallow_clone().g_mul_(&change);
            }
        });
    }

    /// The batch, from streams that the trial's seed opens.
    fn images(&self, method: &Method) -> Batch {
        let info = &method.splits.info;
        let [channels, height, width] = info.shape;
        let mut stream = Stream::open(method.trial.seed, "bench/gradients", 0);
        let images = stream.normal(&[self.batch as i64, channels, height, width]);
        let labels = Tensor::from_slice(&stream.integers(self.batch, info.classes.len() as i64));
        Batch { images: images.to_device(self.device), labels: labels.to_device(self.device), number: 0 }
    }
}

impl Gradients {
    fn of(loss: Tensor, logits: &Tensor, parameters: &Parameters) -> Result<Gradients> {
        loss.f_backward()?;
        let here = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu);
        let trained = parameters.trainable().iter().filter(|parameter| parameter.tensor.grad().defined());
        let of =
            trained.map(|parameter| (parameter.name.clone(), parameter.role, here(&parameter.tensor.grad()))).collect();
        Ok(Gradients { loss: loss.to_kind(Kind::Double).double_value(&[]), logits: here(logits), of })
    }
}
