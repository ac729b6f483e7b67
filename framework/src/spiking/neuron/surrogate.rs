//! Surrogate gradients: what stands in place of ds/du in the backward pass of a spike
//! s = 1 if u > V_th else 0.
//!
//! With d = u - V_th, the distance of the membrane potential from the threshold:
//!
//! | name | D(d) | setting | source |
//! |---|---|---|---|
//! | `dspike` | b / (2 tanh(b/2)) · (1 - tanh²(b d)) for \|d\| < 1/2, else 0 | `temperature` b = 3 | Li et al., NeurIPS 2021 |
//! | `atan` | (a/2) / (1 + (a π d / 2)²) | `alpha` a = 2 | Fang et al., ICCV 2021 |
//! | `triangle` | max(0, 1 - \|d\|/r) / r | `reach` r = 1 | Bellec et al., NeurIPS 2018; Deng et al., ICLR 2022 |
//! | `rectangle` | 1 / (2r) for \|d\| < r, else 0 | `reach` r = 0.5 | Wu et al., Frontiers in Neuroscience 2018 |
//! | `sigmoid` | a σ(a d) (1 - σ(a d)) | `alpha` a = 4 | Zenke and Ganguli, Neural Computation 2018; Wu et al., 2018 |
//!
//! The area under each of them is 1, whatever the setting (that of Dspike too: its support ends at
//! ±1/2). A larger `temperature` or `alpha`, or a smaller `reach`, is closer to a step. Bellec's
//! triangle is lower by a factor of 0.3, and STBP's width is 2r.

use std::f64::consts::PI;

use tch::Tensor;

/// The Dspike surrogate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dspike {
    /// Temperature b > 0: larger is closer to a step (paper: 3).
    pub temperature: f64,
}

impl Dspike {
    /// How far from the threshold a potential still has a gradient.
    pub const REACH: f64 = 0.5;

    /// Height of the derivative at its centre: b / (2 tanh(b/2)).
    pub fn peak(self) -> f64 {
        self.temperature / (2.0 * (self.temperature / 2.0).tanh())
    }

    /// The derivative at membrane potential `u` of neurons with this `threshold`, by tensor
    /// operations.
    pub fn derivative(self, u: &Tensor, threshold: f64) -> Tensor {
        Surrogate::Dspike(self).derivative(&(u - threshold))
    }
}

/// A surrogate gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Surrogate {
    /// The derivative of Dspike.
    Dspike(Dspike),
    /// The derivative of an arc tangent.
    Atan {
        /// Sharpness a > 0.
        alpha: f64,
    },
    /// A triangle.
    Triangle {
        /// Half of its base, r > 0.
        reach: f64,
    },
    /// A rectangle.
    Rectangle {
        /// Half of its base, r > 0.
        reach: f64,
    },
    /// The derivative of a logistic sigmoid.
    Sigmoid {
        /// Sharpness a > 0.
        alpha: f64,
    },
}

impl Surrogate {
    /// D at `distance` u - V_th from the threshold, of the same shape.
    pub fn derivative(self, distance: &Tensor) -> Tensor {
        let inside = |reach: f64| distance.abs().lt(reach).to_kind(distance.kind());
        match self {
            Surrogate::Dspike(dspike) => {
                let tanh = (distance * dspike.temperature).tanh();
                (1.0 - tanh.square()) * dspike.peak() * inside(Dspike::REACH)
            }
            Surrogate::Atan { alpha } => ((distance * (alpha * PI / 2.0)).square() + 1.0).reciprocal() * (alpha / 2.0),
            Surrogate::Triangle { reach } => {
                let height: Tensor = 1.0 - distance.abs() / reach;
                height.clamp_min(0.0) / reach
            }
            Surrogate::Rectangle { reach } => inside(reach) / (2.0 * reach),
            Surrogate::Sigmoid { alpha } => {
                let sigmoid = (distance * alpha).sigmoid();
                &sigmoid * (1.0 - &sigmoid) * alpha
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// The surrogates with the settings of the literature.
    pub(in super::super) const ALL: [Surrogate; 5] = [
        Surrogate::Dspike(Dspike { temperature: 3.0 }),
        Surrogate::Atan { alpha: 2.0 },
        Surrogate::Triangle { reach: 1.0 },
        Surrogate::Rectangle { reach: 0.5 },
        Surrogate::Sigmoid { alpha: 4.0 },
    ];

    fn at(surrogate: Surrogate, distance: f64) -> f64 {
        surrogate.derivative(&Tensor::from(distance)).double_value(&[])
    }

    #[test]
    fn dspike_has_the_published_peak_and_edge() {
        let dspike = Dspike { temperature: 3.0 };
        let at = |u: f64| dspike.derivative(&Tensor::from(u), 0.5).double_value(&[]);
        assert!((dspike.peak() - 1.6572).abs() < 5e-5);
        assert!((at(0.5) - 1.6572).abs() < 5e-5);
        assert!((at(1e-9) - 0.2995).abs() < 5e-5);
        assert_eq!((at(0.0), at(1.0), at(-0.1), at(1.1)), (0.0, 0.0, 0.0, 0.0));
    }

    /// Closed values by hand: atan' = 1 / (1 + (pi d)²) at alpha 2, sigmoid' = 4 q / (1 + q)² with
    /// q = e^(-4|d|).
    #[test]
    fn the_others_have_their_closed_values() {
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{got}, not {want}");
        let [_, atan, triangle, rectangle, sigmoid] = ALL;
        close(at(atan, 0.0), 1.0);
        close(at(atan, -0.3), 0.529_586_853_4);
        close(at(Surrogate::Atan { alpha: 4.0 }, 0.3), 0.439_265_254_8);
        for (distance, height) in [(0.0, 1.0), (0.3, 0.7), (-0.75, 0.25), (1.0, 0.0), (1.5, 0.0)] {
            close(at(triangle, distance), height);
        }
        close(at(Surrogate::Triangle { reach: 0.5 }, 0.25), 1.0);
        for (distance, height) in [(0.0, 1.0), (-0.49, 1.0), (0.5, 0.0), (0.6, 0.0)] {
            close(at(rectangle, distance), height);
        }
        close(at(Surrogate::Rectangle { reach: 0.25 }, 0.2), 2.0);
        close(at(sigmoid, 0.0), 1.0);
        close(at(sigmoid, 0.25), 0.786_447_732_9);
        close(at(sigmoid, -0.25), 0.786_447_732_9);
    }

    #[test]
    fn the_area_under_each_is_one() {
        let more = [
            Surrogate::Dspike(Dspike { temperature: 7.0 }),
            Surrogate::Atan { alpha: 5.0 },
            Surrogate::Triangle { reach: 0.3 },
            Surrogate::Rectangle { reach: 1.5 },
            Surrogate::Sigmoid { alpha: 9.0 },
        ];
        const STEP: f64 = 1e-3;
        let distances = (Tensor::arange(2_000_000, (Kind::Double, Device::Cpu)) + 0.5) * STEP - 1000.0;
        for surrogate in ALL.into_iter().chain(more) {
            let area = surrogate.derivative(&distances).sum(Kind::Double).double_value(&[]) * STEP;
            // The tails of an arc tangent beyond 1000 have an area of 2 / (pi² 1000).
            assert!((area - 1.0).abs() < 1e-3, "{surrogate:?}: {area}");
        }
    }
}
