//! Steps of gradient descent over all parameters by one operation of libtorch: on a GPU a launch
//! for each parameter would take longer than its arithmetic.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::spiking::{changed, panic_on_failure};

type List = *const *mut C_tensor;

unsafe extern "C" {
    fn litesnn_fused_sgd(
        parameters: List,
        gradients: List,
        velocities: List,
        count: i64,
        rate: f64,
        momentum: f64,
        weight_decay: f64,
    ) -> *mut c_char;
    fn litesnn_fused_adam(
        parameters: List,
        gradients: List,
        first: List,
        second: List,
        steps: List,
        count: i64,
        rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        decoupled: bool,
    ) -> *mut c_char;
    fn litesnn_lerp(from: List, to: List, count: i64, weight: f64) -> *mut c_char;
    fn litesnn_count(tensors: List, count: i64) -> *mut c_char;
    fn litesnn_norms(tensors: List, count: i64, results: *mut *mut C_tensor) -> *mut c_char;
    fn litesnn_scale(tensors: List, count: i64, factor: *mut C_tensor) -> *mut c_char;
}

fn pointers(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|tensor| tensor.as_ptr().cast_mut()).collect()
}

/// What a step moves: tensors of one device, each with its gradient and its state, all laid out
/// alike in memory.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) parameters: Vec<Tensor>,
    pub(super) gradients: Vec<Tensor>,
    /// The first slot of the state: velocity, or first moment.
    pub(super) first: Vec<Tensor>,
    /// The second slot of the state: second moment. Empty for SGD.
    pub(super) second: Vec<Tensor>,
}

/// g += weight_decay · p; v = momentum · v + g; p -= rate · v. Of no parameters at all, libtorch
/// refuses the operation: in a warm-up, timestep logits have no gradient.
pub(super) fn sgd(moved: &Moved, rate: f64, momentum: f64, weight_decay: f64) {
    if moved.parameters.is_empty() {
        return;
    }
    let lists = [&moved.parameters, &moved.gradients, &moved.first].map(|list| pointers(list));
    let [parameters, gradients, velocities] = lists.each_ref().map(Vec::as_ptr);
    let count = moved.parameters.len() as i64;
    // SAFETY: three arrays of `count` tensors that live through the call.
    unsafe {
        panic_on_failure(litesnn_fused_sgd(parameters, gradients, velocities, count, rate, momentum, weight_decay));
    }
    // libtorch's fused operations do not say so.
    moved.parameters.iter().for_each(changed);
}

/// The numbers of Adam.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adam {
    pub(super) rate: f64,
    pub(super) betas: (f64, f64),
    pub(super) weight_decay: f64,
    pub(super) epsilon: f64,
    /// Whether weight decay acts beside the gradient, as in AdamW, and not in it.
    pub(super) decoupled: bool,
}

/// Adam or AdamW; `steps` are the numbers of each parameter's step, from 1, as f32 scalars on the
/// parameters' device.
pub(super) fn adam(moved: &Moved, steps: &[Tensor], numbers: Adam) {
    if moved.parameters.is_empty() {
        return;
    }
    let lists = [&moved.parameters, &moved.gradients, &moved.first, &moved.second].map(|list| pointers(list));
    let [parameters, gradients, first, second] = lists.each_ref().map(Vec::as_ptr);
    let steps = pointers(steps);
    let count = moved.parameters.len() as i64;
    let Adam { rate, betas, weight_decay, epsilon, decoupled } = numbers;
    // SAFETY: five arrays of `count` tensors that live through the call.
    unsafe {
        panic_on_failure(litesnn_fused_adam(
            parameters,
            gradients,
            first,
            second,
            steps.as_ptr(),
            count,
            rate,
            betas.0,
            betas.1,
            weight_decay,
            epsilon,
            decoupled,
        ));
    }
    moved.parameters.iter().for_each(changed);
}

/// from += weight · (to - from), in place, of each of `from` with that of `to`.
pub(super) fn lerp(from: &[Tensor], to: &[Tensor], weight: f64) {
    if from.is_empty() {
        return;
    }
    // SAFETY: as many tensors in both, which live through the call.
    unsafe {
        panic_on_failure(litesnn_lerp(pointers(from).as_ptr(), pointers(to).as_ptr(), from.len() as i64, weight));
    }
}

/// Adds 1 to all tensors, in place.
pub(super) fn count(tensors: &[Tensor]) {
    if tensors.is_empty() {
        return;
    }
    // SAFETY: tensors that live through the call.
    unsafe { panic_on_failure(litesnn_count(pointers(tensors).as_ptr(), tensors.len() as i64)) };
}

/// The L2 norm of each tensor, a scalar.
pub(super) fn norms(tensors: &[Tensor]) -> Vec<Tensor> {
    let mut results = vec![std::ptr::null_mut(); tensors.len()];
    // SAFETY: as many results as tensors; each is a new tensor that is this function's own.
    unsafe {
        panic_on_failure(litesnn_norms(pointers(tensors).as_ptr(), tensors.len() as i64, results.as_mut_ptr()));
        results.into_iter().map(|pointer| Tensor::from_ptr(pointer)).collect()
    }
}

/// Multiplies all tensors, in place, by a scalar tensor on their device.
pub(super) fn scale(tensors: &[Tensor], factor: &Tensor) {
    // SAFETY: tensors that live through the call.
    unsafe {
        panic_on_failure(litesnn_scale(pointers(tensors).as_ptr(), tensors.len() as i64, factor.as_ptr().cast_mut()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;
    use tch::{Device, Kind};

    /// Guards the clipping of trials on the CPU: it took norms one by one.
    #[test]
    fn norms_of_a_list_are_those_of_its_tensors_to_the_bit() {
        for size in [1, 7, 48, 1000, 82_944, 300_001] {
            let all = [Stream::numbered(1).normal(&[size]), Tensor::ones([3], (Kind::Float, Device::Cpu))];
            let found = norms(&all);
            assert_eq!(found.len(), 2);
            for (norm, tensor) in found.iter().zip(&all) {
                assert_eq!(norm.double_value(&[]), tensor.norm().double_value(&[]), "{size}");
            }
        }
    }

    #[test]
    fn a_step_of_no_parameters_moves_nothing() {
        sgd(&Moved::default(), 0.1, 0.9, 0.0);
        let numbers = Adam { rate: 0.1, betas: (0.9, 0.999), weight_decay: 0.0, epsilon: 1e-8, decoupled: false };
        adam(&Moved::default(), &[], numbers);
        lerp(&[], &[], 0.1);
    }

    #[test]
    #[should_panic(expected = "floating point")]
    fn a_refusal_is_a_panic_with_the_words_of_libtorch() {
        norms(&[Tensor::ones([3], (Kind::Int64, Device::Cpu))]);
    }
}
