//! Where tensors live: the choice between CPU and GPU, with its reason, and process-wide settings.

use tch::{Cuda, Device};

use crate::{Error, Result};

/// The device of a run and why it was chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The device.
    pub device: Device,
    /// One sentence for the user.
    pub reason: String,
}

/// Resolves `auto`, `cpu`, `cuda` or `cuda:N`.
pub fn choose(wanted: &str) -> Result<Choice> {
    let count = if Cuda::is_available() { Cuda::device_count().max(0) as usize } else { 0 };
    let hint = || "use `auto`, `cpu` or `cuda:N`".to_owned();
    let cuda = |index: usize| {
        if index < count {
            Ok(Choice { device: Device::Cuda(index), reason: format!("`{wanted}` was asked for") })
        } else {
            Err(Error::Device {
                message: format!("device `{wanted}` was asked for, and this libtorch sees {count} CUDA devices"),
                hint: "use `auto` or `cpu`, or fetch libtorch for CUDA with `experiments/setup-libtorch cuda`"
                    .to_owned(),
            })
        }
    };
    match wanted {
        "auto" if count > 0 => Ok(Choice { device: Device::Cuda(0), reason: format!("first of {count} CUDA devices") }),
        "auto" => Ok(Choice {
            device: Device::Cpu,
            reason: format!("no CUDA device is visible to libtorch; {} threads", tch::get_num_threads()),
        }),
        "cpu" => Ok(Choice {
            device: Device::Cpu,
            reason: format!("`cpu` was asked for; {} threads", tch::get_num_threads()),
        }),
        "cuda" => cuda(0),
        _ => match wanted.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => cuda(index),
            _ => Err(Error::Device { message: format!("unknown device `{wanted}`"), hint: hint() }),
        },
    }
}

/// The name under which a device is recorded.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Settings that hold for the whole process; call once, first thing in `main`.
///
/// Freed memory stays with the process (glibc's malloc would hand every large tensor back to the kernel and fault it
/// in again: three times slower over a forward and backward pass).
pub fn prepare_process() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only changes parameters of the allocator, and nothing else runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 256 << 20);
    }
}

/// Peak resident memory of this process in bytes.
pub fn peak_memory() -> u64 {
    // SAFETY: getrusage fills the zeroed struct it is given.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage.ru_maxrss as u64 * 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_refused_by_name() {
        assert!(choose("cuda:99").unwrap_err().to_string().contains("`cuda:99`"));
        assert!(choose("tpu").unwrap_err().to_string().contains("unknown device `tpu`"));
        assert_eq!(choose("cpu").unwrap().device, Device::Cpu);
    }
}
