//! What a network's outputs are trained for.
//!
//! O(t) are the outputs `[B, K]` of timestep t, y the targets: one-hot, and with label smoothing e
//! (Szegedy et al., CVPR 2016) 1 - e + e/K at the class and e/K elsewhere. CE(o, y) = - sum over
//! classes of y log softmax(o), a mean over the batch. The loss of a network that runs i timesteps:
//!
//! ```text
//! mean-cross-entropy        L_i = CE((1/i) sum_{t<=i} O(t), y)                              LitE-SNN, Eq. 16
//! timestep-cross-entropy    L_i = (1/i) sum_{t<=i} (1 - l) CE(O(t), y) + l MSE(O(t), p)     TET, Deng et al., ICLR 2022
//! prefix-cross-entropy      L_i = (1/i) sum_{j<=i} CE((1/j) sum_{t<=j} O(t), y)             DT-SNN, Li et al., DAC 2023
//! rate-mse                  L_i = MSE((1/i) sum_{t<=i} O(t), y)                             Fang et al., ICCV 2021
//! ```
//!
//! l is `tet_lambda` and p is `tet_target`, the number that every output is drawn to. MSE is a mean
//! over batch and classes. The outputs' mean is a firing rate where the head spikes, as in a vote.
//!
//! A network that runs T timesteps is trained by L_T. While the number of timesteps is searched by
//! weights w (LitE-SNN, Eq. 17), it is trained by the sum of w_i L_i: what the loss would be,
//! expected over the number of timesteps. With one weight of 1 the two are the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::Training;
use crate::network::prefix_cross_entropy;

/// What the outputs of all timesteps are trained for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Cross-entropy of the mean output over timesteps (paper, Eq. 16).
    #[default]
    MeanCrossEntropy,
    /// Cross-entropy of the output of each timestep, on the mean (TET, Deng et al., ICLR 2022).
    TimestepCrossEntropy,
    /// Cross-entropy of the mean output of each prefix of timesteps, on the mean, so that every
    /// timestep answers well for early exit (DT-SNN, Li et al., DAC 2023).
    PrefixCrossEntropy,
    /// Mean squared error between the mean output over timesteps, a rate, and the one-hot class.
    RateMse,
}

impl Loss {
    /// Whether a manifest need not name it.
    pub fn is_default(&self) -> bool {
        *self == Loss::default()
    }
}

impl Training {
    /// The loss L_T of outputs `[T, B, K]` for classes `[B]`: a scalar.
    pub fn loss(&self, outputs: &Tensor, labels: &Tensor) -> Tensor {
        let mean = || outputs.mean_dim(0, false, None::<Kind>);
        match self.loss {
            Loss::MeanCrossEntropy if self.label_smoothing == 0.0 => mean().cross_entropy_for_logits(labels),
            Loss::MeanCrossEntropy => self.smoothed(&mean().unsqueeze(0), labels).get(0),
            Loss::TimestepCrossEntropy => self.of_timesteps(outputs, labels).mean(None::<Kind>),
            Loss::PrefixCrossEntropy => self.of_prefixes(outputs, labels).mean(None::<Kind>),
            Loss::RateMse => self.squared_error(&mean().unsqueeze(0), labels).get(0),
        }
    }

    /// The loss L_i of the first i timesteps, for each i: outputs `[T, B, K]` and classes `[B]` to
    /// `[T]`.
    pub fn prefix_losses(&self, outputs: &Tensor, labels: &Tensor) -> Tensor {
        let steps = outputs.size()[0];
        let counts = || Tensor::arange_start(1, steps + 1, (outputs.kind(), outputs.device()));
        match self.loss {
            Loss::MeanCrossEntropy => self.of_prefixes(outputs, labels),
            Loss::PrefixCrossEntropy => self.of_prefixes(outputs, labels).cumsum(0, None::<Kind>) / counts(),
            Loss::TimestepCrossEntropy => self.of_timesteps(outputs, labels).cumsum(0, None::<Kind>) / counts(),
            Loss::RateMse => self.squared_error(&prefix_outputs(outputs), labels),
        }
    }

    /// CE of the mean output of each prefix, `[T]`.
    fn of_prefixes(&self, outputs: &Tensor, labels: &Tensor) -> Tensor {
        match self.label_smoothing {
            0.0 => prefix_cross_entropy(outputs, labels),
            _ => self.smoothed(&prefix_outputs(outputs), labels),
        }
    }

    /// CE of each of `[N, B, K]`, `[N]`.
    fn smoothed(&self, outputs: &Tensor, labels: &Tensor) -> Tensor {
        let over = |logs: Tensor| -logs.mean_dim([1i64, 2].as_slice(), false, None::<Kind>);
        let logs = outputs.log_softmax(2, None::<Kind>);
        let of_class = over(logs.gather(2, &index(outputs, labels), false));
        match self.label_smoothing {
            0.0 => of_class,
            smoothing => of_class * (1.0 - smoothing) + over(logs) * smoothing,
        }
    }

    /// The loss of each timestep alone, `[T]`.
    fn of_timesteps(&self, outputs: &Tensor, labels: &Tensor) -> Tensor {
        let entropy = self.smoothed(outputs, labels);
        match self.tet_lambda {
            0.0 => entropy,
            lambda => {
                let distance = (outputs - self.tet_target).square().mean_dim([1i64, 2].as_slice(), false, None::<Kind>);
                entropy * (1.0 - lambda) + distance * lambda
            }
        }
    }

    /// MSE of each of `[N, B, K]`, `[N]`.
    fn squared_error(&self, outputs: &Tensor, labels: &Tensor) -> Tensor {
        let smoothing = self.label_smoothing;
        let elsewhere = smoothing / outputs.size()[2] as f64;
        let of_class = 1.0 - smoothing + elsewhere;
        let targets = outputs.full_like(elsewhere).scatter_value(2, &index(outputs, labels), of_class);
        (outputs - targets.detach()).square().mean_dim([1i64, 2].as_slice(), false, None::<Kind>)
    }
}

/// Mean outputs of the first i timesteps, for each i: `[T, B, K]` to `[T, B, K]`.
fn prefix_outputs(outputs: &Tensor) -> Tensor {
    let steps = outputs.size()[0];
    let counts = Tensor::arange_start(1, steps + 1, (outputs.kind(), outputs.device()));
    outputs.cumsum(0, None::<Kind>) / counts.view([steps, 1, 1])
}

/// Classes `[B]` as an index into the last axis of `[N, B, K]`: `[N, B, 1]`.
fn index(outputs: &Tensor, labels: &Tensor) -> Tensor {
    labels.view([1, -1, 1]).expand([outputs.size()[0], -1, -1], false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;

    fn training(settings: &str) -> Training {
        serde_json::from_str(&format!("{{ \"epochs\": 1{settings} }}")).unwrap()
    }

    /// tch computes the cross-entropy of logits in f32, whatever they are: that of the default.
    fn tolerance(form: &str) -> f64 {
        if form.is_empty() { 1e-6 } else { 1e-12 }
    }

    const FORMS: [&str; 9] = [
        "",
        r#", "label_smoothing": 0.1"#,
        r#", "loss": "timestep-cross-entropy", "tet_lambda": 0"#,
        r#", "loss": "timestep-cross-entropy", "tet_lambda": 0.05, "tet_target": 0.5"#,
        r#", "loss": "timestep-cross-entropy", "label_smoothing": 0.2"#,
        r#", "loss": "prefix-cross-entropy""#,
        r#", "loss": "prefix-cross-entropy", "label_smoothing": 0.1"#,
        r#", "loss": "rate-mse""#,
        r#", "loss": "rate-mse", "label_smoothing": 0.1"#,
    ];

    /// The last prefix is all timesteps, and every prefix is a network of fewer.
    #[test]
    fn a_prefix_has_the_loss_of_so_many_timesteps() {
        let outputs = Stream::numbered(1).normal(&[4, 5, 3]).to_kind(Kind::Double);
        let labels = Tensor::from_slice(&[0i64, 1, 2, 1, 0]);
        for form in FORMS {
            let training = training(form);
            let all = training.prefix_losses(&outputs, &labels);
            for count in 1..=4 {
                let want = training.loss(&outputs.narrow(0, 0, count), &labels).double_value(&[]);
                let error = (all.double_value(&[count - 1]) - want).abs();
                assert!(error < tolerance(form), "{form}, {count} timesteps: {error}");
            }
        }
    }

    /// By hand, for T = 2, one image of class 1 and two classes, O = ((0, ln 3), (0, 0)):
    ///
    /// ```text
    /// CE(O(1)) = ln 4/3, CE(O(2)) = ln 2, and of the other class ln 4, ln 2
    /// mean (0, ln 3 / 2): p = sqrt 3 / (1 + sqrt 3)
    /// ```
    #[test]
    fn losses_have_their_closed_values() {
        let three = 3.0f64.ln();
        let outputs = Tensor::from_slice(&[0.0, three, 0.0, 0.0]).view([2, 1, 2]);
        let labels = Tensor::from_slice(&[1i64]);
        let right = ((1.0 + 3.0f64.sqrt()) / 3.0f64.sqrt()).ln();
        let wrong = (1.0 + 3.0f64.sqrt()).ln();
        let (first, second) = ((4.0f64 / 3.0).ln(), 2.0f64.ln());
        // (O - 0.5)²: 0.25 and (ln 3 - 0.5)², then 0.25 twice.
        let apart = (0.25 * 3.0 + (three - 0.5).powi(2)) / 4.0;
        let smoothed = (0.9 * first + 0.1 * 4.0f64.ln() + second) / 2.0;
        let half = three / 2.0;
        let want = [
            right,
            0.95 * right + 0.05 * wrong,
            (first + second) / 2.0,
            0.95 * (first + second) / 2.0 + 0.05 * apart,
            // Half of the smoothing is each class's; and l = 0.001, p = 1.
            0.999 * smoothed + 0.001 * (3.0 + (three - 1.0).powi(2)) / 4.0,
            // The first prefix is the first timestep, the second the mean.
            (first + right) / 2.0,
            // Of the other class ln 4 and ln(1 + sqrt 3).
            (0.95 * (first + right) + 0.05 * (4.0f64.ln() + wrong)) / 2.0,
            (half - 1.0).powi(2) / 2.0,
            (0.05f64.powi(2) + (half - 0.95).powi(2)) / 2.0,
        ];
        for (form, want) in FORMS.into_iter().zip(want) {
            let got = training(form).loss(&outputs, &labels).double_value(&[]);
            assert!((got - want).abs() < tolerance(form), "{form}: {got}, not {want}");
        }
    }

    #[test]
    fn the_default_is_the_cross_entropy_of_the_mean_to_the_bit() {
        let outputs = Stream::numbered(2).normal(&[4, 5, 3]);
        let labels = Tensor::from_slice(&[0i64, 1, 2, 1, 0]);
        let want = outputs.mean_dim(0, false, None::<Kind>).cross_entropy_for_logits(&labels);
        assert!(training("").loss(&outputs, &labels).equal(&want));
        assert!(training("").prefix_losses(&outputs, &labels).equal(&prefix_cross_entropy(&outputs, &labels)));
    }
}
