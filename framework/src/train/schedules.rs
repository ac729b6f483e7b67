//! The weights whose compressors change with training, and how a stage tells them of its steps.

use super::Descent;
use crate::network::{CompressedWeight, Network, Progress, Techniques};

/// The weights of a network whose compressors change in a stage.
pub struct Schedules<'n> {
    weights: Vec<&'n CompressedWeight>,
    /// Techniques that act in the stage and in none before it.
    new: Techniques,
    /// Those that acted before, too.
    old: Techniques,
}

impl<'n> Schedules<'n> {
    /// The weights with schedules, in a stage in which the techniques `active` act. Those of `before`
    /// acted in an earlier stage of the same network.
    pub fn of(network: &'n dyn Network, active: Techniques, before: Techniques) -> Schedules<'n> {
        Schedules::over(network.layers().into_iter().map(|layer| layer.weight).collect(), active, before)
    }

    /// The same of some weights.
    pub fn over(mut weights: Vec<&'n CompressedWeight>, active: Techniques, before: Techniques) -> Schedules<'n> {
        let new = active.without(before);
        weights.retain(|weight| weight.is_scheduled(active));
        Schedules { weights, new, old: active.without(new) }
    }

    /// Prepares for the step that leads to `progress`: whether it has to be made one operation at a
    /// time.
    pub fn watch(&self, progress: Progress) -> bool {
        // Each one has to be told, so that `any` would end too soon.
        let mut needed = false;
        for weight in &self.weights {
            needed |= weight.watch(self.new, progress);
        }
        needed
    }

    /// Tells the compressors that the step is done, and takes the momentum from what has grown
    /// again.
    pub fn advance(&self, progress: Progress, descents: &mut [Descent]) {
        for weight in &self.weights {
            weight.maintain(self.old);
            if let Some(grown) = weight.advance(self.new, progress) {
                descents.iter_mut().for_each(|descent| descent.forget(weight.raw(), &grown));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::Result;
    use crate::ground::{Build, Parameters, Role};
    use crate::network::{Compressor, Decisions, LayerSpec, Place, Schedule, Technique, WeightTransform};
    use crate::train::{Algorithm, Rate};

    /// Removes the first of four weights, and lets it grow again after the second step, where it
    /// becomes the gradient that it was told.
    #[derive(Debug, Serialize, Deserialize)]
    struct Regrowth {}

    struct Removed {
        weight: Tensor,
        mask: Tensor,
        maintained: Tensor,
    }

    #[typetag::serde(name = "test-regrowth")]
    impl Compressor for Regrowth {
        fn technique(&self) -> Technique {
            Technique::Prune
        }

        fn attach(
            &self,
            _: &LayerSpec,
            weight: &Tensor,
            _: Option<&Decisions>,
            build: &mut Build,
        ) -> Result<Box<dyn WeightTransform>> {
            let mask = build.buffer("mask", Tensor::from_slice(&[0f32, 1., 1., 1.]));
            let maintained = build.buffer("maintained", Tensor::from(0f32));
            Ok(Box::new(Removed { weight: weight.shallow_clone(), mask, maintained }))
        }
    }

    impl WeightTransform for Removed {
        fn mask(&self, _: &Tensor) -> Option<Tensor> {
            Some(self.mask.shallow_clone())
        }

        fn schedule(&self) -> Option<&dyn Schedule> {
            Some(self)
        }
    }

    impl Schedule for Removed {
        fn needs_gradient(&self, progress: Progress) -> bool {
            progress.step == 2
        }

        fn advance(&self, progress: Progress, gradient: Option<&Tensor>) -> Option<Tensor> {
            assert_eq!(gradient.is_some(), progress.step == 2);
            let grown = self.mask.ones_like() - &self.mask;
            self.weight.shallow_clone().copy_(&self.weight.where_self(&grown.eq(0.0), gradient?));
            let _ = self.mask.shallow_clone().fill_(1.0);
            Some(grown)
        }

        fn maintain(&self) {
            let _ = self.maintained.shallow_clone().g_add_scalar_(1.0);
        }
    }

    fn layer(parameters: &mut Parameters) -> CompressedWeight {
        let mut build = Build::new(parameters, 0, Device::Cpu);
        let layer = LayerSpec { name: "a".into(), place: Place::Cell(0), population: None };
        let init = |_: &mut crate::ground::Stream| Tensor::from_slice(&[1f32, 2., 3., 4.]);
        let stack: [(&str, &dyn Compressor); 1] = [("test-regrowth", &Regrowth {})];
        CompressedWeight::new(layer, init, stack, &Default::default(), true, &mut build).unwrap()
    }

    #[test]
    fn what_grows_again_has_its_gradient_and_no_momentum() {
        for algorithm in [Algorithm::Sgd { momentum: 0.9, weight_decay: 0.1 }, Algorithm::Adam { weight_decay: 0.1 }] {
            let mut parameters = Parameters::default();
            let weight = layer(&mut parameters);
            let mut descent = Descent::new("w", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.01));
            let schedules = Schedules::over(vec![&weight], Techniques::ALL, Techniques::NONE);
            let upstream = Tensor::from_slice(&[5f32, 6., 7., 8.]);
            for step in 1..=2 {
                let progress = Progress::after(step, 4, 0, 1);
                assert_eq!(schedules.watch(progress), step == 2);
                parameters.zero_grad();
                (weight.value(Techniques::ALL) * &upstream).sum(Kind::Float).backward();
                // A second pass of the step, as a search makes it, tells no gradient.
                let _ = weight.value(Techniques::ALL);
                assert_eq!(weight.raw().grad().double_value(&[0]), 0.0, "removed weights are not trained");
                descent.step();
                schedules.advance(progress, std::slice::from_mut(&mut descent));
            }
            assert_eq!(weight.raw().double_value(&[0]), 5.0, "the gradient reaches removed weights");
            let moments: Vec<&Tensor> =
                descent.state().filter(|(_, tensor)| tensor.size() == [4]).map(|(_, tensor)| tensor).collect();
            assert_eq!(moments.len(), if matches!(algorithm, Algorithm::Sgd { .. }) { 1 } else { 2 });
            for moment in moments {
                // Weight decay has moved the removed weight, too.
                let zeros = Vec::<f32>::try_from(moment).unwrap().iter().map(|value| *value == 0.0).collect::<Vec<_>>();
                assert_eq!(zeros, [true, false, false, false], "{algorithm:?}");
            }
        }
    }

    #[test]
    fn in_a_later_stage_nothing_advances_and_what_has_to_hold_is_kept() {
        let mut parameters = Parameters::default();
        let weight = layer(&mut parameters);
        let prune = Techniques::only(Technique::Prune);
        let later = Schedules::over(vec![&weight], Techniques::ALL, prune);
        let progress = Progress::after(2, 4, 0, 1);
        assert!(!later.watch(progress));
        later.advance(progress, &mut []);
        let buffers: Vec<f64> =
            parameters.buffers().iter().map(|(_, it)| it.sum(Kind::Double).double_value(&[])).collect();
        assert_eq!(buffers, [3.0, 1.0]);
        // It does not act there.
        let other = Schedules::over(vec![&weight], Techniques::only(Technique::Quantize), Techniques::NONE);
        assert!(!other.watch(progress));
        other.advance(progress, &mut []);
        assert_eq!(parameters.buffers()[1].1.double_value(&[]), 1.0);
    }
}
