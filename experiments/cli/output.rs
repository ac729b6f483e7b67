//! The one place that prints. Results go to stdout by `out!`, everything else to stderr by `say!`.
//!
//! No reader can end the work of a command: what becomes of stdout is looked at when the work is
//! done. Then a closed pipe ends the command without a word, as it ends other programs, and a full
//! disk is an error.

use std::fmt::Arguments;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::OnceLock;

use litesnn_framework::ground::signal;

pub(crate) use litesnn_framework::say;

use crate::exit::{Exit, Failure};

/// What first went wrong with stdout. There is one stdout, and so one of these.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// `println!` that leaves what goes wrong to [`conclude`].
macro_rules! out {
    () => { $crate::output::line(format_args!("")) };
    ($($words:tt)*) => { $crate::output::line(format_args!($($words)*)) };
}
pub(crate) use out;

/// Writes a line to stdout.
pub fn line(text: Arguments) {
    // Where one line is lost, the next would make a text with a hole.
    if FAILED.get().is_none() {
        remember(writeln!(io::stdout(), "{text}"));
    }
}

/// Keeps what became of writing to stdout for [`conclude`].
pub fn remember(written: io::Result<()>) {
    if let Err(error) = written {
        let _ = FAILED.set(error);
    }
}

/// How the command ends, after all that it did, with what became of stdout. With a closed pipe it
/// does not return where all else is done.
pub fn conclude(exit: Exit) -> Exit {
    remember(io::stdout().flush());
    let Some(error) = FAILED.get() else { return exit };
    if error.kind() == ErrorKind::BrokenPipe {
        if exit == Exit::Done {
            signal::end_by_closed_pipe();
        }
    } else if !is_lost_terminal(error) {
        let message = format!("cannot write to stdout: {error}");
        let help = "what the command did is done; what it printed is not whole";
        let failed = Failure::new(Exit::Failed, message, Some(help.into())).print();
        return if exit == Exit::Done { failed } else { exit };
    }
    exit
}

/// Whether stdout was a terminal, and nobody is there any more.
fn is_lost_terminal(error: &io::Error) -> bool {
    let stdout =
        || io::stdout().as_fd().try_clone_to_owned().ok().and_then(|stdout| File::from(stdout).metadata().ok());
    error.raw_os_error() == Some(libc::EIO) && stdout().is_some_and(|stdout| stdout.file_type().is_char_device())
}
