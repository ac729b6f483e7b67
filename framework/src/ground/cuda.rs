//! CUDA in this process: the driver, and libtorch's CUDA part, which is loaded when a device of it
//! is asked for.
//!
//! No program links libtorch_cuda. One build runs with and without a GPU, and a start on the CPU
//! does not load what it does not use. libtorch settles at the first question whether it computes
//! on CUDA devices, so that nothing may ask it before [`devices`] has.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const DRIVER: &CStr = c"libcuda.so.1";
const PART: &str = "libtorch_cuda.so";

/// Number of CUDA devices that libtorch sees, one or more, with its CUDA part loaded; or why there
/// is none.
pub(super) fn devices() -> Result<usize, String> {
    if !is_loaded() {
        driver_devices()?;
        load(&part_beside(&libtorch_folder()))?;
    }
    match usize::try_from(tch::Cuda::device_count()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("`{PART}` is loaded and sees no device: its CUDA may be newer than the driver")),
    }
}

/// Number of CUDA devices of libtorch as far as it is loaded; asking loads nothing.
pub(super) fn loaded_devices() -> usize {
    if is_loaded() { usize::try_from(tch::Cuda::device_count()).unwrap_or(0) } else { 0 }
}

/// Whether something computes on CUDA devices in this process.
fn is_loaded() -> bool {
    unsafe extern "C" {
        fn litesnn_has_cuda() -> c_int;
    }
    // SAFETY: reads a table of libtorch.
    unsafe { litesnn_has_cuda() != 0 }
}

/// Number of CUDA devices that the driver lists, one or more; or what it lacks. Without a driver
/// the answer takes microseconds.
fn driver_devices() -> Result<usize, String> {
    let driver = Driver::open()?;
    let mut count = 0;
    driver.call::<unsafe extern "C" fn(*mut c_int) -> c_int>(c"cuDeviceGetCount", |function| {
        // SAFETY: writes one number.
        unsafe { function(&raw mut count) }
    })?;
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("the NVIDIA driver lists no device".into()),
    }
}

/// The model of a device, as the driver names it.
pub(super) fn model(index: usize) -> Option<String> {
    let driver = Driver::open().ok()?;
    let (mut device, index) = (0, c_int::try_from(index).ok()?);
    driver
        .call::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(c"cuDeviceGet", |function| {
            // SAFETY: writes one number.
            unsafe { function(&raw mut device, index) }
        })
        .ok()?;
    let mut name = [0 as c_char; 256];
    driver
        .call::<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int>(c"cuDeviceGetName", |function| {
            // SAFETY: writes at most so many bytes, the last of them zero.
            unsafe { function(name.as_mut_ptr(), name.len() as c_int, device) }
        })
        .ok()?;
    // SAFETY: ends with a zero, at the latest where it began with one.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().trim().to_owned();
    (!name.is_empty()).then_some(name)
}

/// The driver's library, with `cuInit` done.
struct Driver(*mut c_void);

impl Driver {
    fn open() -> Result<Driver, String> {
        let library = open(DRIVER).map_err(|why| match why.contains("No such file") {
            true => format!("there is no NVIDIA driver (`{}`)", DRIVER.to_string_lossy()),
            false => format!("the NVIDIA driver cannot be loaded: {why}"),
        })?;
        let driver = Driver(library);
        driver.call::<unsafe extern "C" fn(u32) -> c_int>(c"cuInit", |function| {
            // SAFETY: takes flags, of which there are none.
            unsafe { function(0) }
        })?;
        Ok(driver)
    }

    /// Calls a function of the type `F`; anything but 0 is a failure.
    fn call<F: Copy>(&self, name: &CStr, call: impl FnOnce(F) -> c_int) -> Result<(), String> {
        let shown = name.to_string_lossy();
        // SAFETY: the library stays open.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if symbol.is_null() {
            return Err(format!("the NVIDIA driver has no `{shown}`"));
        }
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>(), "F is the type of a function");
        // SAFETY: the driver's header declares the function with this type, and it is not null.
        let status = call(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&symbol) });
        if status == 0 { Ok(()) } else { Err(format!("the NVIDIA driver's `{shown}` fails with error {status}")) }
    }
}

/// The folder of the libtorch that this process has loaded.
fn libtorch_folder() -> Option<PathBuf> {
    // SAFETY: looks up a symbol, and the file that it is from; the path lives as long as the file
    // is loaded.
    let path = unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, c"_ZN2at13globalContextEv".as_ptr());
        let mut information: libc::Dl_info = std::mem::zeroed();
        if symbol.is_null() || libc::dladdr(symbol, &raw mut information) == 0 {
            return None;
        }
        CStr::from_ptr(information.dli_fname).to_owned()
    };
    Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).parent().map(Path::to_owned)
}

/// The CUDA part of the libtorch in a folder; where it is not there, its bare name, for which the
/// loader looks.
fn part_beside(folder: &Option<PathBuf>) -> PathBuf {
    let beside = folder.as_ref().map(|folder| folder.join(PART));
    beside.filter(|path| path.exists()).unwrap_or_else(|| PART.into())
}

/// Loads libtorch's CUDA part, which registers itself.
fn load(part: &Path) -> Result<(), String> {
    let name = CString::new(part.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    open(&name).map_err(|why| match part.is_absolute() {
        true => format!("libtorch's CUDA part cannot be loaded: {why}"),
        false => format!("this libtorch has no CUDA part: {why}"),
    })?;
    if is_loaded() { Ok(()) } else { Err(format!("`{}` is no CUDA part of this libtorch", part.display())) }
}

/// Opens a library for the rest of the process, or says what the loader says.
fn open(name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: what is loaded here are the driver and libtorch; the message is copied at once.
    unsafe {
        let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
        if !library.is_null() {
            return Ok(library);
        }
        let why = libc::dlerror();
        Err(if why.is_null() { "unknown".into() } else { CStr::from_ptr(why).to_string_lossy().into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_libtorch_is_that_of_the_loaded_library() {
        let folder = libtorch_folder().unwrap();
        assert!(folder.join("libtorch_cpu.so").exists(), "{}", folder.display());
    }

    #[test]
    fn the_part_beside_libtorch_comes_before_the_loaders() {
        let folder = tempfile::tempdir().unwrap();
        let at = Some(folder.path().to_owned());
        assert_eq!(part_beside(&at), Path::new(PART));
        assert_eq!(part_beside(&None), Path::new(PART));
        std::fs::write(folder.path().join(PART), "").unwrap();
        assert_eq!(part_beside(&at), folder.path().join(PART));
    }

    /// What a user has to know to mend it: which file, and what the loader found wrong with it.
    #[test]
    fn a_part_that_cannot_be_loaded_is_named_with_what_the_loader_says() {
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join(PART);
        std::fs::write(&broken, "no library").unwrap();
        let message = load(&broken).unwrap_err();
        let begin = format!("libtorch's CUDA part cannot be loaded: {}: ", broken.display());
        assert!(message.starts_with(&begin), "{message}");
        let message = load(Path::new("libtorch_cuda_that_is_nowhere.so")).unwrap_err();
        assert!(message.starts_with("this libtorch has no CUDA part: libtorch_cuda_that_is_nowhere.so: "), "{message}");
    }

    #[test]
    fn a_driver_that_is_missing_or_incomplete_is_named() {
        let message = open(c"libcuda_that_is_nowhere.so.1").unwrap_err();
        assert!(message.contains("libcuda_that_is_nowhere.so.1"), "{message}");
        // A library without the driver's functions.
        let other = Driver(open(c"libc.so.6").unwrap());
        let message = other.call::<unsafe extern "C" fn(u32) -> c_int>(c"cuInit", |_| 0).unwrap_err();
        assert_eq!(message, "the NVIDIA driver has no `cuInit`");
    }
}
