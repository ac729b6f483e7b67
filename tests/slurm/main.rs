//! Trials under a real Slurm: a cluster of two nodes on the loopback interface of this machine.
//!
//! Without Slurm's daemons, or without root, every test is skipped with the reason. The counts at
//! the end of each test are those of docs/RELIABILITY.md. The tests of `stand_in` need no Slurm.

#![allow(clippy::print_stdout, clippy::print_stderr)] // For who reads the log of the tests.

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod stand_in;
mod sweep;
