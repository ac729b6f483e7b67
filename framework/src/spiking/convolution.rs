//! Convolutions over time-folded tensors `[T·B, C, H, W]`, and a record of those that a pass makes.
//!
//! The record is what a benchmark takes its floor from: the same convolutions alone, forward and with the gradients that the pass
//! asked for, as libtorch computes them ([`Floor`]).

use std::cell::RefCell;
use std::ffi::c_int;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::function::{custom_function, last_error};
use super::node;
use super::parallel::{Pointer, for_parts, simd};

/// The type that the convolutions on spikes are computed in; everything else is f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 significant bits.
    #[default]
    F32,
    /// bfloat16: 8 significant bits and the range of f32, sums in f32, results rounded to bfloat16.
    Bf16,
}

impl Precision {
    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Precision::default()
    }

    /// [`convolution`] in this type.
    ///
    /// In bf16, with `steps` `[out]`, x the input and W the weight,
    ///
    /// ```text
    /// y = steps · bf16(x * bf16(W / steps))          rounded once, as bf16 has it
    /// ```
    ///
    /// Spikes are exact in bf16, and so is a quantised weight over its step (at most 8 significant bits): products and sums are
    /// those of f32 then, and y differs by its one rounding, at most 2⁻⁸ of its value. Without `steps` the weight is rounded, too.
    /// Gradients pass as if nothing were rounded; the upstream one is rounded to bf16.
    pub fn convolve(
        self,
        input: &Tensor,
        weight: &Tensor,
        steps: Option<&Tensor>,
        stride: i64,
        padding: i64,
    ) -> Tensor {
        if self == Precision::F32 {
            return convolution(input, weight, stride, padding);
        }
        let half = |tensor: &Tensor| tensor.to_kind(Kind::BFloat16);
        let single = |tensor: Tensor| tensor.to_kind(Kind::Float);
        // Of each row of the weight, of each channel of the output.
        const ROW: [i64; 4] = [-1, 1, 1, 1];
        const CHANNEL: [i64; 4] = [1, -1, 1, 1];
        let gradients = [input, weight].map(|tensor| recorded() && tensor.requires_grad());
        let call = record(input, weight, stride, padding, gradients, self);
        let forward = || {
            let (x, w) = (half(&input.detach()), weight.detach());
            let steps = steps.map(Tensor::detach);
            let w = half(&steps.as_ref().map_or_else(|| w.shallow_clone(), |steps| &w / steps.view(ROW)));
            let mut y = single(x.conv2d(&w, None::<&Tensor>, [stride; 2], [padding; 2], [1, 1], 1));
            if let Some(steps) = &steps {
                y *= steps.view(CHANNEL);
            }
            (vec![y], [x, w].into_iter().chain(steps).collect())
        };
        let backward = move |upstream: &[Tensor], saved: &[Tensor]| {
            let (upstream, steps) = (&upstream[0], saved.get(2));
            let scaled = steps.map_or_else(|| upstream.shallow_clone(), |steps| upstream * steps.view(CHANNEL));
            let [to_input, to_weight] =
                self::gradients(&half(&scaled), &saved[0], &saved[1], &call).map(|it| it.map(single));
            vec![to_input, to_weight.map(|it| steps.map_or_else(|| it.shallow_clone(), |steps| &it / steps.view(ROW)))]
        };
        custom_function(&[input, weight], forward, backward).pop().expect("one output was given")
    }
}

/// Whether autograd records.
fn recorded() -> bool {
    unsafe extern "C" {
        fn litesnn_records() -> c_int;
    }
    // SAFETY: reads a flag of this thread.
    unsafe { litesnn_records() != 0 }
}

/// A convolution that a pass made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `[T·B, C, H, W]`
    pub input: Vec<i64>,
    /// `[out, in, kh, kw]`
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

thread_local! {
    static RECORD: RefCell<Option<Vec<Call>>> = const { RefCell::new(None) };
}

/// Convolves `input` `[T·B, C, H, W]` with `weight` `[out, in, kh, kw]`.
pub fn convolution(input: &Tensor, weight: &Tensor, stride: i64, padding: i64) -> Tensor {
    let gradients = [input, weight].map(|tensor| recorded() && tensor.requires_grad());
    record(input, weight, stride, padding, gradients, Precision::F32);
    input.conv2d(weight, None::<&Tensor>, [stride; 2], [padding; 2], [1, 1], 1)
}

/// Notes a convolution where they are recorded.
fn record(
    input: &Tensor,
    weight: &Tensor,
    stride: i64,
    padding: i64,
    gradients: [bool; 2],
    precision: Precision,
) -> Call {
    let channels_last = input.stride()[1] == 1 && input.size()[1] > 1;
    let (input, weight) = (input.size(), weight.size());
    let call = Call { input, weight, stride, padding, gradients, channels_last, precision };
    RECORD.with_borrow_mut(|record| record.iter_mut().for_each(|calls| calls.push(call.clone())));
    call
}

/// Weights `[out, in, kh, kw]` of convolutions that read the same input, one after another: `[sum of out, in, kh, kw]`, the channels
/// last in memory. On the CPU in f32 the values are put in their places by one pass over them, and so are the gradients.
pub fn stack_weights(weights: &[Tensor]) -> Tensor {
    let kernel = weights.iter().all(|weight| weight.device() == Device::Cpu && weight.kind() == Kind::Float);
    if !kernel {
        return node::channels_last(&Tensor::cat(weights, 0));
    }
    let shapes: Vec<Vec<i64>> = weights.iter().map(Tensor::size).collect();
    let forward = || {
        let mut whole = shapes[0].clone();
        whole[0] = shapes.iter().map(|shape| shape[0]).sum();
        let stacked = node::empty_channels_last(&whole);
        let mut first = 0;
        for weight in weights {
            turn(&weight.detach().contiguous(), &stacked, first, true);
            first += weight.size()[0];
        }
        (vec![stacked], vec![])
    };
    let backward = {
        let shapes = shapes.clone();
        move |gradients: &[Tensor], _: &[Tensor]| {
            let gradient = node::channels_last(&gradients[0]);
            let mut first = 0;
            let part = |shape: &Vec<i64>| {
                let part = Tensor::empty(shape, (Kind::Float, Device::Cpu));
                turn(&part, &gradient, first, false);
                first += shape[0];
                Some(part)
            };
            shapes.iter().map(part).collect()
        }
    };
    let references: Vec<&Tensor> = weights.iter().collect();
    custom_function(&references, forward, backward).pop().expect("one output was given")
}

/// Copies `weight` `[out, in, kh, kw]`, contiguous, to or from the rows of `stacked` from `first` on, channels-last.
fn turn(weight: &Tensor, stacked: &Tensor, first: i64, stacking: bool) {
    let (outputs, inputs, height, width) = weight.size4().expect("weights are [out, in, kh, kw]");
    let (inputs, places) = (inputs as usize, (height * width) as usize);
    let (plain, last) = (Pointer::of(weight), Pointer::of(stacked));
    for_parts(outputs as usize, |_, begin, end| {
        for row in begin..end {
            // SAFETY: rows of this part alone, of `inputs * places` values.
            unsafe {
                let plain = plain.get().add(row * inputs * places);
                let last = last.get().add((first as usize + row) * inputs * places);
                match stacking {
                    true => transpose(plain, last, inputs, places),
                    false => transpose(last, plain, places, inputs),
                }
            }
        }
    });
}

simd! {
    /// `[rows, columns]` to `[columns, rows]`.
    unsafe fn transpose(from: *const f32, to: *mut f32, rows: usize, columns: usize) {
        for column in 0..columns {
            for row in 0..rows {
                *to.add(column * rows + row) = *from.add(row * columns + column);
            }
        }
    }
}

/// Records the convolutions of this thread from here on.
pub fn start_recording() {
    RECORD.with_borrow_mut(|record| *record = Some(Vec::new()));
}

/// Ends the record and hands it out.
pub fn take_recording() -> Vec<Call> {
    RECORD.with_borrow_mut(Option::take).unwrap_or_default()
}

impl Call {
    /// `[T·B, out, H', W']`
    pub fn output(&self) -> Vec<i64> {
        let side = |size: i64, kernel: i64| (size + 2 * self.padding - kernel) / self.stride + 1;
        let [input, weight] = [&self.input, &self.weight];
        vec![input[0], weight[0], side(input[2], weight[2]), side(input[3], weight[3])]
    }

    /// Multiply-accumulate operations, of the forward pass and of each gradient alike.
    pub fn macs(&self) -> f64 {
        let product = |sizes: &[i64]| sizes.iter().map(|&size| size as f64).product::<f64>();
        let output = self.output();
        product(&self.weight) * product(&output) / output[1] as f64
    }
}

/// The convolutions of a pass alone.
pub struct Floor {
    /// Each with tensors of its own, as in the pass: input, weight, gradient of the output. The time does not depend on the values.
    calls: Vec<(Call, [Tensor; 3])>,
}

impl Floor {
    /// Prepares inputs, weights and gradients of `calls`, in the memory layout and the type of the calls.
    pub fn new(calls: &[Call], device: Device) -> Floor {
        let random = |shape: &[i64], call: &Call| {
            let tensor = Tensor::rand(shape, (Kind::Float, device));
            let tensor = if call.channels_last { node::channels_last(&tensor) } else { tensor };
            match call.precision {
                Precision::F32 => tensor,
                Precision::Bf16 => tensor.to_kind(Kind::BFloat16),
            }
        };
        let prepared = |call: &Call| {
            let shapes = [&call.input, &call.weight, &call.output()];
            (call.clone(), shapes.map(|shape| random(shape, call)))
        };
        Floor { calls: calls.iter().map(prepared).collect() }
    }

    /// The same convolutions in libtorch's default layout.
    pub fn contiguous(calls: &[Call], device: Device) -> Floor {
        let calls: Vec<Call> = calls.iter().map(|call| Call { channels_last: false, ..call.clone() }).collect();
        Floor::new(&calls, device)
    }

    /// All convolutions forward, then their gradients from the last to the first.
    pub fn run(&self) {
        tch::no_grad(|| {
            for (call, [input, weight, _]) in &self.calls {
                let (stride, padding) = ([call.stride; 2], [call.padding; 2]);
                let _ = input.conv2d(weight, None::<&Tensor>, stride, padding, [1, 1], 1);
            }
            for (call, [input, weight, output]) in self.calls.iter().rev() {
                if call.gradients != [false; 2] {
                    gradients(output, input, weight, call);
                }
            }
        });
    }
}

/// libtorch's gradients of a convolution to input and weight; those that the call does not need are not computed.
fn gradients(output: &Tensor, input: &Tensor, weight: &Tensor, call: &Call) -> [Option<Tensor>; 2] {
    unsafe extern "C" {
        fn litesnn_convolution_gradients(
            output: *mut C_tensor,
            input: *mut C_tensor,
            weight: *mut C_tensor,
            stride: i64,
            padding: i64,
            needed: *const c_int,
            results: *mut *mut C_tensor,
        ) -> c_int;
    }
    let pointer = |tensor: &Tensor| tensor.as_ptr().cast_mut();
    let needed = call.gradients.map(c_int::from);
    let mut results = [std::ptr::null_mut(); 2];
    // SAFETY: three tensors that live through the call; two flags, two results.
    unsafe {
        let status = litesnn_convolution_gradients(
            pointer(output),
            pointer(input),
            pointer(weight),
            call.stride,
            call.padding,
            needed.as_ptr(),
            results.as_mut_ptr(),
        );
        assert!(status == 0, "{}", last_error());
        results.map(|result| (!result.is_null()).then(|| Tensor::from_ptr(result)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacked_weights_and_their_gradients_are_those_of_a_concatenation() {
        let leaf = |out: i64| Tensor::rand([out, 5, 3, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (a, b) = (leaf(4), leaf(7));
        let (c, d) = (a.copy().detach().set_requires_grad(true), b.copy().detach().set_requires_grad(true));
        let (got, want) = (stack_weights(&[a.shallow_clone(), b.shallow_clone()]), Tensor::cat(&[&c, &d], 0));
        assert!(got.equal(&want));
        assert_eq!(got.stride(), [45, 1, 15, 5]);
        let upstream = want.rand_like();
        (got * &upstream).sum(Kind::Float).backward();
        (want * &upstream).sum(Kind::Float).backward();
        assert!(a.grad().equal(&c.grad()) && b.grad().equal(&d.grad()));
    }

    /// Sums of products of spikes and levels are exact in f32, in whatever order: all that is left is the rounding of the result.
    #[test]
    fn spikes_and_quantised_weights_differ_by_one_rounding_in_bf16() {
        let options = (Kind::Float, Device::Cpu);
        let spikes = node::channels_last(&Tensor::rand([4, 6, 9, 9], options).gt(0.7).to_kind(Kind::Float));
        // The levels of 8 bits: -127.5, -126.5, ..., 127.5.
        let levels = (Tensor::rand([8, 6, 3, 3], options) * 256.0).floor() - 127.5;
        let steps = Tensor::rand([8], options) * 0.1 + 0.01;
        let weight = (&levels * steps.view([-1, 1, 1, 1])).set_requires_grad(true);
        let got = Precision::Bf16.convolve(&spikes, &weight, Some(&steps), 2, 1);
        let sums = convolution(&spikes, &levels, 2, 1);
        let rounded = sums.to_kind(Kind::BFloat16).to_kind(Kind::Float);
        assert!(got.equal(&(&rounded * steps.view([1, -1, 1, 1]))));
        let want = tch::no_grad(|| convolution(&spikes, &weight, 2, 1));
        let apart = (&got - &want).abs();
        assert!(apart.le_tensor(&(want.abs() * 2f64.powi(-8) + 1e-6)).all().int64_value(&[]) == 1);
        assert!(apart.max().double_value(&[]) > 0.0, "nothing was rounded: the test would see no difference");
    }

    #[test]
    fn gradients_of_bf16_are_those_of_f32_to_its_rounding() {
        let options = (Kind::Float, Device::Cpu);
        let steps = Tensor::rand([8], options) * 0.1 + 0.01;
        let made = [Precision::F32, Precision::Bf16].map(|precision| {
            tch::manual_seed(5);
            let leaf = |shape: &[i64]| Tensor::rand(shape, options).set_requires_grad(true);
            let (input, weight) = (leaf(&[2, 6, 8, 8]), leaf(&[8, 6, 3, 3]));
            let output = precision.convolve(&input, &weight, Some(&steps), 1, 1);
            (&output * output.rand_like()).sum(Kind::Float).backward();
            [output, input.grad(), weight.grad()]
        });
        let [exact, rounded] = made;
        for (got, want) in rounded.iter().zip(&exact) {
            let error = (got - want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
            assert!(0.0 < error && error < 2f64.powi(-7), "{error}");
        }
    }

    #[test]
    fn a_record_holds_what_was_convolved_and_which_gradients_it_needs() {
        let options = (Kind::Float, Device::Cpu);
        let (image, weight) = (Tensor::rand([2, 3, 9, 9], options), Tensor::rand([4, 3, 3, 3], options));
        let trained = weight.copy().set_requires_grad(true);
        start_recording();
        let spikes = convolution(&image, &trained, 2, 1);
        let fixed = Tensor::rand([5, 4, 1, 1], options);
        let _ = (convolution(&spikes, &fixed, 1, 0), tch::no_grad(|| convolution(&spikes, &fixed, 1, 0)));
        let calls = take_recording();
        assert_eq!(
            calls.iter().map(|call| call.gradients).collect::<Vec<_>>(),
            [[false, true], [true, false], [false, false]]
        );
        assert_eq!(calls[0].output(), spikes.size());
        assert_eq!(calls[0].macs(), (4 * 3 * 9 * 2 * 25) as f64);
        let _ = convolution(&image, &weight, 1, 1);
        assert!(take_recording().is_empty());
    }

    #[test]
    fn the_floor_computes_the_gradients_that_autograd_does() {
        let options = (Kind::Float, Device::Cpu);
        let leaf = |shape: &[i64]| Tensor::rand(shape, options).set_requires_grad(true);
        let (input, weight) = (leaf(&[2, 3, 8, 8]), leaf(&[4, 3, 3, 3]));
        start_recording();
        let output = convolution(&input, &weight, 2, 1);
        let [call]: [Call; 1] = take_recording().try_into().unwrap();
        let upstream = output.rand_like();
        (output * &upstream).sum(Kind::Float).backward();
        let [to_input, to_weight] = gradients(&upstream, &input.detach(), &weight.detach(), &call);
        assert!(to_input.unwrap().allclose(&input.grad(), 1e-5, 1e-5, false));
        assert!(to_weight.unwrap().allclose(&weight.grad(), 1e-5, 1e-5, false));
        Floor::new(&[call], Device::Cpu).run();
    }
}
