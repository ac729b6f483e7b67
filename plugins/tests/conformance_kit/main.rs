//! The conformance kit can fail: for every rule, a plugin that breaks it, and what its author is
//! told.
//!
//! The plugins of this program are read by name like any other and are not registered: no list and
//! no manifest sees them.

mod compressor;
mod dataset;
mod launcher;
mod optimizer;
mod space;
mod timesteps;

use std::path::Path;

use litesnn_conformance::{GENERAL, Law, Surroundings, Verdict, checks, laws};
use litesnn_framework::plugin::{Descriptor, Kind, registered};
use litesnn_plugins as _;

/// A plugin of this program as in one example.
fn with(plugin: &Descriptor, example: String) -> &'static Descriptor {
    let example: &'static str = example.leak();
    Box::leak(Box::new(Descriptor { examples: vec![example].leak(), ..*plugin }))
}

/// The rules that a plugin breaks, with what its author is told. The rules of `without` are not
/// checked.
fn broken(plugin: &'static Descriptor, without: &[&str]) -> Vec<(&'static str, String)> {
    tch::set_num_threads(1);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/data");
    let beside = Surroundings { plugins: registered(), data: vec![data] };
    let checks = checks(plugin, &beside).into_iter().filter(|check| !without.contains(&check.law().name));
    let outcomes = checks.map(|check| (check.law().name, check.run()));
    outcomes
        .filter_map(|(law, outcome)| match outcome {
            Ok(Verdict::Kept) => None,
            Ok(Verdict::Skipped(why)) => panic!("{law} is skipped: {why}"),
            Err(broken) => Some((law, broken.to_string())),
        })
        .collect()
}

/// Checks that a plugin breaks no rule.
fn keeps_all(plugin: &'static Descriptor) {
    let found = broken(plugin, &[]);
    assert!(found.is_empty(), "{}", found.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("\n"));
}

/// Checks that a plugin with a fault breaks the rules that the table names for it and no other.
/// `slow` rules are checked only for faults that break one.
fn each_breaks(table: &[(&str, &[&str])], slow: &[&str], plugin: impl Fn(&str) -> &'static Descriptor) {
    let mut wrong = Vec::new();
    for (fault, rules) in table {
        let without: Vec<&str> = slow.iter().copied().filter(|rule| !rules.contains(rule)).collect();
        let plugin = plugin(fault);
        let found = broken(plugin, &without);
        let names: Vec<&str> = found.iter().map(|(law, _)| *law).collect();
        let head = format!("{} `{}` breaks the rule `", plugin.kind, plugin.name);
        let whole = |message: &String| {
            message.starts_with(&head) && message.contains("\n  expected: ") && message.contains("\n  found:    ")
        };
        if names != *rules || !found.iter().all(|(_, message)| whole(message)) {
            let messages: Vec<String> = found.iter().map(|(_, message)| message.clone()).collect();
            wrong.push(format!("{fault} breaks {names:?}, and {rules:?} were expected\n{}", messages.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// plugins/README.md says to authors of plugins which rules there are.
#[test]
fn the_rules_are_listed() {
    let row = |kind: &str, laws: &[Law]| {
        let names: Vec<String> = laws.iter().map(|law| format!("`{}`", law.name)).collect();
        format!("| {kind} | {} |", names.join(", "))
    };
    let kinds = Kind::ALL.into_iter().map(|kind| row(kind.section(), laws(kind)));
    let expected: Vec<String> = [row("every kind", GENERAL)].into_iter().chain(kinds).collect();
    let list = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let found: Vec<&str> =
        list.lines().skip_while(|line| *line != "| kind | rules |").skip(2).take(expected.len()).collect();
    assert!(found == expected, "plugins/README.md: the table of rules should be\n{}", expected.join("\n"));
}

#[test]
fn every_rule_has_a_plugin_that_breaks_it() {
    let general = ["documented", "examples", "settings"];
    for kind in Kind::ALL {
        let table: &[(&str, &[&str])] = match kind {
            Kind::Dataset => dataset::BROKEN,
            Kind::Space => space::BROKEN,
            Kind::Compressor => compressor::BROKEN,
            Kind::Timesteps => timesteps::BROKEN,
            Kind::Optimizer => optimizer::BROKEN,
            Kind::Launcher => launcher::BROKEN,
        };
        for law in laws(kind) {
            assert!(table.iter().any(|(_, rules)| rules.contains(&law.name)), "no {kind} breaks `{}`", law.name);
            assert!(!general.contains(&law.name), "two rules are named `{}`", law.name);
        }
    }
}

#[test]
fn a_plugin_that_is_not_told_of_breaks_the_general_rules() {
    let plugin = &compressor::FAULTY;
    let good = plugin.examples[0];
    let of_compressors: Vec<&str> = laws(Kind::Compressor).iter().map(|law| law.name).collect();
    let changed = |change: fn(&mut Descriptor)| {
        let mut descriptor = Descriptor { ..*plugin };
        change(&mut descriptor);
        let found = broken(Box::leak(Box::new(descriptor)), &of_compressors);
        assert!(!found.is_empty());
        found[0].clone()
    };
    let (law, message) = changed(|plugin| plugin.summary = "It is good.");
    assert!(law == "documented" && message.contains("`summary` is one line without a full stop"), "{message}");
    let (law, message) = changed(|plugin| plugin.source = "//! A plugin.\n//!\n//! name\nname: \"faulty\"");
    assert!(law == "documented" && message.contains("a block between ```text and ```"), "{message}");
    let (law, message) = changed(|plugin| plugin.source = "//! Another\n//! file,\n//! another plugin.");
    assert!(law == "documented" && message.contains("`file` is the file that registers it"), "{message}");
    let (law, message) = changed(|plugin| plugin.examples = &["[[compressor]]\nfaulty = { bit = 3 }"]);
    assert!(law == "examples" && message.contains("unknown field `bit`"), "{message}");
    let (law, message) = changed(|plugin| plugin.examples = &["[compressor.faulty]"]);
    assert!(law == "examples" && message.contains("`compressor` does not hold one plugin"), "{message}");
    let (law, message) = changed(|plugin| plugin.examples = &["[[compressor]]\nfaulty = { bits = 9 }"]);
    assert!(law == "examples" && message.contains("`bits` is 9, and has to be 1 to 8"), "{message}");
    assert!(good.contains("faulty"));
    let (law, message) = (compressor::deaf(), "the key is ignored without a word");
    let found = broken(law, &of_compressors);
    assert!(found.iter().any(|(law, told)| *law == "settings" && told.contains(message)), "{found:?}");
    let found = broken(compressor::secretive(), &["search", "composition"]);
    let message = "`off`: its schema tells the default";
    assert!(found.iter().any(|(law, told)| *law == "settings" && told.contains(message)), "{found:?}");
}
