//! The factors of a layer's cost that its compressors give: bits of a weight, and density.

use tch::{Device, Kind, Tensor};

use super::constants::CostConstants;

/// A factor of a layer's cost.
///
/// A search asks for the factors of all layers at every step and computes them for all layers at
/// once, so that a factor says what it is, and not how it is computed.
#[derive(Debug)]
pub enum Factor {
    /// A number.
    Constant(f64),
    /// Expected under a choice that is searched, in f32 (paper, Eq. 19):
    ///
    /// ```text
    /// sum over i of softmax(logits)_i · values_i
    /// ```
    Expected {
        /// Logits, one for each of `values`. Layers with the same tensor share the result.
        logits: Tensor,
        /// What is chosen among.
        values: Vec<f64>,
    },
    /// A scalar tensor: what it is computed from, differentiable or not, is the compressor's own.
    Scalar(Tensor),
}

impl Factor {
    /// It alone: a scalar in f64, differentiable where its sources are.
    pub fn tensor(&self) -> Tensor {
        let device = match self {
            Factor::Constant(_) => Device::Cpu,
            Factor::Expected { logits, .. } => logits.device(),
            Factor::Scalar(scalar) => scalar.device(),
        };
        vector("factor", std::slice::from_ref(self), &CostConstants::default(), device).get(0)
    }

    /// Its value now.
    pub fn number(&self) -> f64 {
        match self {
            Factor::Constant(number) => *number,
            _ => tch::no_grad(|| self.tensor().double_value(&[])),
        }
    }
}

/// Choices among the same values.
struct Choices<'a> {
    values: &'a [f64],
    logits: Vec<&'a Tensor>,
}

impl Choices<'_> {
    /// The expected value of each, `[choices]`.
    fn expected(&self, name: (&'static str, usize), constants: &CostConstants) -> Tensor {
        let (count, width) = (self.logits.len() as i64, self.values.len() as i64);
        let logits = Tensor::cat(&self.logits, 0).view([count, width]);
        let values = constants.tensor(name, self.values.to_vec(), &[width], (Kind::Float, logits.device()));
        (logits.softmax(1, Kind::Float) * values).sum_dim_intlist(1, false, Kind::Float).to_kind(Kind::Double)
    }
}

/// Where a factor stands among the distinct ones.
enum Place {
    Constant(usize),
    /// Of these [`Choices`], the choice.
    Choice(usize, usize),
    Scalar(usize),
}

/// All `factors` in f64, `[factors]`, by as many operations for many as for a few: each choice is
/// computed once for all factors that share its logits. `name` says what they are in `constants`.
pub(super) fn vector(name: &'static str, factors: &[Factor], constants: &CostConstants, device: Device) -> Tensor {
    let (mut numbers, mut choices, mut scalars) = (Vec::new(), Vec::<Choices>::new(), Vec::new());
    let mut places = Vec::with_capacity(factors.len());
    for factor in factors {
        places.push(match factor {
            Factor::Constant(number) => {
                numbers.push(*number);
                Place::Constant(numbers.len() - 1)
            }
            Factor::Expected { logits, values } => {
                let of = choices.iter().position(|known| known.values == values).unwrap_or_else(|| {
                    choices.push(Choices { values, logits: Vec::new() });
                    choices.len() - 1
                });
                let known = &mut choices[of].logits;
                let shared = known.iter().position(|known| known.data_ptr() == logits.data_ptr());
                Place::Choice(
                    of,
                    shared.unwrap_or_else(|| {
                        known.push(logits);
                        known.len() - 1
                    }),
                )
            }
            Factor::Scalar(scalar) => {
                scalars.push(scalar.reshape([1]));
                Place::Scalar(scalars.len() - 1)
            }
        });
    }
    if numbers.len() == factors.len() {
        return constants.vector(name, numbers, device);
    }
    // Where each kind begins, side by side: numbers, choices, scalars.
    let mut first = vec![numbers.len()];
    first.extend(choices.iter().scan(numbers.len(), |end, of| {
        *end += of.logits.len();
        Some(*end)
    }));
    let places: Vec<usize> = places
        .into_iter()
        .map(|place| match place {
            Place::Constant(index) => index,
            Place::Choice(of, index) => first[of] + index,
            Place::Scalar(index) => first[choices.len()] + index,
        })
        .collect();
    let mut parts: Vec<Tensor> = Vec::new();
    if !numbers.is_empty() {
        parts.push(constants.vector(name, numbers, device));
    }
    parts.extend(
        choices.iter().enumerate().map(|(index, of)| of.expected((name, index + 1), constants).to_device(device)),
    );
    if !scalars.is_empty() {
        parts.push(Tensor::cat(&scalars, 0).to_kind(Kind::Double).to_device(device));
    }
    let sources = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) };
    constants.select(name, &sources, &places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out factor by factor, as the formula has it.
    #[test]
    fn a_vector_of_factors_is_each_of_them_with_its_gradient() {
        let leaf = |values: &[f32]| Tensor::from_slice(values).set_requires_grad(true);
        let (a, b, c) = (leaf(&[0.3, -0.2, 0.1]), leaf(&[1.0, 0.5, -0.5]), leaf(&[0.2, 0.9]));
        let scalar = Tensor::from_slice(&[0.25]).set_requires_grad(true);
        let expected = |logits: &Tensor, values: &[f64]| Factor::Expected {
            logits: logits.shallow_clone(),
            values: values.to_vec(),
        };
        let factors = [
            expected(&a, &[1.0, 2.0, 4.0]),
            Factor::Constant(32.0),
            expected(&b, &[1.0, 2.0, 4.0]),
            Factor::Scalar(scalar.sum(Kind::Double)),
            expected(&a, &[1.0, 2.0, 4.0]),
            expected(&c, &[2.0, 8.0]),
            Factor::Constant(4.0),
        ];
        let weigh = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let got = vector("bits", &factors, &CostConstants::default(), Device::Cpu);
        (&got * &weigh).sum(Kind::Double).backward();

        let softmax = |logits: &Tensor| {
            let powers: Vec<f64> =
                Vec::<f64>::try_from(logits.detach().to_kind(Kind::Double)).unwrap().iter().map(|x| x.exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(|power| power / sum).collect::<Vec<f64>>()
        };
        let mean = |logits: &Tensor, values: &[f64]| {
            softmax(logits).iter().zip(values).map(|(p, value)| p * value).sum::<f64>()
        };
        let three = [1.0, 2.0, 4.0];
        let want = [mean(&a, &three), 32.0, mean(&b, &three), 0.25, mean(&a, &three), mean(&c, &[2.0, 8.0]), 4.0];
        for (got, want) in Vec::<f64>::try_from(&got).unwrap().into_iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        // d mean / d logit_i = p_i (value_i - mean), times what the factor is weighed with.
        for (logits, values, weight) in [(&a, &three[..], 1.0 + 5.0), (&b, &three[..], 3.0), (&c, &[2.0, 8.0][..], 6.0)]
        {
            let mean = mean(logits, values);
            for (index, (p, value)) in softmax(logits).iter().zip(values).enumerate() {
                let told = logits.grad().double_value(&[index as i64]);
                assert!((told - weight * p * (value - mean)).abs() < 1e-5, "{told}");
            }
        }
        assert_eq!(scalar.grad().double_value(&[0]), 4.0);
    }

    #[test]
    fn one_factor_is_its_number() {
        let logits = Tensor::from_slice(&[0f32, 0.0]);
        assert_eq!(Factor::Expected { logits, values: vec![2.0, 4.0] }.number(), 3.0);
        assert_eq!(Factor::Constant(0.1).number(), 0.1);
        assert_eq!(Factor::Constant(0.1).tensor().double_value(&[]), 0.1);
        assert_eq!(Factor::Scalar(Tensor::from(0.5f32)).number(), 0.5);
    }
}
