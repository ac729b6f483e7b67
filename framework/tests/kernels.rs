//! Every kernel is compiled for every architecture that is supported, without a GPU: NVRTC makes
//! PTX, and ptxas says what registers it takes. None spills, and `docs/kernels.md` has the table.
//!
//! `.ci/run` fetches both programs from PyPI. Without them the test is skipped.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const ARCHITECTURES: [&str; 4] = ["80", "90", "100", "120"];

/// What the source of a kernel begins with, and the compile-time constants that it is tried with.
struct Tried {
    kernel: &'static str,
    begins_with: &'static [&'static str],
    defines: &'static [&'static [&'static str]],
}

const TRIED: [Tried; 6] = [
    Tried { kernel: "largest", begins_with: &[], defines: &[&["TENSORS=16"]] },
    Tried { kernel: "lif", begins_with: &["neuron.h"], defines: &[&["STEPS=6"], &["STEPS=10"]] },
    Tried { kernel: "maps", begins_with: &[], defines: &[&["PARTS=8"]] },
    Tried { kernel: "moments", begins_with: &[], defines: &[&["STEPS=6"], &["STEPS=6", "X_BF16=1"]] },
    Tried {
        kernel: "node",
        begins_with: &["neuron.h"],
        defines: &[
            &["STEPS=1", "TERMS=16", "ROWS=4", "RESIDENT=3"],
            &["STEPS=4", "TERMS=16", "ROWS=2", "RESIDENT=3"],
            &["STEPS=6", "TERMS=16", "ROWS=2", "RESIDENT=3"],
            &["STEPS=6", "TERMS=16", "ROWS=2", "RESIDENT=3", "X_BF16=1"],
            &["STEPS=10", "TERMS=16", "ROWS=1", "RESIDENT=3"],
        ],
    },
    Tried { kernel: "weights", begins_with: &[], defines: &[&["WEIGHTS=16", "LEVELS=8"]] },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// NVRTC's library and ptxas, where `.ci/run` puts them.
fn tools() -> Option<(PathBuf, PathBuf)> {
    let user = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let user = user.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let folder = user.join("litesnn/cuda-tools/nvidia/cu13");
    let (library, program) = (folder.join("lib/libnvrtc.so.13"), folder.join("bin/ptxas"));
    (library.exists() && program.exists()).then_some((library, program))
}

#[test]
fn no_kernel_spills_and_the_table_of_registers_is_as_measured() {
    let Some((library, ptxas)) = tools() else {
        use std::io::Write as _;
        let why = "NVRTC and ptxas are not in the cache folder; `.ci/run` fetches them";
        writeln!(std::io::stderr(), "test skipped: {why}").unwrap();
        return;
    };
    let compiler = Compiler::open(&library);
    let scratch = tempfile::tempdir().unwrap();
    let mut rows: BTreeMap<(&str, String, String), Vec<String>> = BTreeMap::new();
    for tried in &TRIED {
        for (defines, architecture) in tried.defines.iter().flat_map(|one| ARCHITECTURES.map(|of| (one, of))) {
            let path = scratch.path().join("kernel.ptx");
            std::fs::write(&path, compiler.ptx(tried, defines, architecture)).unwrap();
            for (entry, registers) in registers(&ptxas, &path, architecture) {
                rows.entry((tried.kernel, defines.join(" "), entry)).or_default().push(registers);
            }
        }
    }
    let names = ARCHITECTURES.map(|one| format!("sm_{one}")).join(" | ");
    let mut table = format!("| file | constants | kernel | {names} |\n|---|---|---|{}\n", "---|".repeat(4));
    for ((file, defines, entry), registers) in rows {
        writeln!(table, "| {file} | {defines} | {entry} | {} |", registers.join(" | ")).unwrap();
    }
    let page = std::fs::read_to_string(root().join("docs/kernels.md")).unwrap();
    assert!(page.contains(&table), "the table in docs/kernels.md is now\n\n{table}");
}

#[test]
fn every_kernel_is_tried() {
    let folder = std::fs::read_dir(root().join("framework/kernels")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = names.filter_map(|name| name.strip_suffix(".cu").map(str::to_owned)).collect();
    files.sort();
    assert_eq!(files, TRIED.map(|tried| tried.kernel.to_owned()), "TRIED names the constants of every kernel");
}

/// Registers of each entry; a spill or a stack frame is a failure.
fn registers(ptxas: &Path, ptx: &Path, architecture: &str) -> BTreeMap<String, String> {
    let target = format!("-arch=sm_{architecture}");
    let output = Command::new(ptxas).args(["-v", &target, "-o", "/dev/null"]).arg(ptx).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let (mut found, mut entry) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            entry = rest.split('\'').next().unwrap().to_owned();
        } else if line.contains("stack frame") {
            let none = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
            assert!(line.contains(none), "{entry} on sm_{architecture}: {}", line.trim());
        } else if let Some((_, rest)) = line.split_once("Used ") {
            found.insert(entry.clone(), rest.split(' ').next().unwrap().to_owned());
        }
    }
    assert!(!found.is_empty(), "{text}");
    found
}

/// NVRTC, without a driver.
struct Compiler {
    library: *mut c_void,
}

impl Compiler {
    fn open(path: &Path) -> Compiler {
        let name = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a library that stays open.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null(), "{}", path.display());
        Compiler { library }
    }

    fn ptx(&self, tried: &Tried, defines: &[&str], architecture: &str) -> Vec<u8> {
        type Texts = *const *const c_char;
        type Create =
            unsafe extern "C" fn(*mut *mut c_void, *const c_char, *const c_char, c_int, Texts, Texts) -> c_int;
        type Compile = unsafe extern "C" fn(*mut c_void, c_int, Texts) -> c_int;
        let kernels = root().join("framework/kernels");
        let read = |name: &str| std::fs::read_to_string(kernels.join(name)).unwrap();
        let mut source = read("device.h");
        tried.begins_with.iter().for_each(|part| source += &read(part));
        source += &read(&format!("{}.cu", tried.kernel));
        let mut options = vec!["--std=c++17".to_owned(), "--fmad=false".to_owned()];
        options.push(format!("--gpu-architecture=compute_{architecture}"));
        options.extend(defines.iter().map(|define| format!("-D{define}")));
        let text = |text: String| CString::new(text).unwrap();
        let (source, name) = (text(source), text(format!("{}.cu", tried.kernel)));
        let options: Vec<CString> = options.into_iter().map(text).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = std::ptr::null_mut();
        // SAFETY: the types are those of nvrtc.h; texts live through the calls.
        unsafe {
            let create: Create = std::mem::transmute(self.symbol("nvrtcCreateProgram"));
            let compile: Compile = std::mem::transmute(self.symbol("nvrtcCompileProgram"));
            let none = std::ptr::null();
            assert_eq!(create(&raw mut program, source.as_ptr(), name.as_ptr(), 0, none, none), 0);
            let status = compile(program, pointers.len() as c_int, pointers.as_ptr());
            let log = self.text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
            assert_eq!(status, 0, "{} {defines:?}: {}", tried.kernel, String::from_utf8_lossy(&log));
            self.text(program, "nvrtcGetPTXSize", "nvrtcGetPTX")
        }
    }

    /// # Safety
    /// `size` and `get` name functions of NVRTC that tell of a text of a program.
    unsafe fn text(&self, program: *mut c_void, size: &str, get: &str) -> Vec<u8> {
        type Size = unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int;
        // SAFETY: a buffer of the length that NVRTC asks for, with a zero at its end.
        unsafe {
            let size: Size = std::mem::transmute(self.symbol(size));
            let get: Get = std::mem::transmute(self.symbol(get));
            let mut length = 0;
            assert_eq!(size(program, &raw mut length), 0);
            let mut bytes = vec![0u8; length + 1];
            assert_eq!(get(program, bytes.as_mut_ptr().cast()), 0);
            CStr::from_bytes_until_nul(&bytes).unwrap().to_bytes().to_vec()
        }
    }

    fn symbol(&self, name: &str) -> *mut c_void {
        let name = CString::new(name).unwrap();
        // SAFETY: looks a name up.
        let found = unsafe { libc::dlsym(self.library, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?}");
        found
    }
}
