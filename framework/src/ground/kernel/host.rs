//! Kernels on the CPU, for tests: the same source, compiled by g++ with `host.h` before it.

use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The orders of blocks and threads: from the first to the last, from the last to the first, and
/// shuffled.
pub(crate) const ORDERS: [c_int; 3] = [0, 1, 2];

thread_local! {
    /// Of what this thread launches: tests run beside each other.
    static ORDER: Cell<c_int> = const { Cell::new(ORDERS[0]) };
}

/// Built with the address sanitizer, whose library the process has to be started with.
const SANITIZED: &str = "KERNELS_UNDER_ADDRESS_SANITIZER";

/// Does `work` with the blocks and threads of its kernels in one of [`ORDERS`]. The backward pass
/// of a CPU runs on the thread that asks for it, so that its kernels take the order, too.
pub(crate) fn in_order<T>(order: c_int, work: impl FnOnce() -> T) -> T {
    ORDER.set(order);
    let done = work();
    ORDER.set(ORDERS[0]);
    done
}

type Run = unsafe extern "C" fn(*const u32, *const u32, *mut *const c_void);

/// Runs all blocks of a kernel.
pub(super) fn launch(
    source: &str,
    entry: &str,
    defines: &[(&str, i64)],
    grid: [u32; 3],
    block: [u32; 3],
    arguments: &mut [*const c_void],
) {
    let library = library(source, defines);
    // SAFETY: `host.h` defines both symbols with these types.
    unsafe {
        let order: *mut c_int = symbol(&library, "kernel_order").cast();
        let run: Run = std::mem::transmute(symbol(&library, &format!("{entry}_run")));
        // Tests run beside each other, and the order is one for all of a library.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock();
        *order = ORDER.get();
        run(grid.as_ptr(), block.as_ptr(), arguments.as_mut_ptr());
    }
}

fn symbol(library: &Path, name: &str) -> *mut c_void {
    let [library, name] = [library.to_str().unwrap(), name].map(|text| CString::new(text).unwrap());
    // SAFETY: a library that stays open, and a name that is looked for in it.
    let found = unsafe {
        let library = libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!library.is_null(), "{:?}", std::ffi::CStr::from_ptr(libc::dlerror()));
        libc::dlsym(library, name.as_ptr())
    };
    assert!(!found.is_null(), "{name:?} is not in {library:?}");
    found
}

/// A library of the source, built once for all processes that test it.
fn library(source: &str, defines: &[(&str, i64)]) -> PathBuf {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let prelude = std::fs::read_to_string(kernels.join("host.h")).unwrap();
    let sanitized = std::env::var_os(SANITIZED).is_some();
    let mut options: Vec<String> = defines.iter().map(|(name, value)| format!("-D{name}={value}")).collect();
    options.extend(["-O1", "-g", "-w", "-std=c++17", "-ffp-contract=off", "-shared", "-fPIC"].map(str::to_owned));
    // What is undefined ends the process.
    options.extend(["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"].map(str::to_owned));
    if sanitized {
        options.push("-fsanitize=address".to_owned());
    }
    let digest = blake3::hash(format!("{}\n{prelude}\n{source}", options.join(" ")).as_bytes()).to_hex();
    // Beside the program of the tests: what is temporary may not outlive them.
    let folder = std::env::current_exe().expect("this test").with_file_name("litesnn-kernels-on-the-host");
    let path = folder.join(format!("{}.so", &digest[..32]));
    if path.exists() {
        return path;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let scratch = tempfile::tempdir_in(&folder).unwrap();
    let (text, built) = (scratch.path().join("kernel.cpp"), scratch.path().join("kernel.so"));
    std::fs::write(&text, source).unwrap();
    let output = Command::new("g++")
        .arg("-include")
        .arg(kernels.join("host.h"))
        .args(&options)
        .arg(&text)
        .arg("-o")
        .arg(&built)
        .env_remove("LD_PRELOAD")
        .output()
        .expect("g++, which also builds the framework");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&built, &path).unwrap();
    path
}

/// Runs the tests whose names begin so in a process of their own, where a kernel that reads or
/// writes past the end of a tensor ends it. What is undefined does so everywhere.
pub(crate) fn again_under_the_address_sanitizer(tests: &str) {
    if std::env::var_os(SANITIZED).is_some() {
        return;
    }
    let found = Command::new("g++").arg("-print-file-name=libasan.so").output().expect("g++ builds the framework");
    let library = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    if !library.starts_with('/') {
        writeln!(std::io::stderr(), "test skipped: g++ has no address sanitizer").unwrap();
        return;
    }
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args([tests, "--test-threads", "1"])
        .env(SANITIZED, "1")
        .env("LD_PRELOAD", library)
        .env("ASAN_OPTIONS", "detect_leaks=0:alloc_dealloc_mismatch=0:handle_segv=0")
        .output()
        .expect("this test again");
    let [out, error] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let all = out.contains("test result: ok") && !out.contains("running 0 tests");
    assert!(output.status.success() && all, "{out}\n{error}");
}
