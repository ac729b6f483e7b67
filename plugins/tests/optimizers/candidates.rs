//! Searches that try candidates: what they try, what they keep, and what they refuse.

use litesnn_framework::network::Design;
use litesnn_framework::record::{self, CandidateRow, EpochRow, StageRow, files};

use crate::desk::Desk;

const FIXED: &str = "timesteps={ fixed = { steps = 2 } }";

fn desk(optimizer: &str, more: &[&str]) -> Desk {
    let optimizer = format!("optimizer={{ {optimizer} }}");
    Desk::new(&[&[FIXED, "search.epochs=1", "retrain.epochs=1", &optimizer], more].concat())
}

fn candidates(desk: &Desk) -> Vec<CandidateRow> {
    record::read(&desk.trial().join(files::CANDIDATES)).unwrap()
}

/// All that is believed, in words that differ where one bit does, times aside.
fn believed(desk: &Desk) -> Vec<String> {
    let of = |row: CandidateRow| {
        let numbers = [
            row.validation_loss,
            row.validation_accuracy,
            row.spikes,
            row.bit_syn_ops,
            row.model_size_bytes,
            row.fitness,
        ];
        let bits: Vec<String> = numbers.iter().map(|value| format!("{:016x}", value.to_bits())).collect();
        format!("{} {} {} {}", row.candidate, row.epochs, bits.join(" "), row.design)
    };
    candidates(desk).into_iter().map(of).collect()
}

/// Interrupted between any two candidates, a search believes what it did without an interruption.
#[test]
fn an_interrupted_search_believes_what_an_uninterrupted_one_does() {
    for optimizer in [
        "evolution = { fitness = \"training\", pool = 2, rounds = 2, budget = { evaluations = 4 } }",
        "evolution = { fitness = \"supernet\", pool = 2, rounds = 2, budget = { evaluations = 4 } }",
        "random-search = { budget = { evaluations = 3 } }",
        "ranking-quality = { architectures = 2, training_epochs = 1 }",
        "ranking-quality = { architectures = 2, training_epochs = 1, belief = { training-free = { images = 4 } } }",
    ] {
        let (whole, parts) = (desk(optimizer, &[]), desk(optimizer, &[]));
        whole.finish();
        // Before each stage but the first.
        let stages = whole.stages();
        assert_eq!(parts.finish_stage_by_stage(), stages - 1, "{optimizer}");
        assert_eq!(parts.found(), whole.found(), "{optimizer}");
        assert_eq!(believed(&parts), believed(&whole), "{optimizer}");
    }
}

/// A cell of two nodes has five architectures: one way to drive the first node, five to drive the
/// second. So each is tried once, whatever the budget.
#[test]
fn nothing_is_tried_twice_and_a_small_space_is_exhausted() {
    for optimizer in [
        "evolution = { fitness = \"supernet\", pool = 3, rounds = 9, budget = { evaluations = 50 } }",
        "random-search = { fitness = \"supernet\", budget = { evaluations = 50 } }",
    ] {
        let desk = desk(optimizer, &[]);
        desk.finish();
        let rows = candidates(&desk);
        let design = |row: &CandidateRow| Design::parse(&row.design, "candidates.parquet".as_ref()).unwrap();
        let mut tried: Vec<_> = rows.iter().map(|row| format!("{:?}", design(row).edges)).collect();
        tried.sort();
        tried.dedup();
        assert_eq!((rows.len(), tried.len()), (5, 5), "{optimizer}");
        let best = rows.iter().max_by(|a, b| a.fitness.total_cmp(&b.fitness)).unwrap();
        let first = rows.iter().find(|row| row.fitness == best.fitness).unwrap();
        let found = Design::read(&desk.trial().join(files::DESIGN)).unwrap();
        assert_eq!(found.edges, design(first).edges, "{optimizer}");
        assert_eq!(found.compression, design(first).compression, "{optimizer}");
    }
}

/// Of a space with five architectures, all five; the design is the one that is believed best.
#[test]
fn each_architecture_is_believed_first_and_trained_afterwards_and_the_same_for_every_seed() {
    let optimizer = "ranking-quality = { architectures = 9, training_epochs = 2 }";
    let tried = |seed: &str| {
        let desk = desk(optimizer, &[seed]);
        desk.finish();
        let rows = candidates(&desk);
        let (paths, networks) = rows.split_at(5);
        assert!(paths.iter().all(|row| row.epochs == 0) && networks.iter().all(|row| row.epochs == 2), "{seed}");
        let edges = |row: &CandidateRow| Design::parse(&row.design, "candidates.parquet".as_ref()).unwrap().edges;
        let all = |rows: &[CandidateRow]| rows.iter().map(edges).collect::<Vec<_>>();
        assert_eq!(all(paths), all(networks), "{seed}");
        let best = paths.iter().map(|row| row.validation_accuracy).fold(0.0, f64::max);
        let first = paths.iter().find(|row| row.validation_accuracy == best).unwrap();
        assert_eq!(Design::read(&desk.trial().join(files::DESIGN)).unwrap().edges, edges(first), "{seed}");
        all(paths)
    };
    assert_eq!(tried("experiment.seeds=[0]"), tried("experiment.seeds=[1]"));
}

/// Guards candidates, scores and traces that cost nothing: a search that trains little looked free.
#[test]
fn designing_costs_what_deciding_takes_and_after_interruptions_too() {
    for (optimizer, decides) in [
        ("evolution = { fitness = \"supernet\", pool = 2, rounds = 2, budget = { evaluations = 4 } }", true),
        ("random-search = { budget = { evaluations = 2 } }", true),
        ("training-free = { architectures = 3, images = 4 }", true),
        ("hessian-bits = { draws = 1 }", true),
        ("joint = {}", false),
    ] {
        let desk = desk(optimizer, &["retrain.epochs=2"]);
        desk.finish_stage_by_stage();
        let stages: Vec<StageRow> = record::read(&desk.trial().join(files::STAGES)).unwrap();
        let of = |named: &dyn Fn(&StageRow) -> bool| -> f64 {
            stages.iter().filter(|row| named(row)).map(|row| row.device_seconds).sum()
        };
        let (search, deciding) = (of(&|row| row.stage.is_search()), of(&|row| row.stage.name() == "deciding"));
        assert!((desk.outcome().search_device_seconds - search).abs() < 1e-9, "{optimizer}: {stages:?}");
        assert_eq!(deciding > 0.0, decides, "{optimizer}: {stages:?}");
        let tried = desk.trial().join(files::CANDIDATES);
        let measured: f64 = match tried.exists() {
            true => candidates(&desk).iter().map(|row| row.device_seconds).sum(),
            false => 0.0,
        };
        assert!(deciding > measured - 1e-9, "{optimizer}: {deciding} s, and the candidates took {measured}");
    }
}

/// Of a space with five architectures `training-free` draws each many times, and takes the one that
/// `ranking-quality` believes best by the same score.
#[test]
fn a_score_before_training_is_that_of_the_training_free_search() {
    let ranking = "ranking-quality = { architectures = 5, training_epochs = 1, belief = { training-free = SCORE } }";
    for score in ["images = 4, batches = 1", "images = 4, batches = 2, distance = \"hamming\""] {
        let believed = desk(&ranking.replace("SCORE", &format!("{{ {score} }}")), &[]);
        let chosen = desk(&format!("training-free = {{ architectures = 60, {score} }}"), &["search.epochs=1"]);
        believed.finish();
        chosen.finish();
        let rows = candidates(&believed);
        let (beliefs, trainings) = rows.split_at(5);
        assert!(beliefs.iter().all(|row| row.epochs == 0 && row.validation_accuracy.is_nan()), "{score}");
        assert!(trainings.iter().all(|row| row.epochs == 1 && row.fitness == row.validation_accuracy), "{score}");
        let best = (0..5).rev().max_by(|a, b| beliefs[*a].fitness.total_cmp(&beliefs[*b].fitness)).unwrap();
        let log = std::fs::read_to_string(chosen.trial().join(files::LOG)).unwrap();
        let said = format!("has the best score: {:.3}", beliefs[best].fitness);
        assert!(log.contains(&said), "{score}: not `{said}` in {log}");
        let edges = |folder: &Desk| Design::read(&folder.trial().join(files::DESIGN)).unwrap().edges;
        assert_eq!(edges(&chosen), edges(&believed), "{score}");
        let trained = Design::parse(&trainings[best].design, "candidates.parquet".as_ref()).unwrap();
        let found = Design::read(&believed.trial().join(files::DESIGN)).unwrap();
        assert_eq!((found.edges, found.compression), (trained.edges, trained.compression), "{score}");
    }
}

/// The fitness of the record is that of its accuracies and costs.
#[test]
fn fitness_is_made_of_what_the_table_has() {
    let desk = desk("random-search = { fitness = \"supernet\", lambda = -0.5, budget = { evaluations = 4 } }", &[]);
    desk.finish();
    let rows = candidates(&desk);
    let average = rows.iter().map(|row| row.spikes.max(1.0)).sum::<f64>() / rows.len() as f64;
    for row in &rows {
        let expected = row.validation_accuracy * (average / row.spikes.max(1.0)).sqrt();
        assert!((row.fitness - expected).abs() < 1e-12, "{} and {expected}", row.fitness);
        assert!(row.spikes > 0.0 && row.bit_syn_ops > 0.0 && row.model_size_bytes > 0.0, "{row:?}");
    }
}

/// A trained candidate is a stage of the trial, and the epochs of all of them are the search's.
#[test]
fn a_trained_candidate_has_its_epochs_in_the_history() {
    let desk = desk("random-search = { budget = { epochs = 5 } }", &["search.epochs=2"]);
    desk.finish();
    let history: Vec<EpochRow> = record::read(&desk.trial().join(files::HISTORY)).unwrap();
    let stages: Vec<String> = history.iter().map(|row| format!("{} {}", row.stage, row.epoch)).collect();
    assert_eq!(stages, ["candidate 1 1", "candidate 1 2", "candidate 2 1", "candidate 2 2", "retrain 1"]);
    for row in candidates(&desk) {
        let last = history.iter().rfind(|epoch| epoch.stage.name() == format!("candidate {}", row.candidate)).unwrap();
        assert_eq!((row.epochs, row.validation_accuracy), (2, last.validation_accuracy));
    }
    assert!(!desk.trial().join(files::WEIGHTS).exists(), "the weights of which candidate?");
}

#[test]
fn what_cannot_end_or_begin_is_refused_before_anything_runs() {
    let refused = |optimizer: &str| desk(optimizer, &["search.epochs=3"]).plan().unwrap_err();
    let empty = refused("evolution = { budget = {} }");
    assert!(empty.starts_with("optimizer.evolution.budget: the budget is empty"), "{empty}");
    let endless = refused("random-search = { fitness = \"supernet\", budget = { epochs = 9 } }");
    assert!(endless.contains("not trained, so that epochs never end the search"), "{endless}");
    let small = refused("random-search = { budget = { epochs = 2 } }");
    assert!(small.contains("a budget of 2 epochs has no room for the first 3"), "{small}");
    let left = refused("random-search = { at_random = [\"A\"] }");
    assert!(left.contains("the architecture is what the search tries out"), "{left}");
}
