//! Where the lines of JSON go: to stdout, or to a file while stdout says them to a reader.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use litesnn_framework::Error;
use serde_json::Value;

use crate::output::out;

/// The lines so far.
pub struct Lines {
    file: Option<(PathBuf, File)>,
}

impl Lines {
    /// To a file, where one is named.
    pub fn open(path: Option<&Path>) -> Result<Lines, Error> {
        let Some(path) = path else { return Ok(Lines { file: None }) };
        let file = File::create(path).map_err(Error::file("create", path))?;
        Ok(Lines { file: Some((path.to_owned(), file)) })
    }

    /// Writes a line, whole, before anything else is done.
    pub fn write(&mut self, line: &Value) -> Result<(), Error> {
        match &mut self.file {
            None => out!("{line}"),
            Some((path, file)) => {
                let written = writeln!(file, "{line}").and_then(|()| file.sync_data());
                written.map_err(Error::file("write", path))?;
                out!("{}", for_a_reader(line));
            }
        }
        Ok(())
    }
}

/// `wrong  nodes  12.3 s  what is wrong`
fn for_a_reader(line: &Value) -> String {
    let outcome = match line["ok"].as_bool() {
        Some(true) => "right",
        Some(false) => "wrong",
        None => "open",
    };
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let seconds = line["seconds"].as_f64().unwrap_or_default();
    format!("{outcome:<6} {:<18} {seconds:>6.1} s  {}", text("part"), text("message")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_holds_each_line_as_json_once_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut lines = Lines::open(Some(&path)).unwrap();
        for part in ["a", "b"] {
            lines.write(&json!({ "part": part, "ok": null })).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert_eq!(last["part"], part);
        }
    }

    #[test]
    fn a_reader_sees_the_outcome_first() {
        let line = json!({ "part": "nodes", "ok": false, "seconds": 1.25, "message": "NaN" });
        assert_eq!(for_a_reader(&line), "wrong  nodes                 1.2 s  NaN");
    }
}
