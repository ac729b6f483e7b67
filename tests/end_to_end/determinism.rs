//! The same manifest gives the same numbers.

use crate::support::{all_numbers, assert_all_same, assert_same, manifest, run, succeed};

#[test]
fn the_same_manifest_twice_gives_the_same_tables() {
    let [first, second] = [(); 2].map(|()| {
        let folder = tempfile::tempdir().unwrap();
        succeed(&mut run(&manifest("tiny.toml"), folder.path()));
        all_numbers(folder.path(), "tiny")
    });
    assert_eq!(first.len(), 2);
    assert_all_same(&second, &first);
}

#[test]
fn a_seed_changes_the_numbers_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    succeed(run(&manifest("tiny.toml"), folder.path()).args(["--set", "experiment.seeds=[0, 1]"]));
    let both = all_numbers(folder.path(), "tiny");
    assert_eq!(both.len(), 4);
    for variant in ["lite-snn", "dense"] {
        let of_seed = |seed: u64| {
            let prefix = format!("{variant}-s{seed}-");
            both.iter().find(|(name, _)| name.starts_with(&prefix)).unwrap().1
        };
        let (zero, one) = (of_seed(0), of_seed(1));
        for value in ["history.train_loss[0]", "result.hash[0]"] {
            assert_ne!(zero[value], one[value], "{value}");
        }
        for value in ["result.recipe[0]", "result.data_digest[0]", "result.weights[0]", "result.variant[0]"] {
            assert_eq!(zero[value], one[value], "{value}");
        }
    }
    // A seed's numbers do not depend on the seeds beside it.
    let alone = tempfile::tempdir().unwrap();
    succeed(run(&manifest("tiny.toml"), alone.path()).args(["--set", "experiment.seeds=[1]"]));
    for (name, numbers) in all_numbers(alone.path(), "tiny") {
        assert_same(&numbers, &both[&name]);
    }
}
