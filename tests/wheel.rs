//! The wheel of the built command, installed by pip: it runs from an empty folder, finds the right libtorch wherever torch lies,
//! takes no other, and leaves nothing behind. Without a Python with pip and venv the tests are skipped.

#[path = "support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use support::{root, stderr, stdout};
use tempfile::TempDir;

fn python() -> String {
    std::env::var("PYTHON").unwrap_or_else(|_| "python3".into())
}

/// A program in an environment where nothing but what a test names says where things are.
fn clean(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LITESNN_") {
            command.env_remove(name);
        }
    }
    for name in ["LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_USER", "VIRTUAL_ENV"] {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .env("LITESNN_CACHE", env!("CARGO_TARGET_TMPDIR"))
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command.env("PIP_ROOT_USER_ACTION", "ignore").env("NO_COLOR", "1").env("COLUMNS", "100");
    command
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}{}", output.status, stdout(&output), stderr(&output));
    output
}

/// The libtorch that this command was built with, as the package `torch`.
fn torch() -> PathBuf {
    PathBuf::from(std::env::var_os("LIBTORCH").expect(".cargo/config.toml names it"))
}

/// The wheel, or why there can be none.
static WHEEL: LazyLock<Result<(TempDir, PathBuf), &'static str>> = LazyLock::new(|| {
    let here = tempfile::tempdir().unwrap();
    let asks = "import sys, venv, ensurepip, pip; sys.exit(sys.version_info < (3, 10))";
    if !clean(python(), here.path()).args(["-c", asks]).output().is_ok_and(|output| output.status.success()) {
        return Err("there is no python3 of 3.10 or newer with pip and venv");
    }
    let mut pack = clean(python(), here.path());
    pack.arg(root().join("experiments/python/pack.py")).arg(env!("CARGO_BIN_EXE_litesnn")).args(["--out", "dist"]);
    let wheel = here.path().join(stdout(&succeed(&mut pack)).trim());
    Ok((here, wheel))
});

/// The wheel; where there is none, the test is skipped.
fn wheel() -> Option<&'static Path> {
    match &*WHEEL {
        Ok((_, wheel)) => Some(wheel),
        Err(why) => {
            // Not `eprintln!`, which the harness keeps to itself.
            #[allow(clippy::explicit_write)]
            writeln!(io::stderr(), "test skipped: {why}").unwrap();
            None
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder that `pip install --target` has filled, without torch.
fn target(wheel: &Path) -> TempDir {
    let target = tempfile::tempdir().unwrap();
    let mut install = clean(python(), target.path());
    install.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", "."]).arg(wheel);
    succeed(&mut install);
    target
}

#[test]
fn an_installed_wheel_makes_the_quick_starts_page_from_an_empty_folder_and_leaves_nothing_behind() {
    let Some(wheel) = wheel() else { return };
    let (environment, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let empty = empty.path().canonicalize().unwrap();
    succeed(clean(python(), &empty).args(["-m", "venv"]).arg(environment.path()));
    let bin = environment.path().join("bin");
    let pip = |words: &[&str]| succeed(clean(bin.join("python"), &empty).args(["-m", "pip", "--quiet"]).args(words));
    let before = names(&bin);
    pip(&["install", "--no-index", "--no-deps", &wheel.to_string_lossy()]);
    let lib = environment.path().join("lib");
    let site = lib.join(&names(&lib)[0]).join("site-packages");
    symlink(torch(), site.join("torch")).unwrap();

    let litesnn = || clean(bin.join("litesnn"), &empty);
    let smoke = ["--profile", "smoke", "--device", "cpu"];
    succeed(litesnn().args(["run", "quickstart", "--jobs", "2", "--threads", "1"]).args(smoke));
    succeed(litesnn().arg("report"));
    let page = std::fs::read_to_string(empty.join("report/index.html")).unwrap();
    assert!(page.contains("Fashion-MNIST (200/50/100)") && page.contains("lite-snn"), "{page}");
    // Files of a clone by their path, and a manifest of one's own that extends one of them.
    succeed(litesnn().args(["explain", "experiments/paper/table4-joint-vs-sequential.toml"]));
    succeed(litesnn().args(["cost", "lite-snn-small"]));
    std::fs::write(empty.join("own.toml"), "extends = \"quickstart\"\n[experiment]\nname = \"own\"\n").unwrap();
    let planned = stdout(&succeed(litesnn().args(["plan", "own.toml"]).args(smoke)));
    assert!(planned.contains("done"), "it is the same work: {planned}");
    std::fs::remove_file(empty.join("own.toml")).unwrap();

    let doctor = stdout(&succeed(litesnn().args(["doctor", "--device", "cpu"])));
    for line in [
        format!("manifests {}/litesnn/experiments\n", site.canonicalize().unwrap().display()),
        format!("runs      {}/runs (2 trials, ", empty.display()),
        format!("cache     {} (", env!("CARGO_TARGET_TMPDIR")),
    ] {
        assert!(doctor.contains(&line), "{line:?} is not in\n{doctor}");
    }
    // The cache that tests share may lie in the clone.
    let others = doctor.replace(env!("CARGO_TARGET_TMPDIR"), "");
    assert!(!others.contains(env!("CARGO_MANIFEST_DIR")), "the clone is not asked for: {doctor}");

    pip(&["uninstall", "--yes", "litesnn"]);
    assert_eq!(names(&bin), before);
    assert!(names(&site).iter().all(|name| !name.starts_with("litesnn")), "{:?}", names(&site));
    assert_eq!(names(&empty), ["report", "runs"]);
}

#[test]
fn torch_is_found_where_it_lies_and_another_libtorch_is_not_taken() {
    let Some(wheel) = wheel() else { return };
    let (target, empty) = (target(wheel), tempfile::tempdir().unwrap());
    let beside = target.path().join("torch");
    // A libtorch that the dynamic linker cannot load.
    let other = tempfile::tempdir().unwrap();
    for name in ["libtorch_cpu.so", "libc10.so", "libgomp.so.1"] {
        std::fs::write(other.path().join(name), "no library").unwrap();
    }
    let litesnn = || {
        let mut command = clean(target.path().join("bin/litesnn"), empty.path());
        command.env("PYTHONPATH", target.path()).env("LD_LIBRARY_PATH", other.path());
        command
    };
    let refused = |path: &[&Path], because: &str| {
        let path = std::env::join_paths(path).unwrap();
        let output = litesnn().env("PYTHONPATH", path).arg("--version").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(because), "{}", stderr(&output));
        assert!(stderr(&output).contains("-m pip install 'torch=="), "{}", stderr(&output));
    };

    symlink(torch(), &beside).unwrap();
    assert!(stdout(&succeed(litesnn().arg("--version"))).starts_with("litesnn "));
    std::fs::remove_file(&beside).unwrap();

    // A torch of another release, beside the program and elsewhere.
    for place in [target.path(), other.path()] {
        let folder = place.join("torch");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("__init__.py"), "").unwrap();
        std::fs::write(folder.join("version.py"), "__version__ = '1.13.1+cpu'\n").unwrap();
        let expected = format!("{} is torch 1.13.1+cpu", folder.canonicalize().unwrap().display());
        refused(&[target.path(), other.path()], &expected);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    // A folder of that name is no package.
    std::fs::create_dir(other.path().join("torch")).unwrap();
    if !clean(python(), empty.path()).args(["-c", "import torch"]).output().unwrap().status.success() {
        refused(&[target.path(), other.path()], "has no torch");
    }

    // Elsewhere: a package with that libtorch. The processes of `--jobs` find it too.
    let elsewhere = tempfile::tempdir().unwrap();
    let package = elsewhere.path().join("torch");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("__init__.py"), "raise ImportError('it is found, not imported')").unwrap();
    for part in ["lib", "version.py"] {
        symlink(torch().join(part), package.join(part)).unwrap();
    }
    let path = std::env::join_paths([target.path(), elsewhere.path()]).unwrap();
    let small = "dataset.fashion-mnist={ train = 20, validation = 20, test = 20 }";
    let run = ["run", "quickstart", "--device", "cpu", "--jobs", "1", "--profile", "smoke", "--set", small];
    succeed(litesnn().env("PYTHONPATH", path).args(run));
    assert!(empty.path().join("runs/quickstart").is_dir());
}

/// The tag of a wheel says what it runs on: no symbol is newer.
#[test]
fn the_tag_is_what_the_program_needs() {
    let Some(wheel) = wheel() else { return };
    let target = target(wheel);
    let mut readelf = Command::new("readelf");
    readelf.args(["--version-info", "--dynamic", "--wide"]).arg(target.path().join("litesnn/litesnn"));
    let text = stdout(&succeed(readelf.env("LC_ALL", "C")));
    let needs = text.split("Version needs section").nth(1).expect("it needs libraries");
    let minors = needs.split("Name: GLIBC_2.").skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().unwrap()
    });
    let newest = minors.max().expect("it needs glibc").max(28);
    let name = wheel.file_name().unwrap().to_string_lossy();
    assert!(name.ends_with(&format!("-py3-none-manylinux_2_{newest}_x86_64.whl")), "{name}");
    assert!(text.contains("Library rpath: [$ORIGIN/../torch/lib]\n"), "{text}");
}
