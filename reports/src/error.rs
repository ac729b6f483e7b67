//! What can go wrong with a report.

use std::path::PathBuf;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was found.
    #[error("no finished trial lies under `{}`", .0.display())]
    NoTrials(PathBuf),
    /// A manifest reproduces what no publication here has.
    #[error("experiment `{experiment}` says that it reproduces `{name}`, which is not known")]
    UnknownPublication {
        /// What it says.
        name: String,
        /// The experiment.
        experiment: String,
        /// Names that are known.
        known: Vec<String>,
    },
    /// A folder could not be made.
    #[error("cannot create `{}`: {source}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A figure could not be drawn.
    #[error("cannot draw figure `{name}`: {message}")]
    Draw {
        /// The figure.
        name: String,
        /// What the backend said.
        message: String,
    },
    /// The page's template could not be filled in.
    #[error("cannot make the page: {0}")]
    Page(#[from] minijinja::Error),
    /// A table could not be written as CSV.
    #[error("cannot write CSV: {0}")]
    Csv(String),
    /// A file could not be read or written.
    #[error(transparent)]
    Framework(#[from] litesnn_framework::Error),
}

impl Error {
    /// What would be right.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NoTrials(_) => Some(
                "run a manifest first (`litesnn run experiments/quickstart.toml`), or name its folder of trials".into(),
            ),
            Error::UnknownPublication { known, .. } => {
                let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                Some(format!("`experiment.reproduces` is one of {}", known.join(", ")))
            }
            Error::Framework(error) => error.hint(),
            _ => None,
        }
    }
}
