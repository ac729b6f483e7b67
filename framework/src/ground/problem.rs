//! What is wrong with a manifest: the message, the place, the layer that set it, and what would be
//! right.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value comes from. Later layers win, in the order of these variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigLayer {
    /// The default of the program or a plugin.
    Default,
    /// A file that the manifest extends.
    Extends(PathBuf),
    /// The manifest itself.
    File,
    /// `[profile.NAME]`
    Profile(String),
    /// An environment variable, by its name.
    Environment(String),
    /// `--set`, with its argument.
    Set(String),
    /// `[[variant]]`, by its name.
    Variant(String),
    /// `[sweep]`
    Sweep,
}

impl fmt::Display for ConfigLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigLayer::Default => f.write_str("the defaults"),
            ConfigLayer::Extends(path) => write!(f, "the extended file `{}`", path.display()),
            ConfigLayer::File => f.write_str("the manifest"),
            ConfigLayer::Profile(name) => write!(f, "profile `{name}`"),
            ConfigLayer::Environment(name) => write!(f, "the environment variable `{name}`"),
            ConfigLayer::Set(argument) => write!(f, "`--set {argument}`"),
            ConfigLayer::Variant(name) => write!(f, "variant `{name}`"),
            ConfigLayer::Sweep => f.write_str("the sweep"),
        }
    }
}

/// A place in a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// First byte of the place.
    pub offset: usize,
    /// Bytes of the place; 0 stands for the file as a whole.
    pub length: usize,
    /// Text of the file.
    pub source: Arc<str>,
}

impl Location {
    /// The place `start..end` (in bytes) of a file.
    pub fn new(path: PathBuf, source: Arc<str>, start: usize, end: usize) -> Location {
        let offset = source.floor_char_boundary(start);
        let end = source.ceil_char_boundary(end.max(offset));
        let before = &source[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.matches('\n').count();
        let column = 1 + before[line_start..].chars().count();
        Location { path, line, column, offset, length: end - offset, source }
    }

    /// The line it is on (the first one, where it spans several).
    pub fn line_text(&self) -> &str {
        self.source.lines().nth(self.line - 1).unwrap_or_default()
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}+{}", self.path.display(), self.line, self.column, self.length)
    }
}

/// One problem of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in one line.
    pub message: String,
    /// Dotted path of the setting.
    pub key: Option<String>,
    /// The layer that set it.
    pub layer: ConfigLayer,
    /// Where: in a file, or in what was written on the command line or in the environment.
    pub location: Option<Location>,
    /// What would be right.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    /// Place and message; below them the line with the place marked, the layer that set it, and the
    /// help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut margin = 0;
        match &self.location {
            Some(at) if at.length == 0 => write!(f, "{}: {}", at.path.display(), self.message)?,
            Some(at) => {
                write!(f, "{}:{}:{}: {}", at.path.display(), at.line, at.column, self.message)?;
                let text = at.line_text();
                let number = at.line.to_string();
                margin = number.len();
                // A tab stays a tab under a tab, so that the marks stand under what they mark.
                let indent: String =
                    text.chars().take(at.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let end = at.source.floor_char_boundary(at.offset + at.length);
                let marked = at.source[at.offset..end].lines().next().unwrap_or_default().chars().count();
                let marks = "^".repeat(marked.max(1));
                write!(f, "\n{:margin$} |\n{number} | {text}\n{:margin$} | {indent}{marks}", "", "")?;
            }
            None => f.write_str(&self.message)?,
        }
        if self.location.as_ref().is_some_and(|at| at.length > 0) {
            write!(f, "\n{:margin$} = in {}", "", self.layer)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:margin$} = help: {help}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, start: usize, end: usize) -> Problem {
        Problem {
            message: "unknown key `epoch` in [search]; did you mean `epochs`?".into(),
            key: Some("search.epoch".into()),
            layer: ConfigLayer::File,
            location: Some(Location::new("a.toml".into(), text.into(), start, end)),
            help: Some("known keys: `epochs`".into()),
        }
    }

    #[test]
    fn a_problem_shows_its_line_with_the_place_marked() {
        let mut problem = problem("[search]\n\tepoch = 3\n", 10, 15);
        let shown = "a.toml:2:2: unknown key `epoch` in [search]; did you mean `epochs`?\n  \
                     |\n2 | \tepoch = 3\n  | \t^^^^^\n  = in the manifest\n  = help: known keys: `epochs`";
        assert_eq!(problem.to_string(), shown);
        problem.layer = ConfigLayer::Profile("smoke".into());
        assert!(problem.to_string().contains("\n  = in profile `smoke`\n"), "{problem}");
    }

    #[test]
    fn columns_count_characters_and_odd_places_do_not_panic() {
        let location = |start, end| Location::new("a.toml".into(), "π = 1\nä".into(), start, end);
        assert_eq!((location(5, 6).line, location(5, 6).column), (1, 5));
        for start in 0..12 {
            for end in 0..12 {
                let mut shown = problem("", 0, 0);
                shown.location = Some(location(start, end));
                assert!(!shown.to_string().is_empty());
            }
        }
    }
}
