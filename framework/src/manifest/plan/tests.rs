use std::path::Path;

use super::*;
use crate::manifest::fixtures::{Desk, GOOD};

const DESIGN: &str = "version = 1\nspace = \"test-grid\"\ntimesteps = 2\n";

fn titles(plan: &Plan) -> Vec<String> {
    plan.trials.iter().map(Trial::title).collect()
}

#[test]
fn without_variants_there_is_one_trial_for_each_seed() {
    let plan = Desk::good("").set("experiment.seeds=[3, 1]").plan();
    assert_eq!(titles(&plan), ["good seed 3", "good seed 1"]);
    assert_eq!((plan.name.as_str(), plan.profile.as_deref()), ("good", None));
    assert_eq!(plan.trials[1].manifest.experiment.seeds, [1]);
    assert_eq!(plan.trials[1].settings["search"]["clip"], 5.0);
}

const VARIANTS: &str = r#"
[[variant]]
name = "dense"
remove = ["optimizer", "search", "compressor"]
set = { "timesteps" = { test-steady = { steps = 4 } }, design.from = "searched", "design.keep" = ["architecture"] }
[[variant]]
name = "searched"
[[variant]]
name = "large"
[variant.set]
"compressor.test-prune.rate" = 0.5
[sweep]
"optimizer.test-joint.lambda" = [5e-10, 1e-9]
"compressor.test-prune.rate" = [0.1, 0.2]
"#;

#[test]
fn variants_and_sweep_are_laid_out_in_running_order() {
    let text = format!("{GOOD}{VARIANTS}").replace("\"compressor.test-prune.rate\" = [0.1, 0.2]\n", "");
    let plan = Desk::new(text).set("experiment.seeds=[0, 1]").plan();
    assert_eq!(
        titles(&plan),
        [
            "searched seed 0 (optimizer.test-joint.lambda = 5e-10)",
            "searched seed 1 (optimizer.test-joint.lambda = 5e-10)",
            "searched seed 0 (optimizer.test-joint.lambda = 1e-9)",
            "searched seed 1 (optimizer.test-joint.lambda = 1e-9)",
            "dense seed 0 (optimizer.test-joint.lambda = 5e-10)",
            "dense seed 1 (optimizer.test-joint.lambda = 5e-10)",
            "dense seed 0 (optimizer.test-joint.lambda = 1e-9)",
            "dense seed 1 (optimizer.test-joint.lambda = 1e-9)",
            "large seed 0 (optimizer.test-joint.lambda = 5e-10)",
            "large seed 1 (optimizer.test-joint.lambda = 5e-10)",
            "large seed 0 (optimizer.test-joint.lambda = 1e-9)",
            "large seed 1 (optimizer.test-joint.lambda = 1e-9)",
        ]
    );
    let depends: Vec<Option<usize>> = plan.trials[3..9].iter().map(|trial| trial.depends_on).collect();
    assert_eq!(depends, [None, Some(0), Some(1), Some(2), Some(3), None]);
    assert!(plan.trials[4].manifest.optimizer.is_none() && plan.trials[4].manifest.compressor.is_empty());
    assert_eq!(plan.trials[2].settings["optimizer"]["test-joint"]["lambda"], 1e-9);
    assert_eq!(plan.trials[8].settings["compressor"][1]["test-prune"]["rate"], 0.5);
}

/// What a trial waits for stays, and places are those among the trials that are left.
#[test]
fn some_trials_of_a_plan_keep_what_they_wait_for() {
    let dense = "[[variant]]\nname = \"large\"\n[[variant]]\nname = \"other\"\n[[variant]]\nname = \"dense\"\n\
                 remove = [\"optimizer\", \"search\"]\nset = { compressor = [], design = { from = \"large\" } }\n\
                 [[compare]]\na = \"large\"\nb = \"dense\"\n[[compare]]\na = \"other\"\nb = \"dense\"\n";
    let plan = || Desk::good(dense).set("experiment.seeds=[0, 1, 2]").plan();
    let only = plan().only(|trial| trial.variant == "dense" && trial.seed == 2);
    assert_eq!(titles(&only), ["large seed 2", "dense seed 2"]);
    assert_eq!(only.trials[1].depends_on, Some(0));
    let pairs: Vec<_> = only.comparisons.iter().map(|pair| (pair.a, pair.b)).collect();
    assert_eq!(pairs, [(0, 1)], "the row `other` has no trial any more");
    let two = plan().only(|trial| trial.seed > 0 && trial.variant != "large");
    assert_eq!(titles(&two).len(), 6);
    assert!(two.trials.iter().enumerate().all(|(index, trial)| trial.depends_on.is_none_or(|source| {
        source < index && two.trials[source].variant == "large" && two.trials[source].seed == trial.seed
    })));
    let all = plan().only(|_| true);
    assert_eq!((titles(&all), &all.comparisons), (titles(&plan()), &plan().comparisons));
}

#[test]
fn a_swept_key_concerns_the_variants_that_have_it() {
    let variants = "[[variant]]\nname = \"small\"\n[[variant]]\nname = \"plain\"\nset = { compressor = [] }\n";
    let plan = Desk::good(&format!("{variants}[sweep]\ncompressor.test-prune.rate = [0.1, 0.2]\n")).plan();
    assert_eq!(
        titles(&plan),
        [
            "small seed 0 (compressor.test-prune.rate = 0.1)",
            "small seed 0 (compressor.test-prune.rate = 0.2)",
            "plain seed 0"
        ]
    );
}

#[test]
fn a_swept_key_has_to_be_read() {
    let sweep = |line: &str| Desk::good(&format!("[sweep]\n{line}\n")).headline();
    assert_eq!(sweep("search.epoch = [1]"), "a.toml:29:8: unknown key `epoch` in [search]; did you mean `epochs`?");
    assert_eq!(
        sweep("\"optimizer.test-joit.lambda\" = [1]"),
        "a.toml:29:1: nothing reads the swept key `optimizer.test-joit.lambda`; did you mean `optimizer.test-joint`?"
    );
    assert_eq!(sweep("serach.epochs = [1]"), "a.toml:29:8: unknown section [serach]; did you mean `search`?");
    assert_eq!(sweep("search.epochs = 1"), "a.toml:29:17: the sweep over `search.epochs` is not an array of values");
    assert_eq!(sweep("search.epochs = []"), "a.toml:29:17: the sweep over `search.epochs` has no values");
    assert_eq!(sweep("search.epochs = [1, 1]"), "a.toml:29:17: the sweep over `search.epochs` holds value 2 twice");
    assert_eq!(sweep("search.epochs = [1, -1]"), "a.toml:29:21: `search.epochs` is -1, and has to be 1 or more");
    assert_eq!(sweep("experiment.seeds = [[1]]"), "a.toml:29:12: a sweep cannot change `experiment.seeds`");
    let many: Vec<String> = (1..1000).map(|n| n.to_string()).collect();
    let many = many.join(", ");
    assert!(sweep(&format!("search.epochs = [{many}]\nretrain.epochs = [{many}]")).contains("more than 100000 trials"));
}

/// Guards lists in a sweep, whose text was cut at its commas, and values that are equal once they
/// are read.
#[test]
fn a_point_holds_values_in_the_type_of_their_settings() {
    let swept = |lines: &str| Desk::good(&format!("[sweep]\n{lines}\n"));
    let plan =
        swept("compressor.test-round.bits = [[1, 2, 4], [1, 2]]\noptimizer.test-joint.lambda = [0, 1e-9]").plan();
    assert_eq!(
        titles(&plan),
        [
            "large seed 0 (compressor.test-round.bits = [1, 2, 4], optimizer.test-joint.lambda = 0.0)",
            "large seed 0 (compressor.test-round.bits = [1, 2, 4], optimizer.test-joint.lambda = 1e-9)",
            "large seed 0 (compressor.test-round.bits = [1, 2], optimizer.test-joint.lambda = 0.0)",
            "large seed 0 (compressor.test-round.bits = [1, 2], optimizer.test-joint.lambda = 1e-9)",
        ]
        .map(|title| title.replacen("large", &plan.trials[0].variant, 1))
    );
    let values: Vec<_> = plan.trials[2].point.values().map(|(_, value)| value.clone()).collect();
    assert_eq!(values, [serde_json::json!([1, 2]), serde_json::json!(0.0)]);
    let twice = "the sweep over `optimizer.test-joint.lambda` holds value 2 twice";
    assert!(swept("optimizer.test-joint.lambda = [0, 0.0]").headline().ends_with(twice));
    // The table without its default is the table with it.
    let table = swept("compressor.test-prune = [{ rate = 0.5 }, { rate = 0.5, exempt = [] }]").message();
    assert!(table.starts_with("a.toml:29:"), "{table}");
    assert!(table.contains("the sweep over `compressor.test-prune` holds value 2 twice"), "{table}");
    assert!(table.contains("make the same trial"), "{table}");
}

/// Guards against a publication that only the report misses, when all is trained.
#[test]
fn a_publication_that_nobody_knows_is_a_mistake_of_the_manifest() {
    let publications = || vec!["lite-snn/table4".to_owned(), "lite-snn/table5".to_owned()];
    let asked = |name: &str| {
        let mut desk = Desk::good("").set(&format!("experiment.reproduces={name}"));
        desk.request.publications = publications();
        desk
    };
    assert_eq!(asked("lite-snn/table4").plan().trials.len(), 1);
    let message = asked("lite-snn/tabel4").message();
    assert!(message.contains("cannot be `lite-snn/tabel4`; did you mean `lite-snn/table4`?"), "{message}");
    assert!(message.contains("known are `lite-snn/table4`, `lite-snn/table5`"), "{message}");
}

#[test]
fn text_that_looks_like_a_number_says_how_it_is_quoted() {
    let set = |value: &str| Desk::good("").set(&format!("experiment.name={value}"));
    assert!(set("1e3").message().contains("`--set 'experiment.name=\"1e3\"'`"), "{}", set("1e3").message());
    assert!(set("true").message().contains("`--set 'experiment.name=\"true\"'`"));
    assert_eq!(set("\"1e3\"").plan().name, "1e3");
    let variable = Desk::good("").variable("LITESNN_EXPERIMENT__NAME", "8").message();
    assert!(variable.contains("`LITESNN_EXPERIMENT__NAME='\"8\"'`"), "{variable}");
    let exempt = Desk::good("").set("compressor.test-prune.exempt=[\"a\", 8]").message();
    assert!(exempt.contains("stands in quotes: `\"8\"`"), "{exempt}");
}

#[test]
fn mistakes_in_variants_are_named() {
    let variants = r#"
[[variant]]
name = "a"
sett = {}
set = { "search.epoch" = 1, "compressor.test-prne.rate" = 0.1, "experiment.name" = "x" }
[[variant]]
name = "A"
[[variant]]
name = "b/c"
remove = ["design"]
[[variant]]
name = "d"
remove = ["optimizer"]
"#;
    let headlines: Vec<String> = Desk::good(variants)
        .messages()
        .iter()
        .map(|shown| shown.lines().next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        headlines,
        [
            "a.toml: in variant `d`: missing section [optimizer.NAME]",
            "a.toml:31:1: unknown key `sett` in [[variant]]; did you mean `set`?",
            "a.toml:32:9: unknown key `epoch` in [search]; did you mean `epochs`?",
            "a.toml:32:29: no [[compressor]] is `test-prne`; did you mean `test-prune`?",
            "a.toml:32:64: a variant cannot change `experiment.name`",
            "a.toml:34:8: two variants are named `A`",
            "a.toml:36:8: variant `b/c` cannot be the name of a folder: only letters, digits, `-`, `_` and `.` are allowed",
            "a.toml:37:11: nothing sets `design`, so that it cannot be removed",
        ]
    );
}

#[test]
fn a_design_comes_from_a_variant_that_searches() {
    let variants = |from: &str, more: &str| {
        format!(
            "[[variant]]\nname = \"one\"\n[[variant]]\nname = \"two\"\nremove = [\"optimizer\", \"search\"]\n\
             set = {{ design.from = \"{from}\"{more} }}\n"
        )
    };
    let headline = |from: &str, more: &str| Desk::good(&variants(from, more)).headline();
    assert_eq!(Desk::good(&variants("one", "")).plan().trials[1].depends_on, Some(0));
    assert_eq!(headline("on", ""), "a.toml:33:23: no variant is named `on`; did you mean `one`?");
    assert_eq!(headline("two", ""), "a.toml:33:23: variant `two` takes its own design");
    assert!(headline("one", ", design.keep = [\"compression\", \"timesteps\"]").contains("lacks `architecture`"));
    assert!(
        headline("one", ", design.keep = [\"architecture\"]")
            .ends_with("[timesteps.test-open] does not say how many to run")
    );
    assert!(headline("one", ", design.keep = [\"architectur\"]").contains("did you mean `architecture`?"));
    assert!(headline("one", ", design.file = \"d.toml\"").contains("both `from` and `file`"));
    assert_eq!(
        headline("one", ", experiment.seeds = [7]"),
        "a.toml:33:49: variant `two` has seed 7, and `one`, whose design it takes, does not"
    );
}

/// Variants by their names, each with the lines below it.
fn taught(variants: &[(&str, &str)]) -> String {
    variants.iter().map(|(name, more)| format!("[[variant]]\nname = \"{name}\"\n{more}\n")).collect()
}

#[test]
fn a_teacher_is_trained_before_its_student_with_the_same_seed_and_point() {
    let variants = taught(&[
        ("student", "set = { retrain.teacher = { from = \"wide\", alpha = 0.9 }, retrain.epochs = 7 }"),
        ("wide", "set = { \"space.test-grid.channels.retrain\" = 4 }"),
        (
            "dense",
            "remove = [\"optimizer\", \"search\"]\nset = { design.from = \"wide\", retrain.teacher.from = \"student\" }",
        ),
    ]);
    let plan = Desk::good(&variants).set("experiment.seeds=[3, 4]").plan();
    let order = ["wide seed 3", "wide seed 4", "student seed 3", "student seed 4", "dense seed 3", "dense seed 4"];
    assert_eq!(titles(&plan), order);
    let waits: Vec<_> = plan.trials.iter().map(|trial| (trial.depends_on, trial.taught_by)).collect();
    let of = |design, teacher| (design, teacher);
    assert_eq!(waits[..4], [of(None, None), of(None, None), of(None, Some(0)), of(None, Some(1))]);
    assert_eq!(waits[4..], [of(Some(0), Some(2)), of(Some(1), Some(3))]);
    let teaching = plan.trials[2].manifest.retrain.teacher.as_ref().unwrap();
    assert_eq!((teaching.alpha, teaching.temperature), (0.9, 4.0));

    // What is swept of a teaching concerns students; what is swept of the teacher, both.
    let swept = "[sweep]\nretrain.teacher.alpha = [0.1, 0.2]\nspace.test-grid.channels.retrain = [5, 6]\n";
    let variants = taught(&[("student", "set = { retrain.teacher.from = \"wide\" }"), ("wide", "")]);
    let plan = Desk::good(&format!("{variants}{swept}")).plan();
    assert_eq!(plan.trials.len(), 2 + 4, "{:?}", titles(&plan));
    for trial in &plan.trials[2..] {
        let teacher = &plan.trials[trial.taught_by.unwrap()];
        assert_eq!(teacher.settings["space"], trial.settings["space"], "{}", trial.title());
        assert!(teacher.manifest.retrain.teacher.is_none());
    }
}

#[test]
fn mistakes_about_a_teacher_are_named() {
    let student = |more: &str| Desk::good(&taught(&[("one", ""), ("two", &format!("set = {{ {more} }}"))]));
    let headline = |more: &str| student(more).headline();
    let from = |name: &str| format!("retrain.teacher.from = \"{name}\"");
    assert_eq!(headline(&from("on")), "a.toml:33:32: no variant is named `on`; did you mean `one`?");
    assert_eq!(headline(&from("two")), "a.toml:33:32: variant `two` teaches itself");
    assert!(student(&from("two")).message().contains("variants that can teach it: `one`"));
    assert!(headline("retrain.teacher.alpha = 0.5").ends_with("[retrain.teacher] has neither `from` nor `trial`"));
    let both = format!("{}, retrain.teacher.trial = \"x\"", from("one"));
    assert!(headline(&both).ends_with("[retrain.teacher] has both `from` and `trial`"), "{}", headline(&both));
    let alpha = format!("{}, retrain.teacher.alpha = 2", from("one"));
    assert!(headline(&alpha).ends_with("`retrain.teacher.alpha` is 2, and has to be 0 to 1"), "{}", headline(&alpha));
    let cold = format!("{}, retrain.teacher.temperature = 0", from("one"));
    assert!(headline(&cold).ends_with("`retrain.teacher.temperature` is 0, and has to be more than 0"));
    let search = "search.teacher.from = \"one\"";
    assert!(headline(search).ends_with("nothing reads [search.teacher]"), "{}", headline(search));
    let seed = format!("{}, experiment.seeds = [7]", from("one"));
    assert!(headline(&seed).ends_with("variant `two` has seed 7, and `one`, which teaches it, does not"));
    let folder = headline("retrain.teacher.trial = \"nowhere\"");
    assert!(folder.ends_with("nowhere` is not the folder of a finished trial"), "{folder}");

    let circle = taught(&[
        ("one", "set = { retrain.teacher.from = \"two\" }"),
        ("two", "remove = [\"optimizer\", \"search\"]\nset = { design.from = \"one\" }"),
    ]);
    let waits = "variants wait for each other: `two` waits for `one` waits for `two`";
    assert!(Desk::good(&circle).headline().ends_with(waits), "{}", Desk::good(&circle).headline());
    let circle = taught(&[
        ("one", "set = { retrain.teacher.from = \"three\" }"),
        ("two", "set = { retrain.teacher.from = \"one\" }"),
        ("three", "set = { retrain.teacher.from = \"two\" }"),
    ]);
    let waits = "variants wait for each other: `three` waits for `two` waits for `one` waits for `three`";
    assert!(Desk::good(&circle).headline().ends_with(waits), "{}", Desk::good(&circle).headline());

    let swept = |key: &str| Desk::good(&format!("[sweep]\n{key}\n")).headline();
    assert!(swept("retrain.teacher.from = [\"a\"]").ends_with("a sweep cannot change `retrain.teacher.from`"));
    assert!(swept("retrain.teacher.alpha = [0.1]").ends_with("nothing reads the swept key `retrain.teacher.alpha`"));
}

#[test]
fn a_problem_names_its_variants_only_where_they_matter() {
    let variants = "[[variant]]\nname = \"one\"\n[[variant]]\nname = \"two\"\nset.design.from = \"one\"\n";
    let first = |desk: Desk| desk.messages()[0].lines().next().unwrap_or_default().to_owned();
    assert!(first(Desk::good(variants)).contains("in variant `two`: nothing reads [optimizer]"));
    let variants = format!("{variants}remove = [\"optimizer\", \"search\"]\n");
    let wrong = Desk::new(format!("{GOOD}{variants}").replace("epochs = 3", "epochs = 0"));
    assert_eq!(wrong.headline(), "a.toml:24:10: `search.epochs` is 0, and has to be 1 or more");
}

#[test]
fn a_design_file_is_relative_to_the_file_that_names_it() {
    let text = GOOD
        .replace("[optimizer.test-joint]\nlambda = 5e-10\n", "")
        .replace("[search]\nepochs = 3\n", "[design]\nfile = \"d.toml\"\n");
    let desk = Desk::new(&text).file("d.toml", DESIGN);
    let plan = desk.plan();
    let file = plan.trials[0].manifest.design.as_ref().and_then(|design| design.file.clone());
    assert_eq!(file, Some(desk.path("d.toml")));
    assert!(
        Desk::new(&text).headline().starts_with("a.toml:22:8: cannot read `d.toml`"),
        "{}",
        Desk::new(&text).headline()
    );
    let other = Desk::new(&text).file("d.toml", DESIGN.replace("test-grid", "other")).headline();
    assert_eq!(other, "a.toml:22:8: the design is of space `other`, and the manifest has [space.test-grid]");
}

#[test]
fn a_resolved_manifest_loads_again_to_the_same_settings() {
    let text = format!("{GOOD}{VARIANTS}").replace("\"compressor.test-prune.rate\" = [0.1, 0.2]\n", "");
    for trial in Desk::new(text).plan().trials {
        let design_file = trial.depends_on.map(|_| Path::new("/tmp/nowhere/../d.toml"));
        let mut desk = Desk::new("");
        let folder = desk.path("d.toml");
        desk = desk.file("d.toml", DESIGN);
        let text = trial.manifest_toml(design_file.map(|_| folder.as_path()), None);
        let again = desk.file("a.toml", &text).plan();
        assert_eq!(again.trials.len(), 1);
        let mut settings = trial.settings.clone();
        if design_file.is_some() {
            settings["design"] = serde_json::json!({"file": folder, "keep": ["architecture"]});
        }
        assert_eq!(again.trials[0].settings, settings, "{text}");
    }
}

#[test]
fn an_override_is_not_lost_silently() {
    let variants =
        "[[variant]]\nname = \"a\"\n[[variant]]\nname = \"b\"\nset = { \"search.epochs\" = 9, compressor = [] }\n";
    let desk = || Desk::good(variants);
    assert!(
        desk().set("search.epochs=1").headline().ends_with("`search.epochs` is set by variant `b` as well, which wins")
    );
    // Variant `a` keeps it.
    assert_eq!(desk().set("compressor.test-prune.rate=0.5").plan().trials.len(), 2);
    let plain = Desk::good("[[variant]]\nname = \"b\"\nset = { compressor = [] }\n");
    let lost = plain.variable("LITESNN_COMPRESSOR__TEST_PRUNE__RATE", "0.5").headline();
    assert!(
        lost.ends_with("`compressor.test-prune.rate` has no effect: every variant replaces or removes it"),
        "{lost}"
    );
    let swept = Desk::good("[sweep]\nsearch.epochs = [1, 2]\n");
    assert!(swept.set("search.epochs=1").headline().contains("is set by the sweep as well"));
    let chosen = Desk::good("[sweep]\nsearch.epochs = [1, 2]\n").set("sweep.search.epochs=[7]").plan();
    assert_eq!(titles(&chosen), ["good seed 0 (search.epochs = 7)"]);
}
