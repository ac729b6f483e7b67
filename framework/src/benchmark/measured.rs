//! What a benchmark measured.

use crate::spiking::ConvolutionCall;

/// What was measured; times in seconds.
#[derive(Debug, Default)]
pub struct Measured {
    /// Of each step, or of the evaluation of a batch.
    pub step: Vec<f64>,
    /// Of the convolutions alone, in the same turns and in the step's memory layout.
    pub convolutions: Vec<f64>,
    /// Of the same convolutions in libtorch's default layout.
    pub default_layout: Vec<f64>,
    /// Convolutions of a step.
    pub calls: Vec<ConvolutionCall>,
    /// Memory of the device that the process held before the network was built, in bytes.
    pub idle_memory: u64,
    /// The largest before the convolutions ran alone, in bytes.
    pub peak_memory: u64,
}

/// The middle of some numbers.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

impl Measured {
    /// The step's time over that of its convolutions, turn by turn.
    pub fn ratios(&self) -> Vec<f64> {
        self.step.iter().zip(&self.convolutions).map(|(step, floor)| step / floor).collect()
    }

    /// The same with the convolutions in libtorch's default layout.
    pub fn default_ratios(&self) -> Vec<f64> {
        self.step.iter().zip(&self.default_layout).map(|(step, floor)| step / floor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
