//! ADMM (alternating direction method of multipliers) between training and the projection on what a
//! compressor allows: what `admm-prune` and `admm-quantize` share.
//!
//! Source: Deng, Wu, Hu, Liang, Li, Hu, Ding, Li and Xie, Comprehensive SNN Compression Using ADMM
//! Optimization and Activity Regularization (IEEE TNNLS 2021).
//!
//! ```text
//! W       trained on L(W) + rho/2 · |W - Z + U|²          each step
//! Z       = P(W + U), U <- W + U - Z                      at the end of an epoch
//! ```

use litesnn_framework::ground::Build;
use litesnn_framework::network::Progress;
use tch::Tensor;

/// rho where the settings name none: the field's usual one.
pub fn usual_penalty() -> f64 {
    1e-3
}

/// The part of the epochs before W is projected where the settings name none: that of the authors'
/// program.
pub fn half_of_the_epochs() -> f64 {
    0.5
}

/// A layer's part of ADMM.
pub struct Admm {
    /// The trained tensor: it shares its memory with the layer's weight.
    pub weight: Tensor,
    /// Fraction of the epochs after which W itself is projected.
    until: f64,
    /// Z and U, of the weight's shape.
    target: Tensor,
    dual: Tensor,
    /// rho, and zero once W is projected: a scalar.
    penalty: Tensor,
}

/// What the end of a step is to ADMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing happens.
    None,
    /// Z and U are found anew.
    Project,
    /// W itself is projected from here on.
    Harden,
}

impl Admm {
    /// ADMM for `weight`, whose projection is P, in the buffers of `build`. It lasts for the fraction
    /// `until` of the epochs.
    pub fn new(
        weight: &Tensor,
        (rho, until): (f64, f64),
        projection: impl FnOnce(&Tensor) -> Tensor,
        build: &mut Build,
    ) -> Admm {
        Admm {
            weight: weight.shallow_clone(),
            until,
            target: build.buffer_like("target", weight, |_| projection(&weight.detach())),
            dual: build.buffer_like("dual", weight, |_| weight.detach().zeros_like()),
            penalty: build.buffer("penalty", Tensor::from(rho as f32)),
        }
    }

    /// d/dW of rho/2 · |W - Z + U|².
    pub fn pull(&self) -> Tensor {
        (self.weight.detach() - &self.target + &self.dual) * &self.penalty
    }

    /// What happens after the step that leads to `progress`.
    pub fn moment(&self, progress: Progress) -> Moment {
        let over = |epoch: usize| epoch as f64 / progress.epochs.max(1) as f64 >= self.until;
        match progress.ends_epoch() {
            false => Moment::None,
            true if !over(progress.epoch) => Moment::Project,
            // The first epoch's end that is late enough; the first of all, where that is at once.
            true if progress.epoch == 1 || !over(progress.epoch - 1) => Moment::Harden,
            true => Moment::None,
        }
    }

    /// Z = P(W + U), U <- W + U - Z.
    pub fn project(&self, projection: impl FnOnce(&Tensor) -> Tensor) {
        let sum = self.weight.detach() + &self.dual;
        self.target.shallow_clone().copy_(&projection(&sum));
        self.dual.shallow_clone().copy_(&(sum - &self.target));
    }

    /// Begins anew with the weight as it is.
    pub fn restart(&self, projection: impl FnOnce(&Tensor) -> Tensor) {
        let _ = self.dual.shallow_clone().zero_();
        self.target.shallow_clone().copy_(&projection(&self.weight.detach()));
    }

    /// Ends the penalty.
    pub fn release(&self) {
        let _ = self.penalty.shallow_clone().zero_();
    }
}

#[cfg(test)]
mod tests {
    use litesnn_framework::ground::Parameters;
    use tch::{Device, Kind};

    use super::*;

    fn admm(weight: &Tensor, rho: f64, until: f64) -> Admm {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        Admm::new(weight, (rho, until), |weight| weight.clamp(-1.0, 1.0), &mut build)
    }

    #[test]
    fn it_projects_at_epoch_ends_and_hardens_once() {
        let weight = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        let moments = |until: f64| -> Vec<Moment> {
            let admm = admm(&weight, 1.0, until);
            let all = (0..4).flat_map(|epoch| (1..=3).map(move |batch| Progress::after(batch, 3, epoch, 4)));
            let (ends, others): (Vec<Progress>, Vec<Progress>) = all.partition(|progress| progress.ends_epoch());
            assert!(others.iter().all(|progress| admm.moment(*progress) == Moment::None));
            ends.into_iter().map(|progress| admm.moment(progress)).collect()
        };
        use Moment::{Harden, None, Project};
        assert_eq!(moments(0.5), [Project, Harden, None, None]);
        assert_eq!(moments(0.6), [Project, Project, Harden, None]);
        assert_eq!(moments(1.0), [Project, Project, Project, Harden]);
        assert_eq!(moments(0.01), [Harden, None, None, None]);
    }

    /// min (w - 3)² / 2 for |w| <= 1, by gradient descent on W: W comes to the bound, and U to the
    /// multiplier over rho.
    #[test]
    fn it_solves_a_problem_whose_solution_is_known() {
        let weight = Tensor::from_slice(&[0f32]);
        let admm = admm(&weight, 1.0, 1.0);
        for _ in 0..200 {
            for _ in 0..50 {
                let gradient = &weight - 3.0 + admm.pull();
                let _ = weight.shallow_clone().g_sub_(&(gradient * 0.1));
            }
            admm.project(|sum| sum.clamp(-1.0, 1.0));
        }
        assert!((weight.double_value(&[0]) - 1.0).abs() < 1e-3, "{weight}");
        assert!((admm.dual.double_value(&[0]) - 2.0).abs() < 1e-3, "the multiplier of |w| <= 1 is 2");
        admm.release();
        assert_eq!(admm.pull().double_value(&[0]), 0.0);
    }
}
