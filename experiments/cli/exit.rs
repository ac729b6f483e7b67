//! How the command ends: exit codes and the last words.

use std::io::IsTerminal;

use litesnn_framework::Error;
use litesnn_framework::ground::{ConfigLayer, Problem};
use litesnn_framework::say;
use miette::{Diagnostic, LabeledSpan, MietteHandlerOpts, NamedSource, Severity, SourceCode};

/// Exit codes of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// A trial failed, or a file or data could not be used.
    Failed = 1,
    /// The command line, a manifest or a design is wrong, or a trial does not fit the memory of the
    /// device; nothing was started.
    Usage = 2,
    /// `report --check`: a result is outside of the tolerance around its published number.
    OutsideTolerance = 3,
    /// `report --check`: no result was at the paper's settings, so that nothing was checked;
    /// `gpu-check`: no part could tell whether it is right.
    NothingToCheck = 4,
    /// Stopped by Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2, with a checkpoint; the same command
    /// resumes.
    Interrupted = 130,
}

impl Exit {
    /// Ends the process with this code, at once. The destructors of libtorch's tables of operators
    /// free only what ends with the process, and took a third of the time of `litesnn --version`.
    pub fn end(self) -> ! {
        // SAFETY: runs no code of this process. stdout is flushed by `output::conclude`.
        unsafe { libc::_exit(self as i32) }
    }
}

/// Why the command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    diagnostics: Vec<Words>,
}

/// One diagnostic as miette shows it.
#[derive(Debug)]
struct Words {
    message: String,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    span: Option<LabeledSpan>,
}

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Words {}

impl Diagnostic for Words {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.span.clone().map(|span| Box::new(std::iter::once(span)) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

impl Words {
    fn of_problem(problem: &Problem) -> Words {
        let mut words =
            Words { message: problem.message.clone(), help: problem.help.clone(), source: None, span: None };
        match &problem.location {
            Some(place) if place.length > 0 => {
                let label = Some(match &problem.layer {
                    ConfigLayer::Set(_) => "in `--set`".to_owned(),
                    ConfigLayer::Environment(_) => "in the environment".to_owned(),
                    layer => format!("in {layer}"),
                });
                words.source = Some(NamedSource::new(place.path.display().to_string(), place.source.to_string()));
                words.span = Some(LabeledSpan::new(label, place.offset, place.length));
            }
            Some(place) => words.message = format!("{}: {}", place.path.display(), problem.message),
            None => {}
        }
        words
    }
}

impl Failure {
    /// A failure of the program itself.
    pub fn internal(message: &str) -> Failure {
        let message = format!("internal error: {}", message.lines().next().unwrap_or_default());
        let help = Some("this is a fault of litesnn; please report it with the manifest".to_owned());
        Failure { exit: Exit::Failed, diagnostics: vec![Words { message, help, source: None, span: None }] }
    }

    /// A failure with one message and what would be right.
    pub fn new(exit: Exit, message: String, help: Option<String>) -> Failure {
        Failure { exit, diagnostics: vec![Words { message, help, source: None, span: None }] }
    }

    /// What went wrong, without hints.
    pub fn message(&self) -> String {
        self.diagnostics.iter().map(|words| words.message.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// Prints to stderr.
    pub fn print(self) -> Exit {
        // Names and paths are copied from messages, so they stay whole; a log is not wrapped at
        // all. The hook is already there when this is the second failure of a run.
        let _ = miette::set_hook(Box::new(|_| {
            let options = MietteHandlerOpts::new()
                .wrap_lines(std::io::stderr().is_terminal())
                .break_words(false)
                .word_separator(textwrap::WordSeparator::AsciiSpace)
                .word_splitter(textwrap::WordSplitter::NoHyphenation);
            Box::new(options.build())
        }));
        for words in self.diagnostics {
            say!("{:?}", miette::Report::new(words));
        }
        self.exit
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match &error {
            Error::Manifest(problems) => {
                Failure { exit: Exit::Usage, diagnostics: problems.iter().map(Words::of_problem).collect() }
            }
            Error::Interrupted => Failure::new(Exit::Interrupted, error.to_string(), error.hint()),
            Error::Device { .. } => Failure::new(Exit::Usage, error.to_string(), error.hint()),
            _ => Failure::new(Exit::Failed, error.to_string(), error.hint()),
        }
    }
}
