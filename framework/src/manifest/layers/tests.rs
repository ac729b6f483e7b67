use crate::manifest::fixtures::{Desk, GOOD};
use serde_json::json;

#[test]
fn later_layers_win() {
    let base = "[search]\nepochs = 1\nbatch_size = 11\nclip = 1.0\nweight_decay = 0.1\nmomentum = 0.1\n";
    let more = "batch_size = 12\nclip = 2.0\n[profile.smoke.search]\nclip = 3.0\nweight_decay = 0.3\n";
    let text =
        GOOD.replace("[search]\nepochs = 3\n", "").replace("[experiment]", "extends = \"base.toml\"\n[experiment]");
    let desk = Desk::new(format!("{text}[search]\nepochs = 3\n{more}"))
        .file("base.toml", base)
        .profile("smoke")
        .variable("LITESNN_SEARCH__WEIGHT_DECAY", "0.4")
        .variable("LITESNN_SEARCH__MOMENTUM", "0.4")
        .set("search.momentum=0.5");
    let settings = &desk.plan().trials[0].settings["search"];
    assert_eq!(
        *settings,
        json!({"epochs": 3, "batch_size": 12, "clip": 3.0, "weight_decay": 0.4, "momentum": 0.5,
               "learning_rate": 0.025, "learning_rate_end": 0.0, "augment": {"crop": 0, "flip": false, "cutout": 0}})
    );
}

#[test]
fn a_layer_swaps_a_plugin_replaces_an_array_and_reaches_into_compressors() {
    let text = "extends = \"base.toml\"\n[timesteps.test-steady]\nsteps = 2\n[compressor.test-prune]\nrate = 0.5\n";
    let desk = Desk::new(text).file("base.toml", GOOD).set("compressor.test-round.bits=[8]");
    let settings = desk.plan().trials.remove(0).settings;
    assert_eq!(settings["timesteps"], json!({"test-steady": {"steps": 2}}));
    assert_eq!(
        settings["compressor"],
        json!([{"test-round": {"bits": [8]}}, {"test-prune": {"rate": 0.5, "exempt": []}}])
    );
    let replaced = Desk::good("").set("compressor=[{test-prune={rate=0.1}}]").plan().trials.remove(0).settings;
    assert_eq!(replaced["compressor"], json!([{"test-prune": {"rate": 0.1, "exempt": []}}]));
}

#[test]
fn the_environment_knows_hyphens_and_what_is_no_setting() {
    let desk = Desk::good("")
        .variable("LITESNN_COMPRESSOR__TEST_PRUNE__RATE", "0.25")
        .variable("LITESNN_experiment__Description", "bare words, and more")
        .variable("LITESNN_DATA", "/data")
        .variable("LITESNN_CACHE", "/cache")
        .variable("HOME", "[");
    let plan = desk.plan();
    assert_eq!(plan.description, "bare words, and more");
    assert_eq!(plan.trials[0].settings["compressor"][1]["test-prune"]["rate"], json!(0.25));
    let message = Desk::good("").variable("LITESNN_SEARCH__EPOCH", "3").message();
    assert!(
        message.starts_with(
            "environment:1:17: unknown key `epoch` in [search]; did you mean `epochs`?\n  \
             |\n1 | LITESNN_SEARCH__EPOCH=3\n  |                 ^^^^^\n  \
             = in the environment variable `LITESNN_SEARCH__EPOCH`"
        ),
        "{message}"
    );
    assert!(Desk::good("").variable("LITESNN_SEARCH____X", "3").message().contains("not the path of a setting"));
}

#[test]
fn an_argument_that_is_no_setting_is_a_problem() {
    let message = |argument: &str| Desk::good("").set(argument).message();
    assert!(message("search.epochs").starts_with("command line:1:1: this is not KEY=VALUE"));
    assert!(message("search.epochs=[1").contains("the value is not valid TOML"));
    assert!(!message("=1").is_empty());
    assert!(message("a..b=1").contains("`a..b` is not a dotted path"));
    assert!(message(&format!("{}=1", ["a"; 40].join("."))).contains("at most 16 segments"));
    assert!(message("extends=\"b.toml\"").contains("`extends` cannot be set here"));
    assert!(message("search.epochs=three").contains("`search.epochs` is the string \"three\", expected an integer"));
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let missing = Desk::new("").path("none.toml");
    let error = super::files(&super::Request { manifest: missing, ..Default::default() }).err().unwrap();
    assert!(error.message.starts_with("cannot read `"), "{error}");
    let headline = |text: &[u8]| Desk::new(text).headline();
    assert_eq!(headline(b""), "a.toml: the file is empty");
    assert_eq!(headline(b"# only a comment\n"), "a.toml: the file is empty");
    assert_eq!(headline(b"a = 1\nb = \"\xff\"\n"), "a.toml:2:6: this is not UTF-8");
    assert!(headline(b"[search]\nepochs = = 3\n").starts_with("a.toml:2:10: not valid TOML: "));
    assert_eq!(
        headline(b"version = 7\n"),
        "a.toml:1:11: this manifest is of version 7, and this program reads up to 1"
    );
}

#[test]
fn extends_tells_its_chain() {
    let desk = Desk::new("extends = \"b.toml\"\n").file("b.toml", "extends = \"a.toml\"\n");
    let message = desk.message();
    assert!(message.starts_with("b.toml:1:11: `extends` goes in a circle: `a.toml` is reached again"), "{message}");
    assert!(message.contains("= help: the chain is `a.toml` > `b.toml` > `a.toml`"), "{message}");
    let message = Desk::new("extends = \"c.toml\"\n").message();
    assert!(message.starts_with("a.toml:1:11: cannot read `c.toml`"), "{message}");
    assert!(Desk::new("extends = 3\n").headline().contains("`extends` is not a string"));
}

#[test]
fn an_unknown_profile_lists_the_known_ones() {
    let message = Desk::good("[profile.smoke.search]\nepochs = 1\n").profile("smokey").message();
    assert_eq!(message, "a.toml: unknown profile `smokey`; did you mean `smoke`?\n = help: profiles: `smoke`");
}

#[test]
fn a_manifest_that_the_program_holds_lies_on_no_disk() {
    const HELD: [(&str, &str); 3] = [
        ("/nowhere/tables/one.toml", "extends = \"base.toml\"\n[design]\nfile = \"../designs/d.toml\"\n"),
        (
            "/nowhere/tables/base.toml",
            "[experiment]\nname = \"one\"\n[dataset.test-pictures]\n[space.test-grid]\nnodes = [1]\n\
             [timesteps.test-open]\nmax = 4\n[retrain]\nepochs = 5\n",
        ),
        ("/nowhere/designs/d.toml", "version = 1\nspace = \"test-grid\"\ntimesteps = 2\n"),
    ];
    let request = |held| super::Request { manifest: HELD[0].0.into(), held, ..Default::default() };
    let plan = crate::manifest::load(&request(&HELD)).unwrap();
    assert_eq!(plan.trials[0].manifest.experiment.name, "one");
    // Without the design, and without anything.
    assert!(crate::manifest::load(&request(&HELD[..2])).is_err());
    assert!(crate::manifest::load(&request(&[])).is_err());
}
