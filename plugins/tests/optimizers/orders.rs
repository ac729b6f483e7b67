//! `sequential`, in every order of A, P, Q and T.

use litesnn_framework::ground::{Build, Parameters};
use litesnn_framework::network::TimestepSearcher;
use tch::Device;

use crate::desk::Desk;

/// Lambdas and rates at which a few steps decide otherwise than the noise.
const DECISIVE: [&str; 4] = [
    "optimizer.sequential.lambda_compute=1e-2",
    "optimizer.sequential.timestep_rate=5.0",
    "optimizer.sequential.compression_rate=0.5",
    "optimizer.sequential.architecture_rate=0.5",
];

fn desk(order: &str, more: &[&str]) -> Desk {
    let letters: Vec<String> = order.chars().map(|letter| format!("\"{letter}\"")).collect();
    let order = format!("optimizer.sequential.order=[{}]", letters.join(", "));
    let seed = format!("experiment.seeds=[{}]", seed());
    Desk::new(&[&DECISIVE[..], &[order.as_str(), seed.as_str()], more].concat())
}

/// A seed whose untrained timestep searcher does not decide for one timestep, as all trained ones
/// here do.
fn seed() -> u64 {
    (0..).find(|seed| untrained(*seed) != 1).expect("one of four is rare enough")
}

fn untrained(seed: u64) -> i64 {
    let settings = serde_json::json!({ "compressive": { "max": 4, "warmup": 1 } });
    let searcher: Box<dyn TimestepSearcher> = serde_json::from_value(settings).unwrap();
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, seed, Device::Cpu);
    searcher.attach(&mut build.at("timesteps")).unwrap().decide()
}

fn orders_that_begin_with(first: char) -> Vec<String> {
    let others: Vec<char> = "APQT".chars().filter(|letter| *letter != first).collect();
    let places = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    places.iter().map(|places| std::iter::once(first).chain(places.map(|place| others[place])).collect()).collect()
}

/// Guards decisions that live in no checkpoint: each of five stages ends a process.
fn interrupted_before_every_stage_it_finds_the_same(first: char) {
    for order in orders_that_begin_with(first) {
        let (whole, parts) = (desk(&order, &[]), desk(&order, &[]));
        whole.finish();
        let interruptions = parts.finish_stage_by_stage();
        assert!(interruptions >= 4, "{order}: {interruptions} interruptions");
        let (whole_found, parts_found) = (whole.found(), parts.found());
        for (found, expected) in parts_found.iter().zip(&whole_found) {
            assert_eq!(found, expected, "order {order}");
        }
        assert_eq!(parts_found.len(), whole_found.len(), "order {order}");
        // A network that was not trained would decide otherwise.
        assert_eq!(whole.outcome().timesteps, 1, "order {order}");
    }
}

#[test]
fn interrupted_before_every_stage_orders_that_begin_with_a_find_the_same() {
    interrupted_before_every_stage_it_finds_the_same('A');
}

#[test]
fn interrupted_before_every_stage_orders_that_begin_with_p_find_the_same() {
    interrupted_before_every_stage_it_finds_the_same('P');
}

#[test]
fn interrupted_before_every_stage_orders_that_begin_with_q_find_the_same() {
    interrupted_before_every_stage_it_finds_the_same('Q');
}

#[test]
fn interrupted_before_every_stage_orders_that_begin_with_t_find_the_same() {
    interrupted_before_every_stage_it_finds_the_same('T');
}

/// The final networks of two runs have the same layers.
const SAME_EDGES: &str = "optimizer.sequential.at_random=[\"A\"]";

/// How many score tensors of the final network are the same bits at two rates of their descent.
fn alike_at_two_rates(order: &str, more: &[&str]) -> (usize, usize) {
    let [slow, fast] = ["0.001", "1.0"].map(|rate| {
        let rate = format!("optimizer.sequential.compression_rate={rate}");
        let desk = desk(order, &[&[rate.as_str()], more].concat());
        desk.finish();
        desk.tensors()
    });
    let scores: Vec<&String> = slow.keys().filter(|name| name.ends_with("scores")).collect();
    (scores.iter().filter(|name| slow[**name].equal(&fast[**name])).count(), scores.len())
}

/// Guards the masks of a network that is pruned before its architecture is known: they were those
/// of the scores that its random weights begin with.
#[test]
fn masks_are_learned_for_the_final_weights_wherever_p_stands() {
    // One bit-width, so that the rate concerns scores alone.
    let one_width = ["compressor.gaussian-quantize.bits=[4]", SAME_EDGES];
    for order in ["APQT", "PAQT", "PQAT", "QPTA", "TPAQ"] {
        let (alike, all) = alike_at_two_rates(order, &one_width);
        assert!(all > 0 && alike == 0, "order {order}: {alike} of {all} score tensors do not depend on their rate");
    }
}

/// The same for a quantiser that prunes.
#[test]
fn masks_of_branch_wise_are_learned_wherever_q_stands() {
    let branches = ["compressor=[{ branch-wise = { bits = [2], rate = 0.5 } }]", SAME_EDGES];
    for order in ["APQT", "QAPT"] {
        let (alike, all) = alike_at_two_rates(order, &branches);
        // Stem and classifier are pruned by the same scores.
        assert!(all > 0 && alike == 0, "order {order}: {alike} of {all} score tensors do not depend on their rate");
    }
}

/// Q before A: what it decided is what the final network has.
#[test]
fn bits_that_are_decided_before_the_architecture_hold_in_the_final_network() {
    let desk = desk("QAPT", &["optimizer.sequential.lambda_memory=1.0"]);
    desk.finish();
    let design = std::fs::read_to_string(desk.trial().join("design.toml")).unwrap();
    // Memory is all that counts.
    assert_eq!(design.matches("bits = 1").count(), 2, "{design}");
}
