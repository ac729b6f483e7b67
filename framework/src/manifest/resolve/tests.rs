use crate::manifest::fixtures::{Desk, GOOD};
use proptest::prelude::*;

/// The only problem of the good manifest after one replacement.
fn wrong(good: &str, bad: &str) -> String {
    assert!(GOOD.contains(good), "{good}");
    Desk::new(GOOD.replacen(good, bad, 1)).message()
}

fn headline(good: &str, bad: &str) -> String {
    wrong(good, bad).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_misspelt_key_is_shown_in_its_place() {
    assert_eq!(
        wrong("[retrain]\nepochs = 5", "[retrain]\nepochs = 5\nlearning-rate = 0.1"),
        "a.toml:28:1: unknown key `learning-rate` in [retrain]; did you mean `learning_rate`?\n   \
         |\n28 | learning-rate = 0.1\n   | ^^^^^^^^^^^^^\n   = in the manifest\n   \
         = help: known keys: `algorithm`, `augment`, `batch_size`, `clip`, `ema`, `epochs`, `from`, `label_smoothing`, `learning_rate`, \
         `learning_rate_end`, `loss`, `momentum`, `precision`, `samples`, `teacher`, `tet_lambda`, `tet_target`, `warmup`, \
         `weight_decay`"
    );
}

#[test]
fn every_kind_of_mistake_is_named() {
    for (good, bad, want) in [
        (
            "test-pictures]",
            "test-picture]",
            "a.toml:5:10: unknown dataset `test-picture`; did you mean `test-pictures`?",
        ),
        ("test-round =", "test-rond =", "a.toml:13:1: unknown compressor `test-rond`; did you mean `test-round`?"),
        (
            "train = 20",
            "train = \"x\"",
            "a.toml:6:9: `dataset.test-pictures.train` is the string \"x\", expected an integer",
        ),
        ("train = 20", "train = -1", "a.toml:6:9: `dataset.test-pictures.train` is -1, and has to be 0 or more"),
        (
            "retrain = 16",
            "retrian = 16, retrain = 1",
            "a.toml:10:26: unknown key `retrian` in [space.test-grid.channels]; did you mean `retrain`?",
        ),
        ("retrain = 16", "", "a.toml:10:1: missing key `retrain` in [space.test-grid.channels]"),
        ("nodes = [1, 2]", "nodes = [1, -2]", "a.toml:9:13: `space.test-grid.nodes.1` is -2, and has to be 0 or more"),
        (
            "rate = 0.8",
            "rate = 1.5",
            "a.toml:15:14: `compressor.test-prune`: the rate is 1.5, and has to be 0 or more and below 1",
        ),
        (
            "rate = 0.8",
            "rte = 0.8, rate = 0.1",
            "a.toml:15:16: unknown key `rte` in compressor `test-prune`; did you mean `rate`?",
        ),
        (
            "bits = [1, 2, 4]",
            "bits = [1], bit = 3",
            "a.toml:13:28: unknown key `bit` in compressor `test-round`; did you mean `bits`?",
        ),
        ("test-prune = { rate = 0.8 }", "test-round = { bits = [1] }", "a.toml:15:1: two compressors are `test-round`"),
        ("test-prune = { rate = 0.8 }", "", "a.toml:14:1: [[compressor]] 2 holds no plugin"),
        (
            "[timesteps.test-open]",
            "[timesteps.test-steady]\nsteps = 1\n[timesteps.test-open]",
            "a.toml:17:12: [timesteps] takes one plugin, and `test-open`, `test-steady` are given",
        ),
        ("[timesteps.test-open]\nmax = 4\n", "", "a.toml: missing section [timesteps.NAME]"),
        ("[timesteps.test-open]\nmax = 4\n", "[timesteps]\n", "a.toml:17:2: [timesteps] names no plugin"),
        ("[search]\nepochs = 3\n", "", "a.toml: missing section [search]"),
        (
            "[retrain]",
            "[retrian]\nepochs = 5\n[retrain]",
            "a.toml:26:2: unknown section [retrian]; did you mean `retrain`?",
        ),
        ("[experiment]", "descripton = 1\n[experiment]", "a.toml:2:1: unknown key `descripton`"),
        ("epochs = 3", "epochs = 0", "a.toml:24:10: `search.epochs` is 0, and has to be 1 or more"),
        (
            "epochs = 3",
            "epochs = 3\nmomentum = 1.0",
            "a.toml:25:12: `search.momentum` is 1, and has to be 0 or more and below 1",
        ),
        (
            "epochs = 3",
            "epochs = 3\nclip = inf",
            "a.toml:25:8: `search.clip` is infinite or NaN, expected a finite number",
        ),
        (
            "epochs = 3",
            "epochs = 3\ntet_lambda = 0.1",
            "a.toml:25:1: nothing reads `search.tet_lambda`: it belongs to another loss",
        ),
        (
            "epochs = 5",
            "epochs = 5\nwarmup = 5",
            "a.toml:28:10: `retrain.warmup` is 5, and `retrain.epochs` is 5: none is left for the schedule",
        ),
        (
            "epochs = 5",
            "epochs = 5\nlabel_smoothing = 1.0",
            "a.toml:28:19: `retrain.label_smoothing` is 1, and has to be 0 or more and below 1",
        ),
        (
            "epochs = 5",
            "epochs = 5\nalgorithm = \"adamx\"",
            "a.toml:28:13: `retrain.algorithm` cannot be `adamx`; did you mean `adam`?",
        ),
        (
            "epochs = 5",
            "epochs = 5\nalgorithm = \"adam\"\nmomentum = 0.5",
            "a.toml:29:1: nothing reads `retrain.momentum`: Adam and AdamW have betas of 0.9 and 0.999",
        ),
        ("epochs = 5", "epochs = 5\nema = 1", "a.toml:28:7: `retrain.ema` is 1, and has to be 0 or more and below 1"),
        ("epochs = 3", "epochs = 3\nclip = -1", "a.toml:25:8: `search.clip` is -1, and has to be 0 or more"),
        (
            "epochs = 5",
            "epochs = 5\n[retrain.augment]\nflop = true",
            "a.toml:29:1: unknown key `flop` in [retrain.augment]; did you mean `flip`?",
        ),
        (
            "epochs = 3",
            "epochs = 3\naugment = { crop = -1 }",
            "a.toml:25:20: `search.augment.crop` is -1, and has to be 0 or more",
        ),
        (
            "epochs = 3",
            "epochs = 3\naugment = true",
            "a.toml:25:11: `search.augment` is the boolean `true`, expected a table",
        ),
        (
            "name = \"good\"",
            "name = \"a/b\"",
            "a.toml:3:8: `experiment.name` is `a/b`, which cannot be the name of a folder: only letters, digits, `-`, `_` and `.` are allowed",
        ),
        (
            "name = \"good\"",
            "name = \"good\"\nseeds = []",
            "a.toml:4:9: `experiment.seeds` is empty, and has to hold 1 or more",
        ),
        (
            "name = \"good\"",
            "name = \"good\"\nseeds = [3, 3]",
            "a.toml:4:13: `experiment.seeds.1` is 3 again, and has to differ from the others",
        ),
        ("[experiment]", "version = 0\n[experiment]", "a.toml:2:11: `version` is 0, and has to be 1"),
    ] {
        assert_eq!(headline(good, bad), want);
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = GOOD
        .replace("train = 20", "trian = 20\nroot = 3")
        .replace("rate = 0.8", "rate = \"much\"")
        .replace("epochs = 3", "epoch = 3\nclip = \"x\"")
        .replace("epochs = 5", "epochs = 0");
    let headlines: Vec<String> = Desk::new(text)
        .messages()
        .iter()
        .map(|shown| shown.split_once(' ').unwrap_or_default().1.lines().next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        headlines,
        [
            "unknown key `trian` in [dataset.test-pictures]; did you mean `train`?",
            "`dataset.test-pictures.root` is the integer `3`, expected a string",
            "`compressor.test-prune.rate` is the string \"much\", expected a number",
            "unknown key `epoch` in [search]; did you mean `epochs`?",
            "`search.clip` is the string \"x\", expected a number",
            "`retrain.epochs` is 0, and has to be 1 or more",
        ]
    );
}

#[test]
fn a_range_is_checked_although_the_section_cannot_be_read() {
    let text = GOOD
        .replace("epochs = 3", "epoch = 3\nclip = \"x\"\nmomentum = 2.0")
        .replace("name = \"good\"", "name = \"a/b\"\ndescription = 1");
    let all = Desk::new(text).messages().join("\n");
    for want in [
        "`search.momentum` is 2",
        "`search.clip` is the string",
        "unknown key `epoch`",
        "`a/b`",
        "`experiment.description`",
    ] {
        assert!(all.contains(want), "{want}\n{all}");
    }
}

#[test]
fn a_design_replaces_search() {
    let desk = Desk::good("[design]\nfile = \"d.toml\"\n")
        .file("d.toml", "version = 1\nspace = \"test-grid\"\ntimesteps = 2\n");
    let messages = desk.messages();
    assert_eq!(messages.len(), 2);
    assert!(messages[0].contains("nothing reads [optimizer]"), "{}", messages[0]);
    assert!(messages[1].contains("nothing reads [search]"), "{}", messages[1]);
}

proptest! {
    // A failing input is printed; a file of it would go to the sources.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a manifest holds, the answer is a plan or problems that can be shown.
    #[test]
    fn no_input_panics(at in 0..GOOD.len(), cut in 0usize..40, junk in "[\\[\\]{}=.,\"a-z0-9\n _-]{0,12}", set in "[a-z.=\\[\\]{}0-9\"-]{0,20}") {
        let mut text = GOOD.to_owned();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &junk);
        let desk = Desk::new(&text).set(&set);
        if let Err(crate::Error::Manifest(problems)) = super::super::load(&desk.request) {
            for problem in problems {
                prop_assert!(!problem.to_string().is_empty());
            }
        }
    }
}
