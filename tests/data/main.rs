//! `litesnn data`, through the built command.

#[path = "../support/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;

mod networks;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use litesnn_framework::data::sources;
use litesnn_plugins as _;
use server::{Answer, Server};
use support::{litesnn, root, stderr, stdout, succeed};
use tempfile::TempDir;

/// The command in a folder where nothing is, with an empty folder for data.
fn data(home: &Path) -> Command {
    let mut command = litesnn();
    command.arg("data").current_dir(home).env("LITESNN_DATA", home.join("data"));
    command
}

fn failure(command: &mut Command) -> (i32, String, String) {
    let output: Output = command.output().unwrap();
    (output.status.code().unwrap(), stdout(&output), stderr(&output))
}

/// A folder of the form of CIFAR-10's, with a record in each file.
fn cifar10(home: &Path) {
    let folder = home.join("data/cifar-10-batches-bin");
    fs::create_dir_all(&folder).unwrap();
    for name in (1..=5).map(|batch| format!("data_batch_{batch}.bin")).chain(["test_batch.bin".into()]) {
        fs::write(folder.join(name), [1; 3073]).unwrap();
    }
}

#[test]
fn every_data_set_is_listed_with_its_place_or_where_it_was_looked_for() {
    let home = TempDir::new().unwrap();
    cifar10(home.path());
    let list = stdout(&succeed(&mut data(home.path())));
    for source in sources() {
        assert!(list.contains(source.name), "{} is not in\n{list}", source.name);
    }
    for text in ["170.1 MB", "2428.9 MB", "CC BY 4.0", "not found", "searched `", "litesnn data fetch NAME"] {
        assert!(list.contains(text), "{text} is not in\n{list}");
    }
    let place = home.path().join("data/cifar-10-batches-bin");
    let line = list.lines().find(|line| line.contains("cifar10 ")).unwrap();
    assert!(line.contains(&*place.to_string_lossy()), "{list}");
}

#[test]
fn files_that_are_not_the_published_ones_are_named() {
    let home = TempDir::new().unwrap();
    cifar10(home.path());
    let file = home.path().join("data/cifar-10-batches-bin/data_batch_2.bin");
    for arguments in [&["verify"][..], &["verify", "cifar10"]] {
        let (code, out, err) = failure(data(home.path()).args(arguments));
        assert_eq!(code, 1, "{out}{err}");
        assert!(out.contains("cifar10: 6 files wrong in"), "{out}");
        assert!(err.contains(&*file.to_string_lossy()) && err.contains("a591ca11fa1708a91ee40f54b3da4784"), "{err}");
    }
    // Nor are they taken for what is to be fetched.
    let (code, _, err) = failure(data(home.path()).args(["fetch", "cifar10"]));
    assert!(
        code == 1 && err.contains("differs from the published data") && err.contains("move that folder away"),
        "{err}"
    );
    assert!(file.exists());
}

#[test]
fn what_is_not_there_cannot_be_verified() {
    let home = TempDir::new().unwrap();
    let (code, _, err) = failure(data(home.path()).args(["verify", "cifar100"]));
    assert!(code == 1 && err.contains("there is no folder `cifar-100-binary`"), "{err}");
    assert!(err.contains("litesnn data fetch cifar100"), "{err}");
    let all = stdout(&succeed(data(home.path()).arg("verify")));
    assert!(all.contains("cifar100: not found"), "{all}");
    let (code, _, err) = failure(data(home.path()).args(["verify", "cifar"]));
    assert!(code == 2 && err.contains("unknown data set `cifar`") && err.contains("`cifar10`, `cifar100`"), "{err}");
}

#[test]
fn a_download_that_is_not_the_published_file_leaves_no_folder() {
    let home = TempDir::new().unwrap();
    let server = Server::of(b"<html>sign in</html>", &[Answer::Good, Answer::Status(404)]);
    let fetch = |from: &str| failure(data(home.path()).args(["fetch", "cifar10", "--timeout", "2", "--from", from]));
    let (code, _, err) = fetch(&server.url);
    assert!(code == 1 && err.contains("it has 20 bytes, expected 170052171"), "{err}");
    let (code, _, err) = fetch(&format!("{}elsewhere.tar.gz", server.url));
    assert!(code == 1 && err.contains("elsewhere.tar.gz` answers with status 404"), "{err}");
    assert!(server.requests()[0].starts_with("get /cifar-10-binary.tar.gz "));
    assert!(!home.path().join("data/cifar-10-batches-bin").exists());
    let (code, _, err) = fetch("http://127.0.0.1:9/");
    assert!(code == 1 && err.contains("cannot be reached") && err.contains("run the same command"), "{err}");
}

#[test]
fn every_source_is_complete() {
    for source in sources() {
        assert!(!source.archives.is_empty() && !source.folder.contains('/'), "{}", source.name);
        for archive in source.archives {
            assert!(archive.sha256.len() == 64 && archive.bytes > 0 && archive.url.contains("://"), "{}", source.name);
        }
        for text in [source.title, source.licence, source.citation, source.page] {
            assert!(!text.is_empty(), "{}", source.name);
        }
        let bundled = root().join("experiments/data").join(source.folder);
        assert!(!bundled.exists(), "the bundled folder {} is not the published one", bundled.display());
    }
}
