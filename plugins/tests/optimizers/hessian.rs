//! `hessian-bits`: budgets that hold, and the same bits after interruptions.

use litesnn_framework::network::Design;
use litesnn_framework::record::{LayerRow, files};

use crate::desk::Desk;

/// Cells with bits to choose, and two draws on the eight images that there are.
fn desk(settings: &str) -> Desk {
    let optimizer = format!("optimizer={{ hessian-bits = {{ draws = 2, images = 8, {settings} }} }}");
    Desk::new(&[
        "compressor=[{ gaussian-quantize = { bits = [1, 2, 4] } }]",
        "timesteps.compressive.warmup=0",
        "retrain.epochs=3",
        &optimizer,
    ])
}

fn finished(settings: &str) -> Desk {
    let desk = desk(settings);
    desk.finish();
    desk
}

/// Bits and weights of the layers in cells.
fn cells(desk: &Desk) -> Vec<(f64, f64)> {
    let layers: Vec<LayerRow> = litesnn_framework::record::read(&desk.trial().join(files::LAYERS)).unwrap();
    let of_cells = layers.iter().filter(|layer| layer.place.starts_with("cell"));
    of_cells.map(|layer| (layer.bits, layer.weights as f64)).collect()
}

#[test]
fn the_mean_bits_of_the_cells_are_within_the_budget_and_use_it() {
    for budget in [1.0, 2.0, 4.0] {
        let cells = cells(&finished(&format!("budget = {budget:?}")));
        let mean = cells.iter().map(|(bits, weights)| bits * weights).sum::<f64>()
            / cells.iter().map(|(_, weights)| weights).sum::<f64>();
        assert!(mean <= budget + 1e-9, "{mean} bits at a budget of {budget}");
        assert!(budget > 1.0 || mean == 1.0, "{mean} bits at a budget of {budget}");
    }
}

#[test]
fn the_group_of_the_largest_trace_has_the_first_of_the_ranked_bits() {
    let design = Design::read(&finished("ranked_bits = [4, 1]").trial().join(files::DESIGN)).unwrap();
    let bits: Vec<u32> = design.compression["gaussian-quantize"]
        .iter()
        .filter(|(group, _)| group.starts_with("cell"))
        .filter_map(|(_, decision)| decision.bits)
        .collect();
    assert_eq!(bits.iter().filter(|bits| **bits == 4).count(), 1, "{bits:?}");
    assert!(bits.iter().all(|bits| [1, 4].contains(bits)), "{bits:?}");
}

/// Guards draws and buffers: between two stages the traces are estimated again.
#[test]
fn interrupted_before_every_stage_it_finds_the_same() {
    for of in ["memory", "compute"] {
        let settings = format!("budget = 2.0, of = \"{of}\"");
        let (whole, parts) = (finished(&settings), desk(&settings));
        // architecture, train, quantize, timesteps
        assert!(parts.finish_stage_by_stage() >= 3);
        assert_eq!(parts.found(), whole.found(), "{of}");
    }
}
