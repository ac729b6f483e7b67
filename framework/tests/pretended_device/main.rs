//! Tests on a pretended CUDA device: what it refuses, sees and counts, and the framework's layers on
//! it against the same on the CPU.
//!
//! The program builds the device, then takes its own place with the device loaded before it.
//! [docs/pretended-device.md](../../../docs/pretended-device.md) says what these tests can show.

mod built;
mod counting;
mod counts;
mod kernels;
mod layers;
mod refusals;
mod weights;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use built::PretendedDevice;
use libtest_mimic::{Arguments, Trial};

/// Set in the process that has the device.
const LOADED: &str = "PRETENDED_DEVICE";

fn main() -> ExitCode {
    if std::env::var_os(LOADED).is_none() {
        let device =
            PretendedDevice::built(Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(env!("CARGO_TARGET_TMPDIR")));
        let mut command = Command::new(std::env::current_exe().unwrap());
        device.before(command.args(std::env::args_os().skip(1)).env(LOADED, "1"));
        // Compiled kernels are kept there.
        command.env("LITESNN_CACHE", env!("CARGO_TARGET_TMPDIR"));
        panic!("{}", command.exec());
    }
    if std::env::var_os(refusals::TOUCH).is_some() {
        refusals::touch();
    }
    let tests: [(&str, fn()); 22] = [
        ("refusals::host_code_cannot_touch_memory_of_the_device", refusals::memory),
        ("refusals::tensors_of_two_devices_do_not_mix", refusals::mixing),
        ("refusals::what_does_not_fit_is_refused_in_the_words_of_a_gpu", refusals::capacity),
        ("refusals::new_memory_holds_nothing_that_could_be_meant", refusals::new_memory),
        ("counting::operations_are_launches_and_views_are_none", counting::operations),
        ("counting::copies_are_blocking_unless_pinned_and_asked_for", counting::copies),
        ("counting::reading_a_value_and_a_size_is_a_wait", counting::reads),
        ("counting::waits_are_told_by_the_function_that_waits", counting::places),
        ("counting::operators_that_vary_are_named", counting::varying),
        ("counting::memory_of_tensors_is_counted_with_its_peak", counting::memory),
        ("kernels::a_kernel_reads_addresses_in_a_structure", kernels::structure),
        ("kernels::a_kernel_that_cannot_be_compiled_says_where", kernels::compiler),
        ("kernels::a_backward_pass_hands_on_what_the_compiler_said", kernels::compiler_in_a_backward_pass),
        ("kernels::a_launch_that_a_gpu_refuses_is_refused", kernels::launch),
        ("layers::backward_passes_run_on_a_thread_of_the_engine", layers::engine),
        ("layers::neurons_are_those_of_the_cpu", layers::neurons),
        ("layers::neurons_without_kernels_are_those_of_the_cpu", layers::other_neurons),
        ("layers::nodes_are_those_of_the_cpu", layers::nodes),
        ("layers::descents_are_those_of_the_cpu", layers::descents),
        ("weights::compressed_weights_are_those_of_the_cpu", weights::values),
        ("weights::masks_follow_their_scores", weights::scores),
        ("weights::a_group_takes_few_launches_and_no_gradient_that_is_not_wanted", weights::launches),
    ];
    let tests = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    // They count, so that no two may run at once.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, tests.into()).exit_code()
}
