//! Words for stderr.

use std::fmt::Arguments;
use std::io::Write;

/// Writes a line to stderr, as far as anybody reads there. A terminal that is closed, or a pipe
/// whose reader has ended, is no reason to stop the work that the line tells of.
pub fn say(line: Arguments) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `eprintln!` that cannot fail: see [`ground::say`](crate::ground::say()).
#[macro_export]
macro_rules! say {
    () => { $crate::ground::say(format_args!("")) };
    ($($words:tt)*) => { $crate::ground::say(format_args!($($words)*)) };
}
