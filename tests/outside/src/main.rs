//! The `litesnn` command with the plugin of this crate beside those of litesnn.

use litesnn_plugins as _;
use outside as _;

fn main() -> std::process::ExitCode {
    litesnn::command()
}
