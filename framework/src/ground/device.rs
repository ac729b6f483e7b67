//! Where tensors live: the choice between CPU and GPU, with its reason, and process-wide settings.

use std::time::Instant;

use tch::Device;

use super::message::text_of;
use super::{control_group, counted, cuda};
use crate::{Error, Result};

/// The device of a run and why it was chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The device.
    pub device: Device,
    /// One sentence for the user.
    pub reason: String,
}

/// Resolves `auto`, `cpu`, `cuda` or `cuda:N`. A CUDA device is made ready: libtorch's CUDA part is
/// loaded, and computes in f32 where f32 is asked for, with sums in one order.
pub fn choose(wanted: &str) -> Result<Choice> {
    let on_gpu = |index: usize, reason: String| {
        use_exact_numerics();
        Ok(Choice { device: Device::Cuda(index), reason })
    };
    let given = |index: usize| {
        let found = cuda::devices();
        if found.as_ref().is_ok_and(|count| index < *count) {
            return on_gpu(index, format!("`{wanted}` was asked for"));
        }
        let why = found.map_or_else(|why| why, |count| format!("this libtorch sees {}", counted(count, "CUDA device")));
        Err(Error::Device {
            message: format!("device `{wanted}` was asked for, and {why}"),
            hint: "use `auto` or `cpu`; a GPU needs NVIDIA's driver and libtorch for CUDA, which \
                   `experiments/setup-libtorch cuda` fetches"
                .to_owned(),
        })
    };
    let on_cpu = |why: &str| Ok(Choice { device: Device::Cpu, reason: why.to_owned() });
    match wanted {
        "auto" => match cuda::devices() {
            Ok(count) => on_gpu(0, format!("first of {}", counted(count, "CUDA device"))),
            Err(why) => on_cpu(&why),
        },
        "cpu" => on_cpu("`cpu` was asked for"),
        "cuda" => given(0),
        _ => match wanted.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => given(index),
            _ => Err(Error::Device {
                message: format!("unknown device `{wanted}`"),
                hint: "use `auto`, `cpu` or `cuda:N`".to_owned(),
            }),
        },
    }
}

/// Number of CUDA devices that libtorch sees: none before [`choose`] has looked for them.
pub fn cuda_devices() -> usize {
    cuda::loaded_devices()
}

/// Convolutions and products in f32 are not rounded to TF32, and cuDNN takes algorithms that add in
/// one order. A convolution that is asked for in TF32 switches it on for itself.
fn use_exact_numerics() {
    unsafe extern "C" {
        fn litesnn_exact_numerics();
    }
    // SAFETY: sets flags of libtorch.
    unsafe { litesnn_exact_numerics() }
}

/// The name under which a device is recorded.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The model of the hardware behind a device, as the operating system or the driver names it; empty
/// where neither does.
pub fn hardware(device: Device) -> String {
    match device {
        Device::Cpu => {
            let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            field(&text, "model name").unwrap_or_default()
        }
        // The driver's files are not in every container, and their order need not be CUDA's, so that
        // only machines with one kind of GPU have one answer in them.
        Device::Cuda(index) => cuda::model(index).unwrap_or_else(|| {
            let folders = std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
            let texts = folders.filter_map(|gpu| std::fs::read_to_string(gpu.path().join("information")).ok());
            let models: std::collections::BTreeSet<String> = texts.filter_map(|text| field(&text, "Model")).collect();
            models.into_iter().collect::<Vec<_>>().join(" or ")
        }),
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
    // SAFETY: a text of its own, or null.
    let text = unsafe { text_of(litesnn_configuration()) }.unwrap_or_default();
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
pub(super) fn processor_seconds() -> f64 {
    let usage = usage();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Waits until a device has done what it was asked.
pub fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// Settings that hold for the whole process; call once, first thing in `main`.
///
/// cuBLAS gets a workspace of its own for each stream, which it needs to add in one order (NVIDIA,
/// cuBLAS, "Results reproducibility"); it is read when CUDA starts, and a user's own setting stays.
///
/// Freed memory stays with the process (glibc's malloc would hand every large tensor back to the
/// kernel and fault it in again: three times slower over a forward and backward pass).
pub fn prepare_process() {
    const WORKSPACE: &str = "CUBLAS_WORKSPACE_CONFIG";
    if std::env::var_os(WORKSPACE).is_none() {
        // SAFETY: nothing else runs yet that could read the environment.
        unsafe { std::env::set_var(WORKSPACE, ":4096:8") };
    }
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

/// Largest memory of a device that this process has held so far, in bytes: on a CPU resident
/// memory, on a GPU what libtorch has taken of its memory; 0 where that cannot be said.
pub fn peak_memory(device: Device) -> u64 {
    match device {
        Device::Cuda(index) => held_memory(index).map_or(0, |(_, most)| most),
        _ => usage().ru_maxrss as u64 * 1024,
    }
}

/// The memory that this process holds of a device now.
pub fn occupied_memory(device: Device) -> u64 {
    match device {
        Device::Cuda(index) => held_memory(index).map_or(0, |(now, _)| now),
        _ => resident_memory(),
    }
}

/// The index of a CUDA device that is there.
fn cuda_index(index: usize) -> Option<std::ffi::c_int> {
    std::ffi::c_int::try_from(index).ok().filter(|_| index < cuda_devices())
}

fn held_memory(index: usize) -> Option<(u64, u64)> {
    unsafe extern "C" {
        fn litesnn_held_memory(index: std::ffi::c_int, now: *mut u64, most: *mut u64) -> std::ffi::c_int;
    }
    let (mut now, mut most) = (0, 0);
    let index = cuda_index(index)?;
    // SAFETY: the C++ side writes two numbers, and turns exceptions into a status.
    let status = unsafe { litesnn_held_memory(index, &raw mut now, &raw mut most) };
    (status == 0).then_some((now, most))
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
    let index = cuda_index(index)?;
    // SAFETY: the C++ side writes one number, and turns exceptions into a status.
    let status = unsafe { litesnn_free_memory(index, &raw mut free) };
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

    /// Guards what f32 promises: libtorch lets cuDNN round f32 to 11 bits unless told otherwise, and
    /// add in any order.
    #[test]
    fn numerics_are_exact_and_repeatable_once_a_gpu_is_chosen() {
        unsafe extern "C" {
            fn litesnn_numerics() -> std::ffi::c_int;
        }
        use_exact_numerics();
        // SAFETY: reads flags.
        let [tf32_convolutions, tf32_products, deterministic, raced] =
            [1, 2, 4, 8].map(|bit| unsafe { litesnn_numerics() } & bit != 0);
        assert!(!tf32_convolutions && !tf32_products && deterministic && !raced);
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
        assert!(peak_memory(Device::Cpu) >= own / 2);
        assert_eq!(available_memory(Device::Cuda(99)), None);
        assert_eq!((peak_memory(Device::Cuda(99)), occupied_memory(Device::Cuda(99))), (0, 0));
    }
}
