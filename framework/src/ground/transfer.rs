//! Tensors on their way to a device.

use tch::{Device, Tensor};
use torch_sys::C_tensor;

/// A tensor of the host on a device. To a GPU it goes through pinned memory: the copy is put in the
/// line of the GPU's work, and the processor goes on. (A copy from other memory waits until the GPU
/// has done all that it was asked before.)
pub fn transfer(tensor: &Tensor, device: Device) -> Tensor {
    match (tensor.device(), device) {
        (Device::Cpu, Device::Cuda(_)) => match pinned(tensor) {
            Some(pinned) => pinned.to_device_(device, tensor.kind(), true, false),
            // There is no more memory to pin: the copy waits.
            None => tensor.to_device(device),
        },
        _ => tensor.to_device(device),
    }
}

fn pinned(tensor: &Tensor) -> Option<Tensor> {
    unsafe extern "C" {
        fn litesnn_pinned(tensor: *mut C_tensor) -> *mut C_tensor;
    }
    // SAFETY: reads a tensor that lives through the call, and hands over a new one or null.
    unsafe {
        let pinned = litesnn_pinned(tensor.as_ptr().cast_mut());
        (!pinned.is_null()).then(|| Tensor::from_ptr(pinned))
    }
}
