//! Lists the plugins, so that a new file in `src/` is linked without an edit elsewhere, and lets this package's tests find libtorch.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=src");
    let folder = variable("CARGO_MANIFEST_DIR").join("src");
    match modules(&folder) {
        Ok(list) => fs::write(variable("OUT_DIR").join("plugins.rs"), list).expect("cargo's OUT_DIR can be written"),
        Err(message) => println!("cargo::error={message}"),
    }
    link(&variable("DEP_TCH_LIBTORCH_LIB"));
}

fn variable(name: &str) -> PathBuf {
    PathBuf::from(env::var_os(name).unwrap_or_else(|| panic!("cargo and torch-sys set {name}")))
}

/// One `mod` line for each file in `folder` but `lib.rs`, in the order of their names.
fn modules(folder: &Path) -> Result<String, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs") && !file.ends_with("lib.rs"));
    files.sort();
    let mut list = String::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        if !name.starts_with(|c: char| c.is_ascii_lowercase())
            || name.contains(|c: char| !matches!(c, 'a'..='z' | '0'..='9' | '_'))
        {
            return Err(format!(
                "{} names a module: lowercase letters, digits and `_`, a letter first",
                file.display()
            ));
        }
        writeln!(list, "#[path = {file:?}]\npub mod {name};").expect("a string takes any text");
    }
    Ok(list)
}

/// The tests of this package are programs that load libtorch: they are told where it lies. Nothing in them names CUDA's part, so the
/// linker would drop it, and libtorch would see no GPU.
fn link(lib: &Path) {
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    if lib.join("libtorch_cuda.so").exists() {
        println!("cargo::rustc-link-search=native={}", lib.display());
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
    }
}
