//! The `litesnn` command with the plugins of this repository.

use litesnn_plugins as _;

fn main() -> std::process::ExitCode {
    litesnn::command()
}
