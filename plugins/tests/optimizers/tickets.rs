//! `lottery-ticket`: what it removes, after interruptions too, and the way of its ticket to other
//! trials.

use std::collections::BTreeSet;

use litesnn_framework::network::{Design, Ticket};
use litesnn_framework::record::{self, EpochRow, LayerRow, files};

use crate::desk::Desk;

/// Two rounds of a few steps in the only cell there is, beside a quantiser that has bits to choose.
const ROUNDS: [&str; 4] = [
    "compressor=[{ gaussian-quantize = { bits = [1, 2, 4] } }, { ticket = {} }]",
    "optimizer={ lottery-ticket = { rounds = 2, rewind_epoch = 1, epochs = \"each\", early_time = 0.9 } }",
    "timesteps.compressive.warmup=0",
    "retrain.epochs=3",
];

fn layers(desk: &Desk) -> Vec<LayerRow> {
    record::read(&desk.trial().join(files::LAYERS)).unwrap()
}

#[test]
fn two_rounds_leave_nine_sixteenths_of_all_weights() {
    let desk = Desk::new(&ROUNDS);
    desk.finish();
    let (mut all, mut kept, mut densities) = (0, 0, Vec::new());
    for layer in layers(&desk) {
        all += layer.weights;
        kept += layer.kept_weights;
        densities.push(layer.kept_weights as f64 / layer.weights as f64);
    }
    let after = |count: i64| count - count / 4;
    assert_eq!(kept, after(after(all)), "of {all}");
    // One threshold for all layers: layers differ.
    let spread = densities.iter().copied().fold(0.0, f64::max) - densities.iter().copied().fold(1.0, f64::min);
    assert!(spread > 0.05, "{densities:?}");
}

/// Guards masks, rewound weights and the timesteps of Early-Time that live in no checkpoint.
#[test]
fn interrupted_before_every_stage_it_finds_the_same() {
    let (whole, parts) = (Desk::new(&ROUNDS), Desk::new(&ROUNDS));
    whole.finish();
    // architecture, early-time, round1, round2, final
    assert!(parts.finish_stage_by_stage() >= 4);
    assert_eq!(parts.found(), whole.found());
    let ticket = |desk: &Desk| std::fs::read(desk.trial().join(files::TICKET)).unwrap();
    assert!(ticket(&parts) == ticket(&whole), "the masks are the same");
}

/// Six epochs are the least; a threshold that no masks come under leaves all of them.
#[test]
fn a_round_ends_when_its_mask_has_settled() {
    let with = |most: &str| {
        let settings = format!("rounds = 2, rewind_epoch = 1, early_time = 0.9, early_bird = {most}");
        let optimizer = format!("optimizer={{ lottery-ticket = {{ {settings} }} }}");
        Desk::new(&[ROUNDS[0], &optimizer, ROUNDS[2], "retrain.epochs=9"])
    };
    let stages = |desk: &Desk| {
        let history: Vec<EpochRow> = record::read(&desk.trial().join(files::HISTORY)).unwrap();
        let count = |stage: &str| history.iter().filter(|row| row.stage.name() == stage).count();
        ["round1", "round2", "final"].map(count)
    };
    let (settled, parts, never) = (with("1.0"), with("1.0"), with("1e-9"));
    settled.finish();
    assert_eq!(stages(&settled), [6, 6, 8]);
    never.finish();
    assert_eq!(stages(&never), [9, 8, 8]);
    assert!(parts.finish_stage_by_stage() >= 3);
    assert_eq!(parts.found(), settled.found());
    let said = Desk::new(&[ROUNDS[0], "optimizer={ lottery-ticket = { early_bird = 0.02, rewind_epoch = 1 } }"]).plan();
    assert!(said.expect_err("four epochs are too few").contains("compares the masks of 6 epochs"));
}

/// A trial that takes the design over is pruned by its ticket from its first step to its last.
#[test]
fn a_ticket_travels_with_its_design_and_a_design_without_it_is_refused() {
    let found = Desk::new(&ROUNDS);
    found.finish();
    let file = found.trial().join(files::DESIGN);
    let design = Design::read(&file).unwrap();
    let taken = |more: &[&str]| {
        let source = format!("design={{ file = \"{}\" }}", file.display());
        let desk = Desk::taking(&[&[ROUNDS[0], source.as_str()], more].concat());
        desk.try_finish().map(|()| desk)
    };
    let desk = taken(&[]).unwrap();
    let kept =
        |desk: &Desk| layers(desk).iter().map(|layer| (layer.layer.clone(), layer.kept_weights)).collect::<Vec<_>>();
    assert_eq!(kept(&desk), kept(&found));
    let own = desk.trial().join(files::DESIGN);
    assert_eq!(Design::read(&own).unwrap().ticket, design.ticket, "the trial's own design has the ticket, too");
    assert!(Ticket::read(&own, design.ticket.as_ref().unwrap()).is_ok());

    let said = taken(&["design.keep=[\"architecture\", \"timesteps\"]"]).err().expect("masks are missing");
    assert!(said.contains("no bits") || said.contains("the design has no ticket"), "{said}");
    let only = "compressor=[{ ticket = {} }]";
    let said = taken(&[only, "design.keep=[\"architecture\", \"timesteps\"]"]).err().expect("masks are missing");
    assert!(said.contains("the design has no ticket"), "{said}");
    std::fs::remove_file(Ticket::beside(&file)).unwrap();
    let said = taken(&["retrain.epochs=1"]).err().expect("the file is gone");
    assert!(said.contains("design.ticket` is not there"), "{said}");
}

/// A ticket of another width, or of more layers than take a mask, is refused by its file.
#[test]
fn a_ticket_of_another_network_is_refused() {
    let found = Desk::new(&ROUNDS);
    found.finish();
    let file = found.trial().join(files::DESIGN);
    let source = format!("design={{ file = \"{}\" }}", file.display());
    let taken = |more: &[&str]| {
        let refused = Desk::taking(&[&[ROUNDS[0], source.as_str()], more].concat()).try_finish();
        refused.expect_err("it is of another network")
    };
    let said = taken(&["space.spike-dhs.channels.retrain=3"]);
    let why = "design.ticket` has a mask of shape [4, 1, 3, 3] for `stem`, whose weights are [6, 1, 3, 3]";
    assert!(said.contains(why), "{said}");
    let said = taken(&["compressor=[{ ticket = {} }]", "space.spike-dhs.cells=[0]"]);
    assert!(said.contains("design.ticket` has a mask for `cell1"), "{said}");
}

/// Guards fifteen trainings that would remove nothing.
#[test]
fn without_a_ticket_the_network_is_trained_once() {
    let desk = Desk::new(&[&["compressor=[{ gaussian-quantize = { bits = [2] } }]"], &ROUNDS[1..]].concat());
    desk.finish();
    let history: Vec<EpochRow> = record::read(&desk.trial().join(files::HISTORY)).unwrap();
    let stages: BTreeSet<&str> = history.iter().map(|row| row.stage.name()).collect();
    assert_eq!(stages.into_iter().collect::<Vec<_>>(), ["architecture", "final"]);
    assert!(layers(&desk).iter().all(|layer| layer.kept_weights == layer.weights));
    assert!(!desk.trial().join(files::TICKET).exists());
    assert!(Design::read(&desk.trial().join(files::DESIGN)).unwrap().ticket.is_none());
}
