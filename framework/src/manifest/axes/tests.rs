use super::*;
use crate::ground::ConfigLayer;
use crate::manifest::explain;
use crate::manifest::fixtures::Desk;

const TABLE: &str = r#"
[axis.scale]
medium = { rate = 0.8, lambda = 2e-10 }
large = { rate = 0.5, lambda = 1e-10 }
small = { rate = 0.9, lambda = 3e-10 }

[axis.way]
searched = { set = { "optimizer.test-joint.lambda" = "{scale.lambda}" } }
drawn = { remove = ["optimizer", "search"], set = { "design" = { from = "searched-{scale}", redraw = true } } }

[[variant]]
name = "{way}-{scale}"
set = { "compressor.test-prune.rate" = "{scale.rate}" }

[[variant]]
name = "plain"
set = { compressor = [] }

[[compare]]
a = "searched-{scale}"
b = "drawn-{scale}"
"#;

fn names(desk: &Desk) -> Vec<String> {
    desk.plan().trials.iter().map(|trial| trial.variant.clone()).collect()
}

fn setting(desk: &Desk, variant: &str, pointer: &str) -> Value {
    let plan = desk.plan();
    let trial = plan.trials.iter().find(|trial| trial.variant == variant).expect(variant);
    trial.settings.pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn a_name_with_placeholders_is_a_variant_for_each_combination_in_the_order_of_the_file() {
    let desk = Desk::good(TABLE);
    let searched = ["searched-medium", "searched-large", "searched-small"];
    let drawn = ["drawn-medium", "drawn-large", "drawn-small"];
    assert_eq!(names(&desk), [searched.as_slice(), &drawn, &["plain"]].concat());
    let plan = desk.plan();
    for (index, trial) in plan.trials[3..6].iter().enumerate() {
        assert_eq!(trial.depends_on, Some(index), "{}", trial.variant);
    }
    let pairs: Vec<(usize, usize)> = plan.comparisons.iter().map(|pair| (pair.a, pair.b)).collect();
    assert_eq!(pairs, [(0, 3), (1, 4), (2, 5)]);
}

#[test]
fn the_trials_are_those_of_the_variants_written_out() {
    let mut written = String::new();
    for (scale, rate, lambda) in [("medium", 0.8, 2e-10), ("large", 0.5, 1e-10), ("small", 0.9, 3e-10)] {
        written += &format!(
            "[[variant]]\nname = \"searched-{scale}\"\n\
             set = {{ \"compressor.test-prune.rate\" = {rate}, \"optimizer.test-joint.lambda\" = {lambda:e} }}\n\
             [[variant]]\nname = \"drawn-{scale}\"\nremove = [\"optimizer\", \"search\"]\n\
             set = {{ \"compressor.test-prune.rate\" = {rate}, design = {{ from = \"searched-{scale}\", redraw = true }} }}\n"
        );
    }
    let (axes, written) = (Desk::good(TABLE).plan(), Desk::good(&written).plan());
    for trial in &written.trials {
        let same = axes.trials.iter().find(|other| other.variant == trial.variant).expect("a trial of this name");
        assert_eq!(same.settings, trial.settings, "{}", trial.variant);
    }
    assert_eq!(axes.trials.len(), written.trials.len() + 1);
}

#[test]
fn a_profile_changes_adds_and_leaves_out_values() {
    let more =
        "[profile.p.axis.scale]\nlarge = { lambda = 7e-10 }\nsmall = false\ntiny = { rate = 0.95, lambda = 4e-10 }\n";
    let desk = Desk::good(&format!("{TABLE}{more}")).profile("p");
    assert_eq!(names(&desk)[..3], ["searched-medium", "searched-large", "searched-tiny"]);
    assert_eq!(setting(&desk, "searched-large", "/optimizer/test-joint/lambda"), 7e-10);
    assert_eq!(setting(&desk, "drawn-large", "/compressor/1/test-prune/rate"), 0.5);
    let shell = Desk::good(TABLE).set("axis.scale.large=false").set("axis.scale.small=false");
    assert_eq!(names(&shell), ["searched-medium", "drawn-medium", "plain"]);
    let shell = Desk::good(TABLE).set("axis.scale.large.rate=0.25");
    let trials = shell.plan().trials;
    let told: Vec<usize> = trials.iter().map(|trial| trial.overrides.len()).collect();
    assert_eq!(told, [0, 1, 0, 0, 1, 0, 0]);
    assert_eq!(trials[1].overrides, ["axis.scale.large.rate=0.25"]);
}

#[test]
fn a_whole_placeholder_keeps_its_kind_and_a_text_takes_numbers() {
    let text = r#"
[axis.method]
dense = { compressor = [] }
pruned = { compressor = [{ test-prune = { rate = 0.5 } }] }
[[variant]]
name = "m-{method}"
set = { compressor = "{method.compressor}", "dataset.test-pictures.root" = "/data/{method}/{x}" }
"#;
    assert_eq!(Desk::good(text).headline(), "a.toml:34:76: the variant's name does not have `{x}`");
    let desk = Desk::good(&text.replace("{x}", "{ x }"));
    assert_eq!(setting(&desk, "m-pruned", "/compressor/0/test-prune/rate"), 0.5);
    assert_eq!(setting(&desk, "m-dense", "/dataset/test-pictures/root"), "/data/dense/{ x }");
    let wrong = Desk::good(&text.replace("/{x}", "").replace("rate = 0.5", "rte = 0.5"));
    assert!(wrong.headline().starts_with("a.toml:31:43: unknown key `rte`"), "{}", wrong.headline());
}

#[test]
fn what_is_wrong_with_an_axis_is_told_with_its_place() {
    let headline = |from: &str, to: &str| {
        assert!(TABLE.contains(from), "{from}");
        Desk::good(&TABLE.replace(from, to)).messages()[0].lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        headline("name = \"{way}-{scale}\"", "name = \"{way}-{scle}\""),
        "a.toml:39:8: no axis is named `scle`; did you mean `scale`?"
    );
    assert_eq!(
        headline("\"{scale.rate}\"", "\"{scale.rte}\""),
        "a.toml:40:40: no value of axis `scale` has `rte`; did you mean `rate`?"
    );
    assert_eq!(
        headline("medium = { rate = 0.8", "medium = { rte = 0.8"),
        "a.toml:30:12: nothing reads `rte` of `medium`: no variant has `{scale.rte}`; did you mean `rate`?"
    );
    assert_eq!(
        headline("medium = {", "medium = 3 # {"),
        "a.toml:30:10: `medium` of [axis.scale] is neither a table nor `false`"
    );
    assert_eq!(
        headline("b = \"drawn-{scale}\"", "b = \"drawn-{scales}\""),
        "a.toml:48:5: no axis is named `scales`; did you mean `scale`?"
    );
    assert_eq!(
        headline("[axis.way]", "[axis.nothing]\na = {}\n[axis.way]"),
        "a.toml:34:7: nothing reads [axis.nothing]: no variant's name has `{nothing}`"
    );
    // The value of a key is wrong: its own place is told, once for all variants.
    let wrong = Desk::good(&TABLE.replace("rate = 0.5,", "rate = \"a\",")).headline();
    assert_eq!(wrong, "a.toml:31:18: `compressor.test-prune.rate` is the string \"a\", expected a number");
    assert_eq!(
        headline("\"search\"]", "\"search\", \"none\"]"),
        "a.toml:36:44: nothing sets `none`, so that it cannot be removed"
    );
    let refused = headline("set = { compressor = [] }", "set = { \"axis.way\" = 1 }");
    assert!(refused.ends_with("a variant cannot change `axis.way`"), "{refused}");
}

/// Guards values of an axis that another layer than the manifest gives.
#[test]
fn a_wrong_value_is_told_where_its_layer_has_it() {
    let message = "`compressor.test-prune.rate` is the string \"a\", expected a number";
    let profile = Desk::good(&format!("{TABLE}[profile.p.axis.scale]\nlarge.rate = \"a\"\n")).profile("p");
    assert_eq!(profile.headline(), format!("a.toml:50:14: {message}"));
    let set = |argument: &str| Desk::good(TABLE).set(argument).headline();
    assert_eq!(set("axis.scale.large.rate=\"a\""), format!("command line:1:23: {message}"));
    assert_eq!(set("axis.scale.large={ rate = \"a\", lambda = 1e-9 }"), format!("command line:1:27: {message}"));
    let tiny = set("axis.scale.tiny={ rate = 0.5, lambda = 1e-9, lmbda = 1e-9 }");
    assert!(tiny.starts_with("command line:1:46: nothing reads `lmbda` of `tiny`"), "{tiny}");
    let variable = Desk::good(TABLE).variable("LITESNN_AXIS__SCALE__LARGE__RATE", "a").headline();
    assert_eq!(variable, format!("environment:1:34: {message}"));
    let sweep = Desk::good("").set("sweep.compressor.test-prune.rate=[0.5, \"a\"]").headline();
    assert_eq!(sweep, format!("command line:1:40: {message}"));
    let variant = set("variant=[{ name = \"x\", set = { \"compressor.test-prune.rate\" = \"a\" } }]");
    assert_eq!(variant, format!("command line:1:63: {message}"));
}

#[test]
fn an_explanation_names_the_value_of_the_axis() {
    let changed = explain(&Desk::good(TABLE).request, "optimizer.test-joint.lambda").unwrap()[0].changed.clone();
    let large = (ConfigLayer::Variant("searched-large".into()), Some("1e-10 (axis.scale.large.lambda)".to_owned()));
    assert_eq!(changed[1], large);
    let set = Desk::good(TABLE).set("axis.scale.large.lambda=2e-10");
    let changed = explain(&set.request, "optimizer.test-joint.lambda").unwrap()[0].changed.clone();
    assert_eq!(changed[1].1.as_deref(), Some("2e-10 (axis.scale.large.lambda)"));
}

#[test]
fn braces_round_anything_but_a_name_are_text() {
    assert_eq!(
        pieces("a{b}{c.d}e"),
        [Piece::Text("a"), Piece::Placeholder("b"), Piece::Placeholder("c.d"), Piece::Text("e")]
    );
    for text in ["x (a = { b = 1 })", "{", "}{", "{}", "{{ }"] {
        assert_eq!(pieces(text), [Piece::Text(text)]);
    }
}
