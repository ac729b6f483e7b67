//! What lies in a folder of data: entries that are data, and those that systems put beside them.

use std::path::Path;

/// Entries that a message names.
const NAMED: usize = 8;

/// Whether an entry of this name is the user's: not what file systems, Macs, NAS, notebooks and
/// programs that unpack archives leave (`lost+found`, `._x.wav`, `.DS_Store`, `@eaDir`,
/// `.ipynb_checkpoints`, `#recycle`, `$RECYCLE.BIN`, `__MACOSX`).
pub fn is_data(name: &str) -> bool {
    !name.starts_with(['.', '@', '#', '$'])
        && !["lost+found", "System Volume Information", "__MACOSX", "Thumbs.db", "desktop.ini"].contains(&name)
}

/// `it has ...`: the entries of a folder, for a message that misses one.
pub fn there(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    named(names.filter(|name| is_data(name)).collect())
}

/// `it has ...` of names.
pub fn named(mut names: Vec<String>) -> String {
    names.sort_unstable();
    let shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "it is empty".into(),
        1..=NAMED => format!("it has {}", shown.join(", ")),
        count => format!("it has {} and {} more", shown.join(", "), count - NAMED),
    }
}
