//! From a manifest to a page, through the built command, as a user would.

#[path = "../support/mod.rs"]
mod support;

mod again;
mod determinism;
mod early_exit;
mod export;
mod interruption;
mod jobs;
mod page;
mod record;
mod reuse;
mod runs;
mod speech;
mod teacher;
mod until;
