//! The files that `litesnn plugins new` begins a plugin with are plugins: they compile, their tests
//! run, and they keep every rule.

#[path = "../templates/template_compressor.rs"]
mod template_compressor;
#[path = "../templates/template_dataset.rs"]
mod template_dataset;
#[path = "../templates/template_launcher.rs"]
mod template_launcher;
#[path = "../templates/template_optimizer.rs"]
mod template_optimizer;
#[path = "../templates/template_space.rs"]
mod template_space;
#[path = "../templates/template_timesteps.rs"]
mod template_timesteps;

use litesnn_conformance::{Surroundings, Verdict, checks};
use litesnn_framework::plugin::{Kind, find, registered};
use litesnn_plugins as _;

fn keeps_every_rule(kind: Kind) {
    tch::set_num_threads(1);
    let plugin = find(kind, &format!("template-{kind}")).expect("the template registers itself");
    let beside = Surroundings { plugins: registered(), data: Vec::new() };
    let outcomes: Vec<String> = checks(plugin, &beside)
        .into_iter()
        .filter_map(|check| match check.run() {
            Ok(Verdict::Kept) => None,
            Ok(Verdict::Skipped(why)) => Some(format!("{} is skipped: {why}", check.name())),
            Err(broken) => Some(broken.to_string()),
        })
        .collect();
    assert!(outcomes.is_empty(), "{}", outcomes.join("\n"));
}

#[test]
fn the_data_set_keeps_every_rule() {
    keeps_every_rule(Kind::Dataset);
}

#[test]
fn the_space_keeps_every_rule() {
    keeps_every_rule(Kind::Space);
}

#[test]
fn the_compressor_keeps_every_rule() {
    keeps_every_rule(Kind::Compressor);
}

#[test]
fn the_timestep_searcher_keeps_every_rule() {
    keeps_every_rule(Kind::Timesteps);
}

#[test]
fn the_optimizer_keeps_every_rule() {
    keeps_every_rule(Kind::Optimizer);
}

#[test]
fn the_launcher_keeps_every_rule() {
    keeps_every_rule(Kind::Launcher);
}
