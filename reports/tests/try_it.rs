//! The network in the page, in a browser.

#[path = "support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use litesnn_engine::{Network, Reference, sample};
use litesnn_framework::record::files;
use litesnn_reports::{Request, report};
use support::Made;

/// The page of one trial, whose folder has a packed file.
fn page(runs: &Path, file: &[u8]) -> String {
    let trial = Made::searched("pictures", "lite", 0);
    trial.write(runs);
    std::fs::write(trial.folder(runs).join(files::NETWORK), file).unwrap();
    let request = Request { runs: runs.into(), out: runs.join("report"), paper: Vec::new() };
    std::fs::read_to_string(report(&request).unwrap().page).unwrap()
}

/// The page after its scripts ran; `None` where there is no Chromium, and the test is skipped.
fn after_scripts(page: &Path) -> Option<String> {
    let profile = tempfile::tempdir().unwrap();
    let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                 --disable-component-update --disable-sync --virtual-time-budget=10000 --dump-dom";
    let mut chromium = Command::new("chromium");
    chromium.args(flags.split_whitespace()).arg(format!("--user-data-dir={}", profile.path().display()));
    match chromium.arg(format!("file://{}", page.display())).output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(why) => {
            // Not `eprintln!`, which the harness keeps to itself.
            #[allow(clippy::explicit_write)]
            writeln!(io::stderr(), "test skipped: there is no `chromium` ({why})").unwrap();
            None
        }
    }
}

/// The numbers of an attribute of the player, `digits` hexadecimal digits each.
fn numbers(page: &str, attribute: &str, digits: usize) -> Vec<u32> {
    let begins = format!("{attribute}=\"");
    let value = page.split(&begins).nth(1).unwrap_or_else(|| panic!("no {attribute}: {}", said(page)));
    let value = value.split('"').next().unwrap();
    let number = |place: usize| u32::from_str_radix(&value[place..place + digits], 16).unwrap();
    (0..value.len()).step_by(digits).map(number).collect()
}

/// The message that stands in the page in place of a player.
fn said(page: &str) -> &str {
    page.split("class=\"note error\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or("and no message")
}

fn logits(network: &Network, pixels: &[u32]) -> Vec<u32> {
    let pixels: Vec<f32> = pixels.iter().map(|byte| *byte as f32 / 255.0).collect();
    Reference::new(network).run(&pixels).unwrap().logits.iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn a_network_in_the_page_answers_as_the_engine_to_the_bit() {
    let runs = tempfile::tempdir().unwrap();
    let network = sample::network();
    page(runs.path(), &sample::file());
    let Some(page) = after_scripts(&runs.path().join("report/index.html")) else { return };
    let pixels = numbers(&page, "data-pixels", 2);
    assert_eq!(pixels.len(), network.image.shape.iter().product::<usize>());
    assert!(pixels.iter().any(|byte| *byte > 200), "the first picture is not empty");
    assert_eq!(numbers(&page, "data-logits", 8), logits(&network, &pixels));
}

#[test]
fn a_damaged_file_says_so_in_the_page() {
    let runs = tempfile::tempdir().unwrap();
    page(runs.path(), b"no network");
    let Some(page) = after_scripts(&runs.path().join("report/index.html")) else { return };
    assert!(said(&page).starts_with("error: "), "{}", said(&page));
}

/// The page works without a network: it asks nobody for a file.
#[test]
fn a_page_with_a_network_names_no_other_place() {
    let runs = tempfile::tempdir().unwrap();
    let page = page(runs.path(), b"no network");
    assert!(page.contains("<h3>Try it</h3>") && page.contains("id=\"engine\""));
    for outside in ["src=\"", "<link", "@import", "fetch(", "import("] {
        assert!(!page.contains(outside), "{outside}");
    }
}
