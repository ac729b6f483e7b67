//! A record of the convolutions that a pass makes.

use std::cell::RefCell;

use super::precision::Precision;

/// A convolution that a pass made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvolutionCall {
    /// `[T·B, C, H, W]`
    pub input: Vec<i64>,
    /// `[out, C, kh, kw]`, or `[C, 1, kh, kw]` of a depthwise convolution.
    pub weight: Vec<i64>,
    /// The same on both axes.
    pub stride: i64,
    /// Zeros on every side.
    pub padding: i64,
    /// Whether the gradient to the input was needed, and that to the weight.
    pub gradients: [bool; 2],
    /// Whether the channels of the input are last in memory.
    pub channels_last: bool,
    /// The type.
    pub precision: Precision,
}

impl ConvolutionCall {
    /// `[T·B, out, H', W']`
    pub fn output(&self) -> Vec<i64> {
        let side = |size: i64, kernel: i64| (size + 2 * self.padding - kernel) / self.stride + 1;
        let [input, weight] = [&self.input, &self.weight];
        vec![input[0], weight[0], side(input[2], weight[2]), side(input[3], weight[3])]
    }

    /// Groups of channels, each of which is convolved on its own: C where it is depthwise, else 1.
    pub fn groups(&self) -> i64 {
        if self.weight[..2] == [self.input[1], 1] { self.input[1] } else { 1 }
    }

    /// Multiply-accumulate operations, of the forward pass and of each gradient alike.
    pub fn macs(&self) -> f64 {
        let product = |sizes: &[i64]| sizes.iter().map(|&size| size as f64).product::<f64>();
        let output = self.output();
        product(&self.weight) * product(&output) / output[1] as f64
    }
}

/// Keeps the convolutions of passes, from [`Recorder::start`] to [`Recorder::take`].
#[derive(Debug, Default)]
pub struct Recorder {
    /// `None` while nothing is recorded.
    calls: RefCell<Option<Vec<ConvolutionCall>>>,
}

impl Recorder {
    /// Begins an empty record.
    pub fn start(&self) {
        self.calls.replace(Some(Vec::new()));
    }

    /// Ends the record and hands it out.
    pub fn take(&self) -> Vec<ConvolutionCall> {
        self.calls.take().unwrap_or_default()
    }

    /// Adds a convolution to the record, where one has begun.
    pub(super) fn note(&self, call: impl FnOnce() -> ConvolutionCall) {
        if let Some(calls) = self.calls.borrow_mut().as_mut() {
            calls.push(call());
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;
    use crate::ground::Stream;

    #[test]
    fn a_record_holds_what_was_convolved_and_which_gradients_it_needs() {
        let (image, weight) = (
            Stream::numbered(1).uniform(&[2, 3, 9, 9], 0.0, 1.0),
            Stream::numbered(2).uniform(&[4, 3, 3, 3], 0.0, 1.0),
        );
        let trained = weight.copy().set_requires_grad(true);
        let recorder = Recorder::default();
        let convolve = |input: &Tensor, weight: &Tensor, stride, padding| {
            Precision::F32.convolve(input, weight, None, stride, padding, Some(&recorder)).currents()
        };
        recorder.start();
        let spikes = convolve(&image, &trained, 2, 1);
        let fixed = Stream::numbered(3).uniform(&[5, 4, 1, 1], 0.0, 1.0);
        let _ = (convolve(&spikes, &fixed, 1, 0), tch::no_grad(|| convolve(&spikes, &fixed, 1, 0)));
        let calls = recorder.take();
        assert_eq!(
            calls.iter().map(|call| call.gradients).collect::<Vec<_>>(),
            [[false, true], [true, false], [false, false]]
        );
        assert_eq!(calls[0].output(), spikes.size());
        assert_eq!(calls[0].macs(), (4 * 3 * 9 * 2 * 25) as f64);
        let _ = convolve(&image, &weight, 1, 1);
        assert!(recorder.take().is_empty());
    }
}
