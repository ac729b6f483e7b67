//! What is done to trials and to the files they read, and what is left of their results. The counts
//! stand at the end of the output.
//!
//! The short form is one of the tests. The full form has more of each:
//!
//! ```text
//! FAULTS=full cargo test --release --workspace --test faults
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)] // For who reads the log of the tests.

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod input;
mod kills;
mod surroundings;
mod tally;
mod trials;

use libtest_mimic::{Arguments, Trial};

#[global_allocator]
static MEMORY: input::Counting = input::Counting;

fn main() -> std::process::ExitCode {
    let tests: [(&str, fn()); 28] = [
        ("kills::of_the_joint_search_and_its_retraining", kills::joint),
        ("kills::of_the_sequential_search", kills::sequential),
        ("kills::of_compressors_that_change_with_training", kills::schedules),
        ("kills::signals_that_ask_to_stop", kills::signals),
        ("surroundings::the_disk_is_full", surroundings::disk_full),
        ("surroundings::a_file_may_not_grow", surroundings::size_limit),
        ("surroundings::nothing_may_be_written", surroundings::no_permission),
        ("surroundings::a_checkpoint_may_not_be_read", surroundings::unreadable_checkpoint),
        ("surroundings::the_file_system_becomes_read_only", surroundings::read_only),
        ("surroundings::the_folder_is_deleted", surroundings::deleted),
        ("surroundings::the_clock_is_set_back", surroundings::clock_set_back),
        ("surroundings::memory_is_exhausted", surroundings::out_of_memory),
        ("surroundings::a_loss_that_is_no_number", surroundings::diverged),
        ("surroundings::the_file_system_has_no_locks", surroundings::no_locks),
        ("surroundings::another_libtorch_is_there", surroundings::other_libtorch),
        ("surroundings::an_experiment_is_a_link", surroundings::linked_record),
        ("damage::of_every_file_of_a_trial", damage::files_of_a_trial),
        ("damage::of_both_checkpoints", damage::both_checkpoints),
        ("damage::a_checkpoint_of_another_trial", damage::foreign_checkpoint),
        ("damage::a_checkpoint_that_was_about_to_be_renamed", damage::between_two_renames),
        ("input::manifests", input::manifests),
        ("input::settings_of_command_line_and_environment", input::settings),
        ("input::designs", input::designs),
        ("input::checkpoints", input::checkpoints),
        ("input::tables", input::tables),
        ("input::images", input::images),
        ("input::sounds", input::sounds),
        ("input::links_and_folders", input::links),
    ];
    // A panic is told by the test that it fails; those that a reader catches are no news.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = Arguments::from_args();
    let tests = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, tests.into());
    if !arguments.list {
        println!("{}", tally::report());
    }
    conclusion.exit_code()
}

/// Whether the full form runs.
fn full() -> bool {
    std::env::var_os("FAULTS").is_some_and(|form| form == "full")
}
