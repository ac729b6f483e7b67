//! What comes with the command: manifests, designs and data.
//!
//! A manifest or a design can be given by its name, wherever the command runs: the name of its file
//! without `.toml`, or what stands before a `-` where no other name begins so (`table4`). The path
//! that the file has in a clone works as well. A file of the user's goes first.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use litesnn_framework::manifest::nearest;

/// The folders of manifests, below [`folder`].
const MANIFESTS: &[&str] = &["", "paper", "compared"];
const DESIGNS: &[&str] = &["designs"];
const ALL: &[&str] = &["", "paper", "compared", "designs"];

/// The folder `experiments`: beside the program where a wheel brought it, else of the clone that
/// the program was built from.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let installed = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("experiments")));
        let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        installed.filter(|folder| folder.is_dir()).unwrap_or_else(built)
    })
}

/// The manifest that is meant on the command line.
pub fn manifest(written: PathBuf) -> Result<PathBuf, String> {
    meant(written, MANIFESTS, "manifest")
}

/// The design that is meant on the command line.
pub fn design(written: PathBuf) -> Result<PathBuf, String> {
    meant(written, DESIGNS, "design")
}

/// The design or the folder that is meant on the command line.
pub fn trial_or_design(written: PathBuf) -> Result<PathBuf, String> {
    if written.exists() { Ok(written) } else { meant(written, DESIGNS, "trial or design") }
}

/// The manifest, the design or the folder that is meant on the command line.
pub fn manifest_or_design(written: PathBuf) -> Result<PathBuf, String> {
    if written.exists() { Ok(written) } else { meant(written, ALL, "manifest or design") }
}

/// The bundled file of a name or a path, for a manifest that names it.
pub fn find(written: &Path) -> Option<PathBuf> {
    match name(written) {
        Some(name) => candidates(name, ALL).ok().flatten(),
        None => of_clone(written),
    }
}

fn meant(written: PathBuf, folders: &[&str], kind: &str) -> Result<PathBuf, String> {
    if written.is_file() {
        return Ok(written);
    }
    let Some(name) = name(&written) else { return Ok(of_clone(&written).unwrap_or(written)) };
    match candidates(name, folders) {
        Ok(Some(file)) => Ok(file),
        Ok(None) if written.exists() => Ok(written),
        Ok(None) => {
            let known: Vec<String> = names(folders).into_iter().map(|(name, _)| name).collect();
            let short = known.iter().filter_map(|name| Some(name.split_once('-')?.0.to_owned()));
            let all: Vec<String> = known.iter().cloned().chain(short).collect();
            let guess = nearest(name, &all).map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"));
            Err(format!("no such file, and litesnn has no {kind} of this name{guess}\nnames: {}", known.join(", ")))
        }
        Err(several) => Err(format!("this can be {}", several.join(" or "))),
    }
}

/// What can only be a name: one word without a dot.
fn name(written: &Path) -> Option<&str> {
    written.to_str().filter(|text| !text.contains(['/', '.']))
}

/// `experiments/quickstart.toml` in a folder without `experiments`.
fn of_clone(written: &Path) -> Option<PathBuf> {
    let below = written.strip_prefix("experiments").ok().filter(|_| !written.exists())?;
    Some(folder().join(below)).filter(|file| file.is_file())
}

/// The file of a name; the names that it can be, where they are several.
fn candidates(name: &str, folders: &[&str]) -> Result<Option<PathBuf>, Vec<String>> {
    let mut begin = names(folders);
    if let Some(exact) = begin.iter().position(|(known, _)| known == name) {
        return Ok(Some(begin.swap_remove(exact).1));
    }
    begin.retain(|(known, _)| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
    match begin.len() {
        0 | 1 => Ok(begin.pop().map(|(_, file)| file)),
        _ => Err(begin.into_iter().map(|(name, _)| format!("`{name}`")).collect()),
    }
}

/// Names and files, sorted within each folder.
fn names(folders: &[&str]) -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    for sub in folders {
        let entries = std::fs::read_dir(folder().join(sub)).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|end| end == "toml"));
        let named = |file: PathBuf| Some((file.file_stem()?.to_str()?.to_owned(), file));
        let mut here: Vec<(String, PathBuf)> = files.filter_map(named).collect();
        here.sort();
        all.extend(here);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_and_so_is_its_beginning_where_no_other_begins_so() {
        let file = |written: &str| manifest(written.into()).unwrap();
        assert_eq!(file("quickstart"), folder().join("quickstart.toml"));
        assert_eq!(file("table4"), folder().join("paper/table4-joint-vs-sequential.toml"));
        assert_eq!(file("table2-cifar10"), folder().join("paper/table2-cifar10.toml"));
        assert_eq!(manifest("table2".into()).unwrap_err(), "this can be `table2-cifar10` or `table2-cifar100`");
        assert_eq!(file("stds"), folder().join("compared/stds.toml"));
        assert_eq!(file("one"), folder().join("compared/one-frame.toml"));
        assert_eq!(design("spike".into()).unwrap(), folder().join("designs/spike-dhs.toml"));
        assert_eq!(find(Path::new("lite-snn-small")), Some(folder().join("designs/lite-snn-small.toml")));
        assert_eq!(find(Path::new("lite")), None);
    }

    #[test]
    fn a_path_is_the_users() {
        for path in ["table4.toml", "./quickstart", "nowhere/quickstart", ".", "plugins"] {
            assert_eq!(manifest(path.into()), Ok(path.into()));
        }
        assert_eq!(of_clone(Path::new("experiments/nothing.toml")), None);
    }

    #[test]
    fn an_unknown_name_tells_the_known_ones() {
        let error = manifest("tabel4".into()).unwrap_err();
        assert!(error.contains("did you mean `table4`?"), "{error}");
        assert!(
            error.contains(
                "names: better-search, early-exit, evolution, methods, precision, quickstart, ranking, resnet, teacher, training-free, \
                 vgg, wider-space, "
            ),
            "{error}"
        );
    }
}
