//! What a GPU and the libraries that compute on it say of themselves.

use std::ffi::c_int;

use tch::Device;

use super::{device, kernel};

/// A GPU and its software; `None` where nobody says.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its model; empty where nobody says.
    pub model: String,
    /// Memory in bytes.
    pub memory: Option<i64>,
    /// Memory that is free, in bytes.
    pub free: Option<u64>,
    /// Compute capability, such as 9.0.
    pub capability: Option<[i32; 2]>,
    /// Multiprocessors.
    pub multiprocessors: Option<i64>,
    /// The newest CUDA that the driver knows: 13000 is 13.0.
    pub driver: Option<i64>,
    /// The CUDA that libtorch was built with, written alike.
    pub cuda: Option<i64>,
    /// cuDNN: 91900 is 9.19.0.
    pub cudnn: Option<i64>,
    /// NVRTC, which compiles kernels.
    pub nvrtc: Option<[i32; 2]>,
    /// libtorch.
    pub libtorch: String,
    /// Why tensors are computed by tensor operations alone, if they are.
    pub without_kernels: Option<String>,
}

impl Facts {
    /// What is known of a CUDA device.
    pub fn of(index: usize) -> Facts {
        unsafe extern "C" {
            fn litesnn_gpu_facts(index: c_int, facts: *mut i64) -> c_int;
        }
        let place = Device::Cuda(index);
        let mut found = [-1i64; 5];
        let number = c_int::try_from(index).unwrap_or(c_int::MAX);
        // SAFETY: a place for five numbers.
        unsafe { litesnn_gpu_facts(number, found.as_mut_ptr()) };
        let [memory, multiprocessors, driver, cuda, cudnn] = found.map(|fact| (fact >= 0).then_some(fact));
        let without_kernels = kernel::missing(place);
        let (nvrtc, capability) = kernel::target(index).ok().unzip();
        Facts {
            model: device::hardware(place),
            memory,
            free: device::available_memory(place),
            capability,
            multiprocessors,
            driver,
            cuda,
            cudnn,
            nvrtc,
            libtorch: device::libtorch(),
            without_kernels,
        }
    }
}
