//! Custom autograd functions: forward and backward are Rust closures over tensors.

use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ground::message::text_of;
use crate::ground::words_of;

type BackwardCallback = unsafe extern "C" fn(
    *mut c_void,
    *const *mut C_tensor,
    c_int,
    *const *mut C_tensor,
    c_int,
    *mut *mut C_tensor,
    c_int,
) -> *mut c_char;

unsafe extern "C" {
    fn litesnn_function_apply(
        inputs: *const *mut C_tensor,
        input_count: c_int,
        outputs: *const *mut C_tensor,
        output_count: c_int,
        saved: *const *mut C_tensor,
        saved_count: c_int,
        closure: *mut c_void,
        backward: BackwardCallback,
        release: unsafe extern "C" fn(*mut c_void),
        results: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// Panics with what libtorch said of a call that failed; null is the message of a call that did
/// not.
///
/// # Safety
/// As [`text_of`].
pub(crate) unsafe fn panic_on_failure(message: *mut c_char) {
    // SAFETY: the caller's.
    if let Some(text) = unsafe { text_of(message) } {
        panic!("{text}");
    }
}

/// A number that changes whenever the values of a tensor do: what was made of them is valid while
/// it stays.
pub fn version(tensor: &Tensor) -> i64 {
    unsafe extern "C" {
        fn litesnn_version(tensor: *mut C_tensor) -> i64;
    }
    // SAFETY: reads a counter of a tensor that lives through the call.
    unsafe { litesnn_version(tensor.as_ptr().cast_mut()) }
}

/// Says that a kernel has written to a tensor's memory: its [`version`] changes.
pub fn changed(tensor: &Tensor) {
    unsafe extern "C" {
        fn litesnn_changed(tensor: *mut C_tensor);
    }
    // SAFETY: as above.
    unsafe { litesnn_changed(tensor.as_ptr().cast_mut()) }
}

/// `value`, with the gradient of `weight` straight through: dL/dW = dL/dvalue, of one shape.
pub fn straight_through(weight: &Tensor, value: impl FnOnce() -> Tensor) -> Tensor {
    let passed = |gradients: &[Tensor], _: &[Tensor]| vec![Some(gradients[0].shallow_clone())];
    custom_function(&[weight], || (vec![value()], vec![]), passed).pop().expect("one output was given")
}

type Backward = dyn Fn(&[Tensor], &[Tensor]) -> Vec<Option<Tensor>> + Send + Sync;

/// Runs when the graph reaches the node. A panic must not cross into C++: its words are returned,
/// for the caller to free.
unsafe extern "C" fn run_backward(
    closure: *mut c_void,
    gradients: *const *mut C_tensor,
    gradient_count: c_int,
    saved: *const *mut C_tensor,
    saved_count: c_int,
    inputs: *mut *mut C_tensor,
    input_count: c_int,
) -> *mut c_char {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the C++ side passes arrays of these lengths, and the closure that
        // `custom_function` boxed.
        unsafe {
            let backward = &*(closure as *const Box<Backward>);
            let tensors = |array: *const *mut C_tensor, count: c_int| -> Vec<Tensor> {
                (0..count as usize).map(|index| Tensor::clone_from_ptr(*array.add(index))).collect()
            };
            let results = backward(&tensors(gradients, gradient_count), &tensors(saved, saved_count));
            assert_eq!(results.len(), input_count as usize, "a backward pass gives one gradient for each input");
            for (index, result) in results.into_iter().enumerate() {
                if let Some(mut tensor) = result {
                    *inputs.add(index) = tensor.as_mut_ptr();
                    // Ownership moved to C++, which deletes it.
                    std::mem::forget(tensor);
                }
            }
        }
    }));
    match outcome {
        Ok(()) => std::ptr::null_mut(),
        Err(panic) => {
            let words = CString::new(words_of(panic.as_ref()).replace('\0', " ")).unwrap_or_default();
            // SAFETY: a C string; the copy is the caller's.
            unsafe { libc::strdup(words.as_ptr()) }
        }
    }
}

unsafe extern "C" fn release_backward(closure: *mut c_void) {
    // SAFETY: made by Box::into_raw in `custom_function`, released once.
    drop(unsafe { Box::from_raw(closure as *mut Box<Backward>) });
}

/// Adds one node to the autograd graph.
///
/// `forward` computes, without recording, the outputs and the tensors to keep. `backward` gets the
/// outputs' gradients and the kept tensors and returns a gradient for each of `inputs`, or `None`
/// where there is none. Outputs must not be inputs themselves.
///
/// ```
/// use litesnn_framework::spiking::custom_function;
/// let x = tch::Tensor::from_slice(&[3f32]).set_requires_grad(true);
/// let square = custom_function(
///     &[&x],
///     || (vec![&x * &x], vec![x.detach()]),
///     |gradients, saved| vec![Some(&gradients[0] * &saved[0] * 2.0)],
/// );
/// square[0].sum(tch::Kind::Float).backward();
/// assert_eq!(x.grad().double_value(&[0]), 6.0);
/// ```
///
/// # Panics
/// Where libtorch refuses the node, as tensor operations of `tch` do.
pub fn custom_function(
    inputs: &[&Tensor],
    forward: impl FnOnce() -> (Vec<Tensor>, Vec<Tensor>),
    backward: impl Fn(&[Tensor], &[Tensor]) -> Vec<Option<Tensor>> + Send + Sync + 'static,
) -> Vec<Tensor> {
    let (outputs, saved) = tch::no_grad(forward);
    let pointers = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.as_ptr().cast_mut()).collect::<Vec<_>>();
    let input_pointers: Vec<_> = inputs.iter().map(|tensor| tensor.as_ptr().cast_mut()).collect();
    let (output_pointers, saved_pointers) = (pointers(&outputs), pointers(&saved));
    let mut results = vec![std::ptr::null_mut(); outputs.len()];
    let closure = Box::into_raw(Box::new(Box::new(backward) as Box<Backward>)) as *mut c_void;
    // SAFETY: arrays and counts belong together; ownership of the closure passes to the C++ side in
    // every case.
    unsafe {
        let failure = litesnn_function_apply(
            input_pointers.as_ptr(),
            input_pointers.len() as c_int,
            output_pointers.as_ptr(),
            output_pointers.len() as c_int,
            saved_pointers.as_ptr(),
            saved_pointers.len() as c_int,
            closure,
            run_backward,
            release_backward,
            results.as_mut_ptr(),
        );
        panic_on_failure(failure);
        results.into_iter().map(|pointer| Tensor::from_ptr(pointer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;
    use tch::{Device, Kind};

    #[test]
    fn gradients_arrive_at_every_input_and_none_stays_none() {
        let a = Stream::numbered(1).normal(&[3]).set_requires_grad(true);
        let b = Stream::numbered(2).normal(&[3]).set_requires_grad(true);
        let c = Stream::numbered(3).normal(&[3]).set_requires_grad(true);
        let product = custom_function(
            &[&a, &b, &c],
            || (vec![&a * &b], vec![a.detach(), b.detach()]),
            |gradients, saved| vec![Some(&gradients[0] * &saved[1]), Some(&gradients[0] * &saved[0]), None],
        );
        product[0].sum(Kind::Float).backward();
        assert!(a.grad().equal(&b.detach()));
        assert!(b.grad().equal(&a.detach()));
        assert!(!c.grad().defined());
    }

    #[test]
    fn a_version_changes_with_the_values() {
        let mut x = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let before = version(&x);
        assert_eq!(version(&x.detach()), before);
        let _ = tch::no_grad(|| x.fill_(2.0));
        assert_ne!(version(&x), before);
        let before = version(&x);
        changed(&x);
        assert_ne!(version(&x), before);
    }

    #[test]
    fn a_panic_in_the_backward_pass_becomes_an_error() {
        let x = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let y = custom_function(&[&x], || (vec![x.copy()], vec![]), |_, _| panic!("no"));
        let error = Tensor::f_run_backward(&[&y[0]], &[&x], false, false).unwrap_err().to_string();
        assert!(error.contains("the backward pass of a custom function failed: no"), "{error}");
    }
}
