//! Compiles the pretended device, its driver and its compiler, once for each state of their source.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The device's own part, a program that has to be loaded before the one that uses it.
const DEVICE: &str = "pretended_device.so";
/// Stands for the NVIDIA driver.
const DRIVER: &str = "libcuda.so.1";
/// Stands for NVRTC.
const COMPILER: &str = "libnvrtc.so.13";
/// Each with a file of its own; the other files are the device's.
const ALONE: [(&str, &str); 2] = [("driver.cpp", DRIVER), ("compiler.cpp", COMPILER)];

/// The folder with the three shared objects.
#[derive(Debug, Clone)]
pub struct PretendedDevice {
    folder: PathBuf,
}

impl PretendedDevice {
    /// Builds it from the sources in the folder `framework`, into a folder of its own in `target`.
    ///
    /// Programs that do so at once build beside each other, and the first to finish is taken.
    pub fn built(framework: &Path, target: &Path) -> PretendedDevice {
        let sources = framework.join("tests/pretended_device");
        let torch = torch();
        let mut files: Vec<PathBuf> = std::fs::read_dir(&sources)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| is_source(path))
            .collect();
        files.sort();
        let mut state = DefaultHasher::new();
        torch.hash(&mut state);
        for file in &files {
            (file, std::fs::read(file).unwrap()).hash(&mut state);
        }
        let folder = target.join(format!("pretended-device-{:016x}", state.finish()));
        if !folder.exists() {
            let beside = tempfile::tempdir_in(target).unwrap();
            build(&files, &framework.join("kernels/host.h"), &torch, beside.path());
            // Another program may have come first.
            let renamed = std::fs::rename(beside.path(), &folder);
            assert!(renamed.is_ok() || folder.exists(), "{}: {renamed:?}", folder.display());
        }
        PretendedDevice { folder }
    }

    /// Lets a command see the device.
    pub fn before(&self, command: &mut Command) {
        let mut libraries = self.folder.clone().into_os_string();
        if let Some(others) = std::env::var_os("LD_LIBRARY_PATH") {
            libraries.push(":");
            libraries.push(others);
        }
        command.env("LD_PRELOAD", self.folder.join(DEVICE)).env("LD_LIBRARY_PATH", libraries);
        // A user's own are not the tests'.
        for name in ["PRETENDED_REPORT", "PRETENDED_PLACES", "PRETENDED_MEMORY", "PRETENDED_PRELUDE", "PRETENDED_GRAPH"]
        {
            command.env_remove(name);
        }
    }
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cpp" || extension == "h")
}

/// The folder of the libtorch that this process has loaded.
fn torch() -> PathBuf {
    // So that the linker keeps libtorch.
    assert!(tch::get_num_threads() > 0);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let library =
        maps.lines().find_map(|line| line.split_whitespace().nth(5).filter(|path| path.ends_with("/libtorch_cpu.so")));
    let library = Path::new(library.expect("libtorch_cpu.so is loaded"));
    library.parent().and_then(Path::parent).expect("libtorch has a folder for libraries").to_owned()
}

fn build(files: &[PathBuf], prelude: &Path, torch: &Path, into: &Path) {
    let (alone, device): (Vec<&PathBuf>, Vec<&PathBuf>) = files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "cpp"))
        .partition(|file| ALONE.iter().any(|(source, _)| file.ends_with(source)));
    let mut commands: Vec<Command> = Vec::new();
    let mut objects: Vec<OsString> = Vec::new();
    for file in device {
        let object = into.join(file.with_extension("o").file_name().unwrap());
        let mut command = compiler();
        command.arg("-DAT_PER_OPERATOR_HEADERS").arg("-c").arg(file).arg("-o").arg(&object);
        for folder in ["include", "include/torch/csrc/api/include"] {
            command.arg("-I").arg(torch.join(folder));
        }
        objects.push(object.into_os_string());
        commands.push(command);
    }
    for file in alone {
        let (_, library) = ALONE.iter().find(|(source, _)| file.ends_with(source)).unwrap();
        let mut command = compiler();
        command.arg(format!("-DPRELUDE=\"{}\"", prelude.display()));
        command.arg("-shared").arg(file).arg("-o").arg(into.join(library)).arg("-ldl");
        commands.push(command);
    }
    all(commands);
    let lib = torch.join("lib");
    let mut link = compiler();
    link.arg("-shared").args(&objects).arg("-o").arg(into.join(DEVICE)).arg("-L").arg(&lib);
    link.args(["-ltorch_cpu", "-lc10"]).arg(format!("-Wl,-rpath,{}", lib.display()));
    all(vec![link]);
    objects.iter().for_each(|object| std::fs::remove_file(object).unwrap());
}

fn compiler() -> Command {
    let mut command = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
    command.args(["-std=c++20", "-O1", "-fPIC"]).env_remove("LD_PRELOAD");
    command
}

/// Runs commands, as many at a time as there are cores; each has to succeed.
fn all(commands: Vec<Command>) {
    let open = Mutex::new(commands);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = open.lock().unwrap().pop();
                    let Some(mut command) = next else { break };
                    let output = command.output().unwrap();
                    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
                }
            });
        }
    });
}
