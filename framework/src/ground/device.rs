//! Where tensors live: the choice between CPU and GPU, with its reason, and process-wide settings.

use std::time::Instant;

use tch::{Cuda, Device};

use super::{control_group, counted};
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
                message: format!(
                    "device `{wanted}` was asked for, and this libtorch sees {}",
                    counted(count, "CUDA device")
                ),
                hint: "use `auto` or `cpu`, or fetch libtorch for CUDA with `experiments/setup-libtorch cuda`"
                    .to_owned(),
            })
        }
    };
    match wanted {
        "auto" if count > 0 => {
            Ok(Choice { device: Device::Cuda(0), reason: format!("first of {}", counted(count, "CUDA device")) })
        }
        "auto" => {
            Ok(Choice { device: Device::Cpu, reason: format!("no CUDA device is visible to libtorch; {}", threads()) })
        }
        "cpu" => Ok(Choice { device: Device::Cpu, reason: format!("`cpu` was asked for; {}", threads()) }),
        "cuda" => cuda(0),
        _ => match wanted.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => cuda(index),
            _ => Err(Error::Device { message: format!("unknown device `{wanted}`"), hint: hint() }),
        },
    }
}

fn threads() -> String {
    counted(usize::try_from(tch::get_num_threads()).unwrap_or(0), "thread")
}

/// The name under which a device is recorded.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The model of the hardware behind a device, as the operating system names it; empty where it does
/// not say.
pub fn hardware(device: Device) -> String {
    match device {
        Device::Cpu => {
            let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            field(&text, "model name").unwrap_or_default()
        }
        Device::Cuda(_) => {
            // The driver's order of GPUs need not be CUDA's, so that only machines with one kind of
            // GPU have one answer.
            let folders = std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
            let texts = folders.filter_map(|gpu| std::fs::read_to_string(gpu.path().join("information")).ok());
            let models: std::collections::BTreeSet<String> = texts.filter_map(|text| field(&text, "Model")).collect();
            models.into_iter().collect::<Vec<_>>().join(" or ")
        }
        _ => String::new(),
    }
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

/// The version of the libtorch that this process has loaded, such as `2.13.0`; empty where it does
/// not say.
pub fn libtorch() -> String {
    unsafe extern "C" {
        fn litesnn_configuration() -> *mut std::ffi::c_char;
    }
    // SAFETY: the C++ side hands over a string that ends with a zero, or null.
    let text = unsafe {
        let text = litesnn_configuration();
        if text.is_null() {
            return String::new();
        }
        let copy = std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned();
        libc::free(text.cast());
        copy
    };
    version(&text).unwrap_or_default()
}

/// The version in the description of libtorch's build: `..., TORCH_VERSION=2.13.0, USE_CUDA=0, ...`.
fn version(configuration: &str) -> Option<String> {
    let settings = configuration.split([',', '\n']).map(str::trim);
    settings.filter_map(|setting| setting.strip_prefix("TORCH_VERSION=")).next().map(str::to_owned)
}

/// Measures wall time and the time of a device.
#[derive(Debug)]
pub struct Stopwatch {
    device: Device,
    begin: Instant,
    processor: f64,
}

impl Stopwatch {
    /// Starts now.
    pub fn start(device: Device) -> Stopwatch {
        Stopwatch { device, begin: Instant::now(), processor: processor_seconds() }
    }

    /// Seconds since the start.
    pub fn wall(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// Seconds of the device since the start: on a CPU the processor time of all threads of this
    /// process, elsewhere the wall time, for which the device is held.
    pub fn device(&self) -> f64 {
        if self.device == Device::Cpu { processor_seconds() - self.processor } else { self.wall() }
    }
}

fn usage() -> libc::rusage {
    // SAFETY: getrusage fills the zeroed struct it is given.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    }
}

/// Processor time of this process, of all its threads.
fn processor_seconds() -> f64 {
    let usage = usage();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Settings that hold for the whole process; call once, first thing in `main`.
///
/// Freed memory stays with the process (glibc's malloc would hand every large tensor back to the
/// kernel and fault it in again: three times slower over a forward and backward pass).
pub fn prepare_process() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only changes parameters of the allocator, and nothing else runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 256 << 20);
        // Small chunks that wait to be merged are merged at every large allocation, over and over.
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

/// Peak resident memory of this process in bytes.
pub fn peak_memory() -> u64 {
    usage().ru_maxrss as u64 * 1024
}

/// Memory that this process occupies now, in bytes; 0 where that cannot be said.
pub fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kilobytes(&status, "VmRSS:").unwrap_or(0)
}

/// Memory that a trial can have on a device, this process' own included, in bytes; `None` where
/// that cannot be said.
///
/// On the CPU it is what the kernel calls available, or what the process' control groups leave, if
/// that is less.
pub fn available_memory(device: Device) -> Option<u64> {
    if let Device::Cuda(index) = device {
        return free_memory_of(index);
    }
    let own = resident_memory();
    let machine = kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? + own;
    let group = control_group::memory_left().map(|left| left + own);
    Some(group.map_or(machine, |group| group.min(machine)))
}

/// A line of /proc such as `MemAvailable:    1234 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn free_memory_of(index: usize) -> Option<u64> {
    unsafe extern "C" {
        fn litesnn_free_memory(index: std::ffi::c_int, free: *mut u64) -> std::ffi::c_int;
    }
    let mut free = 0;
    // SAFETY: the C++ side writes one number, and turns exceptions into a status.
    let status = unsafe { litesnn_free_memory(i32::try_from(index).ok()?, &raw mut free) };
    (status == 0).then_some(free)
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

    #[test]
    fn the_time_of_a_cpu_is_that_of_its_work_and_of_a_gpu_that_it_is_held() {
        let (cpu, gpu) = (Stopwatch::start(Device::Cpu), Stopwatch::start(Device::Cuda(0)));
        let mut sum = 0u64;
        while cpu.wall() < 0.05 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(cpu.device() > 0.0);
        assert!(gpu.device() >= 0.04);
    }

    #[test]
    fn a_model_is_read_from_what_the_system_lists() {
        assert_eq!(field("processor\t: 0\nmodel name\t: A 1: 2\n", "model name").as_deref(), Some("A 1: 2"));
        assert_eq!(field("vendor: x", "model name"), None);
    }

    /// This build links libtorch 2.13 and no other: torch-sys checks it.
    #[test]
    fn the_version_of_libtorch_is_that_of_the_loaded_library() {
        assert!(libtorch().starts_with("2.13."), "{}", libtorch());
        assert_eq!(
            version("  - Build settings: BLAS_INFO=mkl, TORCH_VERSION=2.1.0, USE_CUDA=0, \n").as_deref(),
            Some("2.1.0")
        );
        assert_eq!(version("PyTorch built with:\n"), None);
    }

    #[test]
    fn memory_is_read_from_the_kernel() {
        assert_eq!(kilobytes("MemFree: 1 kB\nMemAvailable:    12 kB\n", "MemAvailable:"), Some(12 << 10));
        assert_eq!(kilobytes("", "MemAvailable:"), None);
        let (own, all) = (resident_memory(), available_memory(Device::Cpu).unwrap());
        assert!(own > 1 << 20 && all > own, "{own} {all}");
        assert!(peak_memory() >= own / 2);
        assert_eq!(available_memory(Device::Cuda(99)), None);
    }
}
