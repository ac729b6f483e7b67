//! The convolutions of a pass alone, which a benchmark compares the pass with: forward and with the
//! gradients that the pass asked for, as libtorch computes them.

use tch::{Device, Kind, Tensor};

use super::convolution::{convolved, gradients};
use super::maps::channels_last;
use super::recorder::ConvolutionCall;

/// The convolutions of a pass alone.
pub struct ConvolutionFloor {
    /// Each with tensors of its own, as in the pass: input, weight, gradient of the output. The
    /// time does not depend on the values.
    calls: Vec<(ConvolutionCall, [Tensor; 3])>,
}

impl ConvolutionFloor {
    /// Prepares inputs, weights and gradients of `calls`, in the memory layout and the type of the
    /// calls.
    #[expect(clippy::disallowed_methods, reason = "the time does not depend on the values")]
    pub fn new(calls: &[ConvolutionCall], device: Device) -> ConvolutionFloor {
        let random = |shape: &[i64], call: &ConvolutionCall| {
            let tensor = Tensor::rand(shape, (Kind::Float, device));
            let tensor = if call.channels_last { channels_last(&tensor) } else { tensor };
            call.precision.factor(&tensor)
        };
        let prepared = |call: &ConvolutionCall| {
            let shapes = [&call.input, &call.weight, &call.output()];
            (call.clone(), shapes.map(|shape| random(shape, call)))
        };
        ConvolutionFloor { calls: calls.iter().map(prepared).collect() }
    }

    /// The same convolutions in libtorch's default layout.
    pub fn contiguous(calls: &[ConvolutionCall], device: Device) -> ConvolutionFloor {
        let calls: Vec<ConvolutionCall> =
            calls.iter().map(|call| ConvolutionCall { channels_last: false, ..call.clone() }).collect();
        ConvolutionFloor::new(&calls, device)
    }

    /// All convolutions forward, then their gradients from the last to the first.
    pub fn run(&self) {
        tch::no_grad(|| {
            for (call, [input, weight, _]) in &self.calls {
                let _ = convolved(input, weight, call);
            }
            for (call, [input, weight, output]) in self.calls.iter().rev() {
                if call.gradients != [false; 2] {
                    gradients(output, input, weight, call);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;
    use crate::spiking::{Precision, Recorder};

    #[test]
    fn the_floor_computes_the_gradients_that_autograd_does() {
        let leaf = |shape: &[i64]| Stream::numbered(1).uniform(shape, 0.0, 1.0).set_requires_grad(true);
        let (input, weight) = (leaf(&[2, 3, 8, 8]), leaf(&[4, 3, 3, 3]));
        let recorder = Recorder::default();
        recorder.start();
        let output = Precision::F32.convolve(&input, &weight, None, 2, 1, Some(&recorder)).currents();
        let [call]: [ConvolutionCall; 1] = recorder.take().try_into().unwrap();
        let upstream = Stream::numbered(2).uniform(&output.size(), 0.0, 1.0);
        (output * &upstream).sum(Kind::Float).backward();
        let [to_input, to_weight] = gradients(&upstream, &input.detach(), &weight.detach(), &call);
        assert!(to_input.unwrap().allclose(&input.grad(), 1e-5, 1e-5, false));
        assert!(to_weight.unwrap().allclose(&weight.grad(), 1e-5, 1e-5, false));
        ConvolutionFloor::new(&[call], Device::Cpu).run();
    }
}
