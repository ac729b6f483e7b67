//! Convolutions over time-folded tensors `[T·B, C, H, W]`, in f32, TF32 or bf16.

use std::ffi::{c_char, c_int};

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::function::{custom_function, panic_on_failure};
use super::maps::channels_last;
use super::precision::Precision;
use super::recorder::{ConvolutionCall, Recorder};
use crate::ground::Stream;

/// The output y = steps · z of a convolution, as it comes out: z `[T·B, C, H, W]`, in bf16 where that
/// is the type of the convolution.
///
/// [`Currents`](super::Currents) take it as it is: on a GPU their kernels read z, and its steps go into
/// the normalisation, so that no pass over the maps is made for them.
#[derive(Debug)]
pub struct Convolved {
    pub(super) maps: Tensor,
    /// `[C]`, positive; nothing for 1.
    pub(super) steps: Option<Tensor>,
}

impl Convolved {
    /// z `[T·B, C, H, W]`, and the steps `[C]` by which y is z's multiple.
    pub fn over_steps(maps: Tensor, steps: Tensor) -> Convolved {
        Convolved { maps, steps: Some(steps) }
    }

    /// y, in f32.
    pub fn currents(&self) -> Tensor {
        let maps = match self.maps.kind() {
            Kind::BFloat16 => self.maps.to_kind(Kind::Float),
            _ => self.maps.shallow_clone(),
        };
        match &self.steps {
            Some(steps) => maps * steps.view([1, -1, 1, 1]),
            None => maps,
        }
    }
}

impl From<Tensor> for Convolved {
    /// Of maps that are their own currents.
    fn from(maps: Tensor) -> Convolved {
        Convolved { maps, steps: None }
    }
}

impl From<&Tensor> for Convolved {
    fn from(maps: &Tensor) -> Convolved {
        Convolved::from(maps.shallow_clone())
    }
}

impl Precision {
    /// Convolves `input` `[T·B, C, H, W]` with `weight` `[out, C, kh, kw]` in this type, and tells
    /// the recorder. A weight `[C, 1, kh, kw]` convolves each channel on its own: depthwise.
    ///
    /// In TF32 and bf16, with `steps` `[out]`, x the input, W the weight and r the rounding of the
    /// type,
    ///
    /// ```text
    /// y = steps · z,  z = r_out(r(x) * r(W / steps))    r_out: of bf16, and nothing in TF32
    /// ```
    ///
    /// Spikes are exact in both types, and so is a quantised weight over its step (at most 8
    /// significant bits): products and sums are those of f32 then. In TF32 y is that of f32 but for
    /// the order of the sums; in bf16 it differs by its one rounding, at most 2⁻⁸ of its value.
    /// Without `steps` the weight is rounded, too. Gradients pass as if nothing were rounded; the
    /// gradient to z is rounded to the type.
    pub fn convolve(
        self,
        input: &Tensor,
        weight: &Tensor,
        steps: Option<&Tensor>,
        stride: i64,
        padding: i64,
        recorder: Option<&Recorder>,
    ) -> Convolved {
        let needed = [input, weight].map(|tensor| autograd_records() && tensor.requires_grad());
        // Where neurons are tensor operations, their maps need not have the channels last.
        let input = &match input.device() {
            Device::Cpu => input.shallow_clone(),
            _ => channels_last(input),
        };
        let (input, stride) = strided_beforehand(input, weight, stride, padding);
        let call = || ConvolutionCall {
            input: input.size(),
            weight: weight.size(),
            stride,
            padding,
            gradients: needed,
            channels_last: input.stride()[1] == 1 && input.size()[1] > 1,
            precision: self,
        };
        if let Some(recorder) = recorder {
            recorder.note(call);
        }
        match self {
            Precision::F32 => {
                let maps = input.conv2d(weight, None::<&Tensor>, [stride; 2], [padding; 2], [1, 1], call().groups());
                Convolved::from(maps)
            }
            Precision::Tf32 | Precision::Bf16 => convolve_rounded(&input, weight, steps, call()),
        }
    }
}

/// The input and the stride of a convolution; of one of 1x1 in steps, on a CPU, the pixels that it
/// reads and a stride of 1, which is the same convolution.
///
/// oneDNN's gradient to the weight of such a convolution writes behind its own memory where the
/// channels last are fewer than a vector's (16 at most): a wrong gradient, a crash, or a loop that
/// does not end, seen in PyTorch 2.11 to 2.15 (uxlfoundation/oneDNN, issue 6035).
fn strided_beforehand(input: &Tensor, weight: &Tensor, stride: i64, padding: i64) -> (Tensor, i64) {
    if input.device() != Device::Cpu || stride == 1 || padding != 0 || weight.size()[2..] != [1, 1] {
        return (input.shallow_clone(), stride);
    }
    let read = input.slice(2, None, None, stride).slice(3, None, None, stride);
    (channels_last(&read), 1)
}

fn convolve_rounded(input: &Tensor, weight: &Tensor, steps: Option<&Tensor>, call: ConvolutionCall) -> Convolved {
    assert!(call.precision.is_for(input.device()), "only a GPU convolves in {}", call.precision.name());
    let precision = call.precision;
    let steps = steps.map(Tensor::detach);
    let over_steps = |of: &Tensor, steps: Option<&Tensor>| {
        steps.map_or_else(|| of.shallow_clone(), |steps| of / steps.view([-1, 1, 1, 1]))
    };
    let forward = || {
        let (x, w) = (precision.factor(&input.detach()), weight.detach());
        let w = precision.factor(&over_steps(&w, steps.as_ref()));
        let z = convolved(&x, &w, &call);
        (vec![z], [x, w].into_iter().chain(steps.as_ref().map(Tensor::shallow_clone)).collect())
    };
    let backward = {
        let call = call.clone();
        move |upstream: &[Tensor], saved: &[Tensor]| {
            let upstream = precision.factor(&upstream[0]);
            let [to_input, to_weight] = gradients(&upstream, &saved[0], &saved[1], &call)
                .map(|gradient| gradient.map(|gradient| gradient.to_kind(Kind::Float)));
            vec![to_input, to_weight.map(|gradient| over_steps(&gradient, saved.get(2)))]
        }
    };
    let maps = custom_function(&[input, weight], forward, backward).pop().expect("one output was given");
    Convolved { maps, steps }
}

/// Whether autograd records what is computed.
fn autograd_records() -> bool {
    unsafe extern "C" {
        fn litesnn_records() -> c_int;
    }
    // SAFETY: reads a flag of this thread.
    unsafe { litesnn_records() != 0 }
}

/// Initial weight of a convolution `[out, in, kh, kw]`: N(0, 2 / (out · kh · kw)), Kaiming normal
/// by fan out.
pub fn kaiming_fan_out(stream: &mut Stream, shape: &[i64]) -> Tensor {
    let fan_out = (shape[0] * shape[2..].iter().product::<i64>()) as f64;
    stream.normal_of(shape, (2.0 / fan_out).sqrt())
}

/// libtorch's convolution of a call, on factors in the call's type.
pub(super) fn convolved(input: &Tensor, weight: &Tensor, call: &ConvolutionCall) -> Tensor {
    unsafe extern "C" {
        fn litesnn_convolution(
            input: *mut C_tensor,
            weight: *mut C_tensor,
            stride: i64,
            padding: i64,
            groups: i64,
            tf32: c_int,
            result: *mut *mut C_tensor,
        ) -> *mut c_char;
    }
    let mut result = std::ptr::null_mut();
    // SAFETY: two tensors that live through the call, and one result.
    unsafe {
        panic_on_failure(litesnn_convolution(
            input.as_ptr().cast_mut(),
            weight.as_ptr().cast_mut(),
            call.stride,
            call.padding,
            call.groups(),
            c_int::from(call.precision == Precision::Tf32),
            &raw mut result,
        ));
        Tensor::from_ptr(result)
    }
}

/// libtorch's gradients of a convolution to input and weight; a gradient that the call does not
/// need is not computed.
pub(super) fn gradients(
    output: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    call: &ConvolutionCall,
) -> [Option<Tensor>; 2] {
    unsafe extern "C" {
        fn litesnn_convolution_gradients(
            output: *mut C_tensor,
            input: *mut C_tensor,
            weight: *mut C_tensor,
            stride: i64,
            padding: i64,
            groups: i64,
            tf32: c_int,
            needed: *const c_int,
            results: *mut *mut C_tensor,
        ) -> *mut c_char;
    }
    let pointer = |tensor: &Tensor| tensor.as_ptr().cast_mut();
    let needed = call.gradients.map(c_int::from);
    let mut results = [std::ptr::null_mut(); 2];
    // SAFETY: three tensors that live through the call; two flags, two results.
    unsafe {
        let failure = litesnn_convolution_gradients(
            pointer(output),
            pointer(input),
            pointer(weight),
            call.stride,
            call.padding,
            call.groups(),
            c_int::from(call.precision == Precision::Tf32),
            needed.as_ptr(),
            results.as_mut_ptr(),
        );
        panic_on_failure(failure);
        results.map(|result| (!result.is_null()).then(|| Tensor::from_ptr(result)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// oneDNN's own gradient is wrong here, and does not always end.
    #[test]
    fn pointwise_convolutions_in_steps_have_the_gradients_of_f64() {
        for (channels, stride) in [(1, 2), (3, 2), (4, 2), (6, 3), (20, 2)] {
            let stream = &mut Stream::numbered(channels as u64);
            let input = stream.normal_of(&[6, channels, 8, 7], 1.0);
            let weight = stream.normal_of(&[6, channels, 1, 1], 1.0);
            let made = [Kind::Float, Kind::Double].map(|kind| {
                let [input, weight] =
                    [&input, &weight].map(|tensor| tensor.detach().to_kind(kind).set_requires_grad(true));
                let output = match kind {
                    Kind::Float => {
                        Precision::F32.convolve(&channels_last(&input), &weight, None, stride, 0, None).currents()
                    }
                    _ => input.conv2d(&weight, None::<&Tensor>, [stride; 2], [0, 0], [1, 1], 1),
                };
                output.pow_tensor_scalar(2).sum(kind).backward();
                [output.detach(), input.grad(), weight.grad()].map(|tensor| tensor.to_kind(Kind::Double))
            });
            for (got, want) in made[0].iter().zip(&made[1]) {
                let apart = (got - want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
                assert!(apart < 1e-5, "{channels} channels, stride {stride}: {apart:.1e} apart");
            }
        }
    }

    /// Each channel alone, in every form of a cell: with oneDNN's own kernels for few and for many
    /// channels, in f32 and in bf16.
    #[test]
    fn depthwise_convolutions_are_those_of_each_channel_alone() {
        for (channels, stride) in [(1, 1), (3, 2), (6, 1), (8, 4), (20, 2)] {
            let stream = &mut Stream::numbered(channels as u64);
            let input = channels_last(&stream.normal_of(&[6, channels, 9, 7], 1.0));
            let weight = stream.normal_of(&[channels, 1, 3, 3], 1.0);
            let by = |convolve: &dyn Fn(&Tensor, &Tensor) -> Tensor, kind: Kind| {
                let [input, weight] =
                    [&input, &weight].map(|tensor| tensor.detach().to_kind(kind).set_requires_grad(true));
                let output = convolve(&input, &weight);
                output.pow_tensor_scalar(2).sum(kind).backward();
                [output.detach(), input.grad(), weight.grad()].map(|tensor| tensor.to_kind(Kind::Double))
            };
            let alone = |input: &Tensor, weight: &Tensor| {
                let of = |channel| {
                    let (input, weight) = (input.narrow(1, channel, 1), weight.narrow(0, channel, 1));
                    input.conv2d(&weight, None::<&Tensor>, [stride; 2], [1, 1], [1, 1], 1)
                };
                Tensor::cat(&(0..channels).map(of).collect::<Vec<_>>(), 1)
            };
            let want = by(&alone, Kind::Double);
            for (precision, most) in [(Precision::F32, 1e-5), (Precision::Bf16, 2f64.powi(-5))] {
                let of_type = |input: &Tensor, weight: &Tensor| {
                    precision.convolve(input, weight, None, stride, 1, None).currents()
                };
                for (got, want) in by(&of_type, Kind::Float).iter().zip(&want) {
                    let apart = (got - want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
                    let name = precision.name();
                    assert!(apart < most, "{name}, {channels} channels, stride {stride}: {apart:.1e} apart");
                }
            }
        }
    }

    /// Sums of products of spikes and levels are exact in f32, in whatever order: all that is left
    /// is the rounding of the result.
    #[test]
    fn spikes_and_quantised_weights_differ_by_one_rounding_in_bf16() {
        let spikes = channels_last(&Stream::numbered(1).uniform(&[4, 6, 9, 9], 0.0, 1.0).gt(0.7).to_kind(Kind::Float));
        // The levels of 8 bits: -127.5, -126.5, ..., 127.5.
        let levels = (Stream::numbered(2).uniform(&[8, 6, 3, 3], 0.0, 1.0) * 256.0).floor() - 127.5;
        let steps = Stream::numbered(3).uniform(&[8], 0.0, 1.0) * 0.1 + 0.01;
        let weight = (&levels * steps.view([-1, 1, 1, 1])).set_requires_grad(true);
        let got = Precision::Bf16.convolve(&spikes, &weight, Some(&steps), 2, 1, None).currents();
        let sums = Precision::F32.convolve(&spikes, &levels, None, 2, 1, None).currents();
        let rounded = sums.to_kind(Kind::BFloat16).to_kind(Kind::Float);
        assert!(got.equal(&(&rounded * steps.view([1, -1, 1, 1]))));
        let want = tch::no_grad(|| Precision::F32.convolve(&spikes, &weight, None, 2, 1, None)).currents();
        // f32 adds up at most 54 products of weights with their step, each sum rounded once.
        let magnitude = tch::no_grad(|| Precision::F32.convolve(&spikes, &weight.abs(), None, 2, 1, None)).currents();
        let apart = (&got - &want).abs();
        let bound = want.abs() * 2f64.powi(-8) + magnitude * (54.0 * 2f64.powi(-23));
        assert!(apart.le_tensor(&bound).all().int64_value(&[]) == 1);
        assert!(apart.max().double_value(&[]) > 0.0, "nothing was rounded: the test would see no difference");
    }

    /// Guards f32: TF32 is a flag of the whole process, which must be off after a convolution that
    /// asked for it, and after one that libtorch refused.
    #[test]
    fn tf32_is_switched_off_again() {
        unsafe extern "C" {
            fn litesnn_numerics() -> c_int;
        }
        let rounds = || unsafe { litesnn_numerics() } & 1 != 0;
        let (input, weight) = (
            Stream::numbered(4).uniform(&[1, 2, 4, 4], 0.0, 1.0),
            Stream::numbered(5).uniform(&[3, 2, 3, 3], 0.0, 1.0),
        );
        let call = ConvolutionCall {
            input: input.size(),
            weight: weight.size(),
            stride: 1,
            padding: 1,
            gradients: [true; 2],
            channels_last: false,
            precision: Precision::Tf32,
        };
        let output = convolved(&input, &weight, &call);
        assert!(!rounds());
        let refused = |input: &Tensor| {
            let call = || gradients(&output, input, &weight, &call);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err()
        };
        assert!(!refused(&input) && !rounds());
        assert!(refused(&Stream::numbered(6).uniform(&[1, 5, 4, 4], 0.0, 1.0)) && !rounds());
    }

    /// A CPU would compute in f32, and a table would say TF32.
    #[test]
    #[should_panic(expected = "only a GPU convolves in tf32")]
    fn a_cpu_does_not_pretend_to_round_to_tf32() {
        let (input, weight) = (
            Stream::numbered(7).uniform(&[1, 2, 4, 4], 0.0, 1.0),
            Stream::numbered(8).uniform(&[3, 2, 3, 3], 0.0, 1.0),
        );
        let _ = Precision::Tf32.convolve(&input, &weight, None, 1, 1, None);
    }

    #[test]
    fn gradients_of_bf16_are_those_of_f32_to_its_rounding() {
        let steps = Stream::numbered(9).uniform(&[8], 0.0, 1.0) * 0.1 + 0.01;
        // Drawn once: tests beside this one draw from the same generator.
        let drawn = |shape: &[i64]| Stream::numbered(10).uniform(shape, 0.0, 1.0);
        let (inputs, weights, upstream) = (drawn(&[2, 6, 8, 8]), drawn(&[8, 6, 3, 3]), drawn(&[2, 8, 8, 8]));
        let made = [Precision::F32, Precision::Bf16].map(|precision| {
            let leaf = |drawn: &Tensor| drawn.copy().set_requires_grad(true);
            let (input, weight) = (leaf(&inputs), leaf(&weights));
            let output = precision.convolve(&input, &weight, Some(&steps), 1, 1, None).currents();
            (&output * &upstream).sum(Kind::Float).backward();
            [output, input.grad(), weight.grad()]
        });
        let [exact, rounded] = made;
        for (got, want) in rounded.iter().zip(&exact) {
            // Input, weight, upstream gradient and result are rounded, each by 2⁻⁸ at most.
            let error = (got - want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
            assert!(0.0 < error && error < 2f64.powi(-6), "{error}");
        }
    }
}
