//! Settings that would leave a decision to chance are refused, and controls are not.

use crate::desk::Desk;

fn refused(set: &[&str]) -> String {
    match Desk::new(set).plan() {
        Err(message) => message,
        Ok(_) => panic!("{set:?} is not refused"),
    }
}

fn accepted(set: &[&str]) {
    if let Err(message) = Desk::new(set).plan() {
        panic!("{set:?}: {message}");
    }
}

/// Guards psi that never moved: T was the argmax of 1e-3 · N(0, 1).
#[test]
fn a_search_that_ends_with_its_warmup_is_refused() {
    let message = refused(&["search.epochs=1"]);
    assert_eq!(
        message,
        "search.epochs: `search.epochs` is 1, and the first epoch is the warm-up of the timesteps: their number would be \
         decided at random; search for 2 epochs or more, or make the warm-up shorter"
    );
    assert!(refused(&["timesteps.compressive.warmup=4"]).contains("the first 4 epochs are the warm-up"));
    accepted(&["search.epochs=2"]);
    accepted(&["search.epochs=1", "timesteps.compressive.warmup=0"]);
    accepted(&["search.epochs=1", "timesteps={ fixed = { steps = 2 } }"]);
    accepted(&["search.epochs=1", "timesteps.compressive.max=1"]);
    accepted(&["search.epochs=1", "optimizer.joint.at_random=[\"T\"]"]);
}

#[test]
fn a_rate_of_zero_is_refused_where_it_would_decide() {
    for optimizer in ["joint", "sequential"] {
        let zero = |rate: &str| format!("optimizer.{optimizer}.{rate}=0.0");
        for (rate, letter, what) in [
            ("architecture_rate", "A", "the architecture"),
            ("compression_rate", "Q", "the bit-widths"),
            ("timestep_rate", "T", "the number of timesteps"),
        ] {
            let key = format!("optimizer.{optimizer}.{rate}");
            let said = format!("{key}: `{key}` is 0, so that {what} would be decided at random");
            let message = refused(&[&zero(rate)]);
            assert!(
                message.starts_with(&said) && message.contains(&format!("`at_random = [\"{letter}\"]`")),
                "{message}"
            );
            accepted(&[&format!("optimizer.{optimizer}.at_random=[\"{letter}\"]")]);
        }
        // Scores that rest keep the largest weights: no decision at random.
        accepted(&[&zero("compression_rate"), "compressor.gaussian-quantize.bits=[4]"]);
        accepted(&[&zero("timestep_rate"), "timesteps={ fixed = { steps = 2 } }"]);
    }
}

/// A rate that nothing would read is not accepted as if it had an effect.
#[test]
fn what_chooses_the_architecture_has_no_rate_for_its_logits() {
    for optimizer in ["evolution", "random-search", "training-free", "ranking-quality"] {
        let chosen = format!("optimizer={{ {optimizer} = {{ architecture_rate = 0.01 }} }}");
        let message = refused(&[&chosen]);
        let said = format!("unknown key `architecture_rate` in [optimizer.{optimizer}]");
        assert!(message.contains(&said) && message.contains("`compression_rate`"), "{message}");
    }
    accepted(&["optimizer={ lottery-ticket = { architecture_rate = 0.01, rewind_epoch = 1 } }"]);
}

/// The architectures that are trained decide their number of timesteps, each.
#[test]
fn a_training_that_ends_with_the_warmup_is_refused() {
    let ranking = |epochs: usize| format!("optimizer={{ ranking-quality = {{ training_epochs = {epochs} }} }}");
    let message = refused(&[&ranking(1)]);
    let key = "optimizer.ranking-quality.training_epochs";
    assert!(message.starts_with(&format!("{key}: `{key}` is 1, and the first epoch is the warm-up")), "{message}");
    assert!(message.ends_with("train for 2 epochs or more, or make the warm-up shorter"), "{message}");
    accepted(&[&ranking(2)]);
}

#[test]
fn bits_come_from_a_budget_or_by_hand() {
    let message = refused(&["optimizer={ hessian-bits = { budget = 2.0, ranked_bits = [4, 2] } }"]);
    assert!(message.starts_with("optimizer.hessian-bits.budget: `budget` has no effect"), "{message}");
    accepted(&["optimizer={ hessian-bits = { ranked_bits = [4, 2] } }"]);
}

/// It is said before the first step runs, and not after the search.
#[test]
fn a_step_of_sequential_without_an_epoch_is_refused() {
    let message = refused(&["optimizer={ sequential = {} }", "retrain.epochs=3"]);
    assert_eq!(
        message,
        "retrain.epochs: `retrain.epochs` is 3, and 4 steps of `sequential` share it (train, prune, quantize, timesteps): \
         a step without an epoch would decide at random; train for 4 epochs or more"
    );
    let order = "optimizer={ sequential = { order = [\"T\", \"A\", \"P\", \"Q\"] } }";
    assert!(
        refused(&[order, "search.epochs=1"]).contains("2 steps of `sequential` share it (timesteps, architecture)")
    );
    accepted(&[order, "search.epochs=2", "retrain.epochs=3"]);
    // A step with nothing to do needs no epoch.
    accepted(&[
        "optimizer={ sequential = {} }",
        "retrain.epochs=2",
        "compressor=[{ gaussian-quantize = { bits = [1, 2] } }]",
        "timesteps={ fixed = { steps = 2 } }",
    ]);
}

#[test]
fn a_control_is_one_of_three_letters() {
    let said = |letters: &str| refused(&[&format!("optimizer.joint.at_random={letters}")]);
    assert!(said("[\"P\"]").starts_with("optimizer.joint.at_random"), "{}", said("[\"P\"]"));
    assert!(said("[\"P\"]").contains("cannot be `P`"), "{}", said("[\"P\"]"));
    assert!(said("[\"A\", \"A\"]").contains("\"A\" again"), "{}", said("[\"A\", \"A\"]"));
}

/// A control leaves its logits as they were drawn, and moves the others.
#[test]
fn a_control_stays_as_it_was_drawn() {
    let logits = |set: &[&str]| {
        // The last checkpoint of the search is that of the second trial's first epochs.
        let desk = Desk::new(&[&["retrain.epochs=1", "optimizer.joint.architecture_rate=0.5"], set].concat());
        desk.finish();
        std::fs::read_to_string(desk.trial().join("design.toml")).unwrap()
    };
    let [slow, fast] = ["0.001", "0.9"].map(|rate| {
        let rate = format!("optimizer.joint.architecture_rate={rate}");
        logits(&["optimizer.joint.at_random=[\"A\"]", &rate])
    });
    assert_eq!(slow, fast, "the rate of a control has no effect");
}

/// Both rules for psi: the authors' program has SGD, the paper's text Adam.
#[test]
fn psi_moves_by_sgd_or_by_adam() {
    let weights = |set: &[&str]| {
        let desk = Desk::new(set);
        desk.finish();
        let found = desk.found();
        found.into_iter().find(|row| row.starts_with("search 4 ")).unwrap()
    };
    let adam = "optimizer.joint.timestep_algorithm=\"adam\"";
    assert_eq!(weights(&[]), weights(&["optimizer.joint.timestep_algorithm=\"sgd\""]));
    assert_ne!(weights(&[]), weights(&[adam]));
}
