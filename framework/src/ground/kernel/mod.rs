//! Kernels of our own on a CUDA device: CUDA C++ in one file each, compiled by NVRTC for the device
//! that it runs on when it is first used, and launched on libtorch's current stream.
//!
//! Compiled code is kept in the cache folder (`LITESNN_CACHE`, else `litesnn` in the user's cache),
//! in `kernels`: source, compile-time constants, architecture and version of NVRTC make the file's
//! name. A folder that cannot be written to costs the time of compiling, a fraction of a second for
//! a kernel.
//!
//! Without the driver or NVRTC there are no kernels, and tensor operations compute the same. So it
//! is where an NVRTC cannot compile for the device, which a small kernel finds out before any other
//! is wanted: an NVRTC that is older than the GPU, that no longer knows it, or whose code the
//! driver does not take. That is settled once for a process, and `litesnn run` says it
//! ([`fallback`]).
//!
//! A kernel that cannot be used on a device where the small one can is an error that ends the work
//! ([`Error::Kernel`](crate::Error::Kernel)), and no reason to go on by tensor operations: it is a
//! fault of the kernel, which nobody would mend if nobody saw it, and a trial whose first steps ran
//! by some kernels, and its next ones without them, would have numbers that no other run gives
//! again.

#[cfg(test)]
pub(crate) mod host;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::ground::file;
use crate::ground::message::text_of;

/// What all kernels are written in.
const PRELUDE: &str = include_str!("../../../kernels/device.h");

/// Multiplication and addition are rounded apart, as on the CPU: equal currents give equal spikes.
const OPTIONS: [&str; 2] = ["--std=c++17", "--fmad=false"];

/// With these words begins what a kernel panics with: one line for a user, and below it what the
/// compiler said.
pub(super) const FAULT: &str = "kernel `";

/// What says whether NVRTC and the driver can make code for a device: it is loaded, and never
/// launched.
static PROBE: Kernel = Kernel::new("probe", "KERNEL(probe, (int *x)) { THREADS { if (threadIdx.x == 0) x[0] = 1; } }");

/// CUDA C++ in one file, with what was loaded of it. `device.h` comes before the source: its head
/// says how a kernel is written.
///
/// ```no_run
/// use litesnn_framework::ground::kernel::{Argument, Kernel, has_kernels};
/// static SQUARE: Kernel = Kernel::new(
///     "square",
///     "KERNEL(square, (float *x, long count)) {
///          THREADS {
///              const long at = first_thread() + threadIdx.x;
///              if (at < count) x[at] *= x[at];
///          }
///      }",
/// );
/// let x = tch::Tensor::ones([1000], (tch::Kind::Float, tch::Device::Cuda(0)));
/// assert!(has_kernels(x.device()));
/// SQUARE.launch("square", &[], [4, 1, 1], [256, 1, 1], &[Argument::Tensor(&x), Argument::I64(1000)]);
/// ```
pub struct Kernel {
    name: &'static str,
    source: &'static str,
    loaded: Mutex<Vec<Loaded>>,
}

/// An entry that a device has loaded.
struct Loaded {
    device: usize,
    entry: String,
    defines: Vec<(String, i64)>,
    function: Function,
}

/// A function of the driver's, valid until the process ends.
#[derive(Clone, Copy)]
struct Function(*mut c_void);
// SAFETY: a handle that every thread may use.
unsafe impl Send for Function {}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub enum Argument<'a> {
    /// The address of a tensor's first value; null for a tensor that is not defined.
    Tensor(&'a Tensor),
    /// `long`
    I64(i64),
    /// `int`
    I32(i32),
    /// `float`
    F32(f32),
    /// `double`
    F64(f64),
    /// A structure, handed over by value. The memory that its addresses name has to be there until
    /// the launch returns; tensors that are freed after it are reused in the stream's order.
    Bytes(&'a [u8]),
}

/// Whether tensors on this device are computed by kernels: it is a CUDA device, its driver and
/// NVRTC were found, and NVRTC compiles for it.
pub fn has_kernels(device: Device) -> bool {
    missing(device).is_none()
}

/// Why tensors on this device are computed by tensor operations alone, if they are.
pub fn missing(device: Device) -> Option<String> {
    let Device::Cuda(index) = device else { return Some("kernels run on CUDA devices".to_owned()) };
    libraries_missing().or_else(|| cannot_compile(index))
}

/// What a user has to know where tensors on a CUDA device are computed by tensor operations alone.
pub fn fallback(device: Device) -> Option<String> {
    let Device::Cuda(index) = device else { return None };
    let why = missing(device)?;
    Some(format!(
        "no kernels on cuda:{index}: neurons, normalisations and weights are computed by tensor operations, which takes \
         longer ({why})"
    ))
}

/// What compiles kernels, and for what; `None` where there are none.
pub fn compiler(device: Device) -> Option<String> {
    let Device::Cuda(index) = device else { return None };
    let (version, capability) = missing(device).is_none().then(|| target(index).ok()).flatten()?;
    let [version, capability] = [version, capability].map(|[major, minor]| format!("{major}.{minor}"));
    Some(format!("compiled by NVRTC {version} for compute capability {capability}"))
}

/// Why nothing can be compiled for a device, if that is so; tried once.
fn cannot_compile(device: usize) -> Option<String> {
    static TRIED: Mutex<BTreeMap<usize, Option<String>>> = Mutex::new(BTreeMap::new());
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let failure = || PROBE.load(device, "probe", &[]).err().map(|failure| failure.line);
    tried.entry(device).or_insert_with(failure).clone()
}

/// The library that was not found, or lacks something.
fn libraries_missing() -> Option<String> {
    unsafe extern "C" {
        fn litesnn_kernels_missing() -> *const c_char;
    }
    // SAFETY: null, or a text that stays.
    unsafe {
        let text = litesnn_kernels_missing();
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// Why code cannot be had.
struct Failure {
    /// Who refused, and the first of its reasons.
    line: String,
    /// All that the compiler said; empty where another one refused.
    log: String,
}

impl Failure {
    /// Of the driver.
    fn new(line: String) -> Failure {
        Failure { line, log: String::new() }
    }

    /// Of NVRTC: the name of its error, and the log below it.
    fn of_compiler(version: [c_int; 2], said: &str) -> Failure {
        let (error, log) = said.split_once('\n').unwrap_or((said, ""));
        let first = log.lines().find(|line| line.contains("error")).unwrap_or_default().trim();
        let reason = if first.is_empty() { String::new() } else { format!(": {first}") };
        Failure {
            line: format!("NVRTC {}.{}: {error}{reason}", version[0], version[1]),
            log: log.trim_end().to_owned(),
        }
    }
}

impl Kernel {
    /// A kernel that is compiled when it is first launched; `name` is the stem of its file.
    pub const fn new(name: &'static str, source: &'static str) -> Kernel {
        Kernel { name, source, loaded: Mutex::new(Vec::new()) }
    }

    /// Launches `entry` on the current stream of the device that the tensors among its arguments
    /// lie on, at least one. `defines` are the compile-time constants of the source. A block has
    /// 256 threads at most, or as many as `BLOCK` among the defines. An empty grid is nothing to
    /// do.
    ///
    /// # Panics
    /// Where the source cannot be compiled, or the device refuses the launch, with what the
    /// compiler or the driver said.
    pub fn launch(
        &self,
        entry: &str,
        defines: &[(&str, i64)],
        grid: [u32; 3],
        block: [u32; 3],
        arguments: &[Argument],
    ) {
        unsafe extern "C" {
            fn litesnn_kernel_launch(
                index: c_int,
                function: *mut c_void,
                grid: *const u32,
                block: *const u32,
                arguments: *mut *const c_void,
            ) -> *mut c_char;
        }
        if grid.contains(&0) {
            return;
        }
        // Numbers and addresses have a place of their own until the launch returns.
        let values: Vec<u64> = arguments.iter().map(Argument::value).collect();
        let mut places: Vec<*const c_void> = arguments
            .iter()
            .zip(&values)
            .map(|(argument, value)| match argument {
                Argument::Bytes(bytes) => bytes.as_ptr().cast(),
                _ => std::ptr::from_ref(value).cast(),
            })
            .collect();
        #[cfg(test)]
        if device_of(arguments) == Device::Cpu {
            return host::launch(&self.whole_source(), entry, defines, grid, block, &mut places);
        }
        let device = match device_of(arguments) {
            Device::Cuda(index) => index,
            other => panic!("a kernel's tensors lie on a CUDA device, not on {other:?}"),
        };
        let function = self.function(device, entry, defines);
        // SAFETY: a place for each argument, which the driver reads before it returns.
        let failure = unsafe {
            let [grid, block] = [grid.as_ptr(), block.as_ptr()];
            text_of(litesnn_kernel_launch(index(device), function.0, grid, block, places.as_mut_ptr()))
        };
        if let Some(failure) = failure {
            panic!("{FAULT}{entry}` of `{}.cu` was not launched: {failure}", self.name);
        }
    }

    /// The entry, compiled and loaded before or now.
    fn function(&self, device: usize, entry: &str, defines: &[(&str, i64)]) -> Function {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |one: &&Loaded| {
            let mut pairs = one.defines.iter().zip(defines);
            one.device == device
                && one.entry == entry
                && one.defines.len() == defines.len()
                && pairs.all(|(a, b)| a.0 == b.0 && a.1 == b.1)
        };
        if let Some(found) = loaded.iter().find(same) {
            return found.function;
        }
        let function = self.load(device, entry, defines).unwrap_or_else(|Failure { line, log }| {
            panic!("{FAULT}{entry}` of `{}.cu` cannot be used on cuda:{device}: {line}\n{log}", self.name)
        });
        let defines = defines.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        loaded.push(Loaded { device, entry: entry.to_owned(), defines, function });
        function
    }

    fn load(&self, device: usize, entry: &str, defines: &[(&str, i64)]) -> Result<Function, Failure> {
        unsafe extern "C" {
            fn litesnn_kernel_load(
                index: c_int,
                code: *const c_char,
                entry: *const c_char,
                function: *mut *mut c_void,
            ) -> *mut c_char;
        }
        let code = self.code(device, defines)?;
        let entry = CString::new(entry).expect("names of kernels have no zero");
        let mut function = std::ptr::null_mut();
        // SAFETY: whole compiled code, a name, and a place for one handle.
        let failure = unsafe {
            text_of(litesnn_kernel_load(index(device), code.as_ptr().cast(), entry.as_ptr(), &raw mut function))
        };
        failure.map_or(Ok(Function(function)), |said| Err(Failure::new(said)))
    }

    fn whole_source(&self) -> String {
        format!("{PRELUDE}\n#line 1 \"{}.cu\"\n{}", self.name, self.source)
    }

    /// Compiled code, from the cache or from the compiler.
    fn code(&self, device: usize, defines: &[(&str, i64)]) -> Result<Vec<u8>, Failure> {
        let (version, capability) = target(device).map_err(Failure::new)?;
        let source = self.whole_source();
        let mut options: Vec<String> = OPTIONS.map(str::to_owned).into();
        options.push(format!("--gpu-architecture=sm_{}{}", capability[0], capability[1]));
        options.extend(defines.iter().map(|(name, value)| format!("-D{name}={value}")));
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{}.{}\n{}\n", version[0], version[1], options.join("\n")).as_bytes());
        hasher.update(source.as_bytes());
        let name = format!("{}-{}.cubin", self.name, &hasher.finalize().to_hex()[..32]);
        let kept = folder().map(|folder| folder.join(name));
        if let Some(code) = kept.as_ref().and_then(|path| std::fs::read(path).ok()).and_then(checked) {
            return Ok(code);
        }
        let code = compile(&source, self.name, &options).map_err(|said| Failure::of_compiler(version, &said))?;
        if let Some(path) = kept {
            let digest = blake3::hash(&code);
            let whole = [digest.as_bytes(), code.as_slice()].concat();
            // Without a cache the kernel is compiled again by the next process.
            let _ = std::fs::create_dir_all(path.parent().expect("a file in a folder"));
            let _ = file::write_atomically(&path, &whole);
        }
        Ok(code)
    }
}

/// Compiled code from a file of the cache, unless it is damaged: its digest comes first.
fn checked(mut file: Vec<u8>) -> Option<Vec<u8>> {
    if file.len() < blake3::OUT_LEN {
        return None;
    }
    let code = file.split_off(blake3::OUT_LEN);
    (*blake3::hash(&code).as_bytes() == file[..]).then_some(code)
}

/// Version of NVRTC and compute capability of the device.
pub(super) fn target(device: usize) -> Result<([c_int; 2], [c_int; 2]), String> {
    unsafe extern "C" {
        fn litesnn_kernel_target(index: c_int, version: *mut c_int, capability: *mut c_int) -> *mut c_char;
    }
    if let Some(missing) = libraries_missing() {
        return Err(missing);
    }
    let (mut version, mut capability) = ([0; 2], [0; 2]);
    // SAFETY: places for two numbers each.
    let failure =
        unsafe { text_of(litesnn_kernel_target(index(device), version.as_mut_ptr(), capability.as_mut_ptr())) };
    failure.map_or(Ok((version, capability)), Err)
}

fn compile(source: &str, name: &str, options: &[String]) -> Result<Vec<u8>, String> {
    unsafe extern "C" {
        fn litesnn_kernel_compile(
            source: *const c_char,
            name: *const c_char,
            options: *const *const c_char,
            option_count: c_int,
            code: *mut *mut c_char,
            size: *mut usize,
        ) -> *mut c_char;
    }
    let text = |text: &str| CString::new(text).expect("sources and options have no zero");
    let (source, name) = (text(source), text(&format!("{name}.cu")));
    let options: Vec<CString> = options.iter().map(|option| text(option)).collect();
    let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let (mut code, mut size) = (std::ptr::null_mut::<c_char>(), 0);
    // SAFETY: texts that live through the call; `code` has `size` bytes and is freed here.
    unsafe {
        let count = pointers.len() as c_int;
        let failure = litesnn_kernel_compile(
            source.as_ptr(),
            name.as_ptr(),
            pointers.as_ptr(),
            count,
            &raw mut code,
            &raw mut size,
        );
        if let Some(failure) = text_of(failure) {
            return Err(failure);
        }
        let copy = std::slice::from_raw_parts(code.cast::<u8>(), size).to_vec();
        libc::free(code.cast());
        Ok(copy)
    }
}

/// `kernels` in the folder of what can be had again.
fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let cache = variable("LITESNN_CACHE").or_else(|| Some(user()?.join("litesnn")))?;
    Some(cache.join("kernels"))
}

impl Argument<'_> {
    /// The eight bytes of which the kernel takes as many as its parameter has.
    fn value(&self) -> u64 {
        match self {
            Argument::Tensor(tensor) if tensor.defined() => tensor.data_ptr() as u64,
            Argument::Tensor(_) | Argument::Bytes(_) => 0,
            Argument::I64(value) => value.cast_unsigned(),
            Argument::I32(value) => u64::from(value.cast_unsigned()),
            Argument::F32(value) => u64::from(value.to_bits()),
            Argument::F64(value) => value.to_bits(),
        }
    }
}

/// New memory on the device, which a kernel fills; in tests it is poisoned by NaN.
pub(crate) fn room(shape: &[i64], options: (Kind, Device)) -> Tensor {
    let room = Tensor::empty(shape, options);
    #[cfg(test)]
    let room = if matches!(options.0, Kind::Int | Kind::Int64) { room.fill(-1) } else { room.fill(f64::NAN) };
    room
}

/// The device of the tensors among the arguments.
fn device_of(arguments: &[Argument]) -> Device {
    let mut devices = arguments.iter().filter_map(|argument| match argument {
        Argument::Tensor(tensor) if tensor.defined() => Some(tensor.device()),
        _ => None,
    });
    let first = devices.next().expect("a kernel has a tensor among its arguments");
    assert!(devices.all(|device| device == first), "a kernel's tensors lie on one device");
    first
}

fn index(device: usize) -> c_int {
    c_int::try_from(device).expect("devices are few")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_has_no_kernels_and_says_so() {
        assert!(!has_kernels(Device::Cpu));
        assert_eq!(missing(Device::Cpu).as_deref(), Some("kernels run on CUDA devices"));
    }

    #[test]
    fn damaged_code_is_not_taken_from_the_cache() {
        let code = b"code".to_vec();
        let whole = [blake3::hash(&code).as_bytes().as_slice(), &code].concat();
        assert_eq!(checked(whole.clone()), Some(code));
        assert_eq!(checked(whole[..whole.len() - 1].to_vec()), None);
        assert_eq!(checked(Vec::new()), None);
    }

    #[test]
    fn numbers_are_handed_over_bit_by_bit() {
        assert_eq!(Argument::I32(-1).value(), 0xffff_ffff);
        assert_eq!(Argument::I64(-1).value(), u64::MAX);
        assert_eq!(Argument::F32(1.0).value(), 0x3f80_0000);
        assert_eq!(Argument::Tensor(&Tensor::new()).value(), 0);
    }
}
