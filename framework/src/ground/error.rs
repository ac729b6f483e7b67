//! What can go wrong, in words that a user can act on.

use std::path::{Path, PathBuf};

use super::{Problem, kernel};

/// The result of everything in litesnn that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that reaches a user. Its message reads after "failed to run:"; [`Error::hint`] says
/// what would be right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest, a layer of it, or an override is wrong. All problems found are listed at once.
    #[error("{} in the manifest", match .0.len() { 1 => "one problem".to_owned(), n => format!("{n} problems") })]
    Manifest(Vec<Problem>),

    /// A file could not be read or written.
    #[error("cannot {action} `{path}`: {source}", path = path.display())]
    File {
        /// What was tried, as a verb: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file was read, and what it holds is not what it should be.
    #[error("`{path}` {message}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, as the rest of a sentence that begins with the file.
        message: String,
        /// What would mend it.
        hint: String,
    },

    /// A plugin refused its settings or what it was asked to do.
    #[error("{kind} `{name}`: {message}")]
    Plugin {
        /// Kind of the plugin, as in the manifest.
        kind: &'static str,
        /// Registered name.
        name: String,
        /// Why.
        message: String,
    },

    /// A design is needed and is not there, or cannot be used.
    #[error("{message}")]
    Design {
        /// What is wrong.
        message: String,
    },

    /// The device that was asked for is not there.
    #[error("{message}")]
    Device {
        /// What is missing.
        message: String,
        /// What would be right.
        hint: String,
    },

    /// The loss became NaN, or exploded.
    #[error(
        "the loss became {loss:.3e} in {stage}, epoch {epoch}, batch {batch} (learning rate {learning_rate:.2e}){}",
        if .place.is_empty() { String::new() } else { format!("; {place}") }
    )]
    Diverged {
        /// Stage of the trial.
        stage: String,
        /// Epoch, from 1.
        epoch: usize,
        /// Batch, from 1.
        batch: usize,
        /// The value of the loss.
        loss: f64,
        /// Learning rate of the weights at that step.
        learning_rate: f64,
        /// Where in the network it began; empty where that could not be found.
        place: String,
    },

    /// A number that is NaN or infinite, where it would have become a result.
    #[error("{}{what}", if .when.is_empty() { String::new() } else { format!("{when}: ") })]
    NotFinite {
        /// When it was found: `after epoch 3 of retrain`; empty where the caller says it.
        when: String,
        /// What is not finite, and where in the network it began.
        what: String,
    },

    /// Another process works on the same trial.
    #[error("`{path}` is held by {owner}", path = path.display())]
    Locked {
        /// The trial folder.
        path: PathBuf,
        /// Host, process and start time of the holder.
        owner: String,
    },

    /// A process that worked on a trial ended without a result.
    #[error("{reason}")]
    Ended {
        /// Why.
        reason: String,
        /// What the process said.
        log: PathBuf,
    },

    /// The user asked to stop.
    #[error("stopped on request")]
    Interrupted,

    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tensor(String),

    /// A kernel of litesnn could not be compiled for a GPU, loaded or launched there.
    #[error("{message}")]
    Kernel {
        /// The kernel, who refused it, and why.
        message: String,
        /// All that the compiler said; empty where the driver refused.
        log: String,
    },

    /// A table of the record could not be written or read.
    #[error("record: {0}")]
    Record(String),
}

impl Error {
    /// What would be right, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Content { hint, .. } | Error::Device { hint, .. } if !hint.is_empty() => Some(hint.clone()),
            Error::Diverged { .. } => Some(
                "lower the learning rate of that stage (`search.learning_rate`, `retrain.learning_rate`) \
                 or its gradient clip; the checkpoint before it is kept in the trial's folder"
                    .to_owned(),
            ),
            Error::NotFinite { .. } => Some(
                "no result is recorded; lower the learning rate or the gradient clip of that stage, or look for NaN in the \
                 data; the last checkpoint is kept in the trial's folder"
                    .to_owned(),
            ),
            Error::Locked { .. } => Some("wait for that process, or stop it and run the same command again".to_owned()),
            Error::Ended { log, .. } => {
                Some(format!("what it said is in `{}`; the same command tries it again", log.display()))
            }
            Error::Interrupted => {
                Some("the same command resumes from the last checkpoint; finished trials are kept".to_owned())
            }
            Error::File { action: "lock", .. } => {
                Some("the folder of trials (`--runs`) has to be on a file system that has locks".to_owned())
            }
            Error::File { source, .. } => file_hint(source).map(str::to_owned),
            Error::Tensor(text) | Error::Kernel { message: text, .. } if is_out_of_memory(text) => Some(
                "a smaller `batch_size` of [search] and [retrain], fewer channels or timesteps need less memory; `litesnn plan` \
                 shows how much; the same command resumes from the last checkpoint"
                    .to_owned(),
            ),
            Error::Kernel { log, .. } if log.is_empty() => Some(
                "the same command with `--device cpu` needs no kernels; please report it with what `litesnn doctor` says"
                    .to_owned(),
            ),
            Error::Kernel { log, .. } => Some(format!(
                "the NVRTC that comes with libtorch for CUDA compiles it, and `litesnn doctor` says which one was found; the \
                 same command with `--device cpu` needs no kernels; if it is that NVRTC, please report it with all that it \
                 said:\n{log}"
            )),
            _ => None,
        }
    }

    /// The error of a panic. Where libtorch refuses, tch's operations panic with its message in
    /// quotes: lines after the first are a C++ stack trace. A kernel panics with what its compiler
    /// said below the first line, and so does an operation of libtorch's in which a kernel
    /// panicked.
    pub(crate) fn of_panic(text: &str) -> Error {
        match text.split_once("Torch(\"") {
            // A backward pass that panicked so is within another operation's quotes.
            Some((_, quoted)) => Error::of_panic(&unquoted(quoted)),
            None => Error::of_words(text),
        }
    }

    /// The error that libtorch or a kernel tells with these words.
    fn of_words(text: &str) -> Error {
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let Some(at) = text.find(kernel::FAULT) else { return Error::Tensor(first(text)) };
        let trace = |text: &str| text.starts_with("Exception raised from") || text.starts_with("frame #");
        let log: Vec<&str> = text[at..].lines().skip(1).take_while(|line| !trace(line)).collect();
        Error::Kernel { message: first(&text[at..]), log: log.join("\n").trim().to_owned() }
    }

    /// The error of a design.
    pub fn design(message: impl Into<String>) -> Error {
        Error::Design { message: message.into() }
    }

    /// Wraps an I/O error with the file and what was tried.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    }
}

/// The text of a literal whose first quote is taken away, up to the last.
fn unquoted(literal: &str) -> String {
    let mut text = String::new();
    let mut characters = literal.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => text.extend(characters.next().map(|escaped| if escaped == 'n' { '\n' } else { escaped })),
            other => text.push(other),
        }
    }
    text
}

/// What would mend an error of the file system.
fn file_hint(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind::{
        FileTooLarge, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    Some(match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            "what was finished is kept: free some space and run the same command again, or name another folder by `--runs`"
        }
        PermissionDenied | ReadOnlyFilesystem => {
            "the user who runs this needs to be allowed to; `--runs` names another folder for trials"
        }
        NotFound => "the file or its folder is not there, or was removed in the meantime",
        _ => return None,
    })
}

/// Whether libtorch says that memory is exhausted, on the CPU or on a GPU.
fn is_out_of_memory(text: &str) -> bool {
    ["out of memory", "not enough memory", "can't allocate memory"].iter().any(|words| text.contains(words))
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        let text = match error {
            tch::TchError::Torch(text) => text,
            other => other.to_string(),
        };
        Error::of_words(&text)
    }
}

impl From<polars::error::PolarsError> for Error {
    fn from(error: polars::error::PolarsError) -> Self {
        Error::Record(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_libtorch_is_its_first_line_and_a_lack_of_memory_has_a_hint() {
        let panic =
            "called `Result::unwrap()` on an `Err` value: Torch(\"can't allocate memory: 5 bytes\\nframe #0: c10\")";
        let error = Error::of_panic(panic);
        assert_eq!(error.to_string(), "libtorch: can't allocate memory: 5 bytes");
        assert!(error.hint().unwrap().contains("smaller `batch_size`"));
        let cuda = Error::Tensor("CUDA out of memory. Tried to allocate 2.00 GiB".into());
        assert!(cuda.hint().unwrap().contains("smaller `batch_size`"));
        let within =
            format!("called `Result::unwrap()` on an `Err` value: {:?}", tch::TchError::Torch(panic.to_owned()));
        assert_eq!(Error::of_panic(&within).to_string(), "libtorch: can't allocate memory: 5 bytes");
        assert_eq!(Error::of_panic("plain\nmore").to_string(), "libtorch: plain");
        assert_eq!(Error::of_panic("plain").hint(), None);
    }

    /// A kernel panics where it is launched; in a backward pass libtorch hands that on, and adds a
    /// trace.
    #[test]
    fn a_kernel_that_is_not_compiled_is_no_fault_of_libtorch_and_keeps_what_the_compiler_said() {
        let line =
            "kernel `a` of `a.cu` cannot be used on cuda:0: NVRTC 13.0: a.cu(2): error: identifier \"b\" is undefined";
        let said = format!("{line}\na.cu(2): error: identifier \"b\" is undefined\n1 error detected.");
        let thrown =
            format!("the backward pass failed: {said}\nException raised from backward at x.cpp:1\nframe #0: c10");
        let torch = tch::TchError::Torch(thrown.clone());
        let unwrapped = format!("called `Result::unwrap()` on an `Err` value: {torch:?}");
        for error in [Error::of_panic(&said), Error::of_panic(&unwrapped), Error::from(torch)] {
            assert_eq!(error.to_string(), line);
            let hint = error.hint().unwrap();
            assert!(
                hint.ends_with("said:\na.cu(2): error: identifier \"b\" is undefined\n1 error detected."),
                "{hint}"
            );
        }
        let refused = Error::of_panic("kernel `a` of `a.cu` was not launched: the NVIDIA driver: invalid argument (1)");
        assert!(refused.hint().unwrap().contains("`--device cpu`"));
    }

    #[test]
    fn what_the_file_system_refuses_has_a_hint() {
        let hint = |kind: std::io::ErrorKind| Error::file("write", Path::new("a"))(kind.into()).hint();
        assert!(hint(std::io::ErrorKind::StorageFull).unwrap().contains("free some space"));
        assert!(hint(std::io::ErrorKind::ReadOnlyFilesystem).unwrap().contains("`--runs`"));
        assert_eq!(hint(std::io::ErrorKind::Other), None);
    }
}
