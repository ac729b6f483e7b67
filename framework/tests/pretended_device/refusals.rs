//! What a GPU does not let a program do.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use tch::{Device, Kind, Tensor};

use crate::LOADED;
use crate::counting::held;

/// Set in a process that is to touch memory of the device.
pub const TOUCH: &str = "PRETENDED_TOUCH";

const CUDA: Device = Device::Cuda(0);

fn ones(count: i64, device: Device) -> Tensor {
    Tensor::ones([count], (Kind::Float, device))
}

/// Reads a value where a tensor on the device says that it lies.
pub fn touch() -> ! {
    let tensor = ones(3, CUDA);
    // SAFETY: none. The process is there to die of it.
    let value = unsafe { tensor.data_ptr().cast::<f32>().read_volatile() };
    panic!("memory of the device was read: {value}");
}

pub fn memory() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.env(LOADED, "1").env(TOUCH, "1").output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", String::from_utf8_lossy(&output.stderr));
}

pub fn mixing() {
    let (here, there) = (ones(3, Device::Cpu), ones(3, CUDA));
    let index = Tensor::from_slice(&[0i64, 2]);
    let refused = |what: &str, result: Result<Tensor, tch::TchError>| {
        let message = result.expect_err(what).to_string();
        assert!(message.contains("Expected all tensors to be on the same device"), "{what}: {message}");
    };
    refused("a sum", there.f_add(&here));
    refused("a sum, the other way", here.f_add(&there));
    refused("cat", Tensor::f_cat(&[&there, &here], 0));
    refused("index_select", there.f_index_select(0, &index));
    refused("gather", there.f_gather(0, &index, false));
    refused("a scalar as an index", there.f_index_select(0, &Tensor::from(1i64)));
    refused("adding to the CPU", here.shallow_clone().f_add_(&there));
    refused("a scalar of the CPU as the result", Tensor::from(1f32).f_add_(&there.sum(Kind::Float)));
    refused("matmul", there.view([1, 3]).f_matmul(&here.view([3, 1])));
    // Scalars are handed over with the launch.
    let value = |tensor: Tensor| f64::try_from(tensor.sum(Kind::Double).to_device(Device::Cpu)).unwrap();
    assert_eq!(value(&there * Tensor::from(2f32)), 6.0);
    assert_eq!(value(Tensor::from(2f32) * &there), 6.0);
    assert_eq!(value(there.where_self(&there.gt(0.0), &Tensor::from(0f32))), 3.0);
    assert_eq!(value(there.index(&[Some(index)])), 2.0);
}

pub fn capacity() {
    let before = held();
    let message = Tensor::f_zeros([1 << 40], (Kind::Float, CUDA)).unwrap_err().to_string();
    assert!(message.contains("CUDA out of memory. Tried to allocate"), "{message}");
    assert_eq!(held(), before);
    let free = litesnn_framework::ground::device::available_memory(CUDA).unwrap();
    assert!(free > 1 << 30, "{free}");
    let message = Tensor::f_zeros([1], (Kind::Float, Device::Cuda(1))).unwrap_err().to_string();
    assert!(message.contains("invalid device ordinal"), "{message}");
}

pub fn new_memory() {
    let fresh = Tensor::empty([5], (Kind::Float, CUDA));
    assert_eq!(i64::try_from(fresh.isnan().sum(Kind::Int64)).unwrap(), 5);
}
