//! Rates of layers that a search finds under one total.

use litesnn_framework::network::Design;
use litesnn_framework::record::{self, LayerRow, files};

use crate::desk::Desk;

/// Logits that move far in a few steps, and a cost that differs from layer to layer.
const RATES: [&str; 4] = [
    "compressor=[{ gaussian-quantize = { bits = [1, 2, 4] } }, { score-prune = { rate = 0.7, rates = \"per-layer\" } }]",
    "optimizer.joint.compression_rate=0.5",
    "optimizer.joint.lambda_compute=1e-3",
    "space.spike-dhs.channels={ search = 2, retrain = 3 }",
];

fn body(desk: &Desk) -> Vec<LayerRow> {
    let layers: Vec<LayerRow> = record::read(&desk.trial().join(files::LAYERS)).unwrap();
    layers.into_iter().filter(|row| row.place.starts_with("cell")).collect()
}

/// What a search has decided is what the record has: other fractions in other layers, and of all
/// together 0.3. Stem and classifier have the rate.
#[test]
fn layers_have_rates_of_their_own_and_together_the_rate() {
    let desk = Desk::new(&RATES);
    desk.finish();
    let rows = body(&desk);
    let (all, kept) = rows.iter().fold((0, 0), |(all, kept), row| (all + row.weights, kept + row.kept_weights));
    assert_eq!(kept, all - (0.7 * all as f64).floor() as i64, "of {all}");
    let densities: Vec<f64> = rows.iter().map(|row| row.kept_weights as f64 / row.weights as f64).collect();
    let spread = densities.iter().copied().fold(0.0, f64::max) - densities.iter().copied().fold(1.0, f64::min);
    assert!(spread > 0.05, "{densities:?}");
    let design = Design::read(&desk.trial().join(files::DESIGN)).unwrap();
    let rates = &design.compression["score-prune"];
    // The layers of the design stand in it in the same order of density.
    for (row, density) in rows.iter().zip(&densities) {
        for (other, its) in rows.iter().zip(&densities) {
            let [decided, of_other] = [row, other].map(|row| 1.0 - rates[&row.layer].rate.unwrap());
            let rounding = 1.0 / row.weights as f64 + 1.0 / other.weights as f64;
            assert!(decided <= of_other || *density > its - rounding, "{} {}", row.layer, other.layer);
        }
    }
    let layers: Vec<LayerRow> = record::read(&desk.trial().join(files::LAYERS)).unwrap();
    for row in layers.iter().filter(|row| !row.place.starts_with("cell")) {
        assert_eq!(row.kept_weights, row.weights - (0.7 * row.weights as f64).floor() as i64, "{}", row.layer);
    }
}

#[test]
fn interrupted_before_every_stage_it_finds_the_same() {
    assert_eq!(Desk::interruptions(&RATES), 1, "search, retrain");
}

/// Every step of `sequential` has its network: the final weights are those of the rates that were
/// decided.
#[test]
fn weights_that_a_search_ends_with_have_the_rates_that_it_decided() {
    let order = "optimizer={ sequential = { compression_rate = 0.5 } }";
    let (whole, parts) = (Desk::new(&[RATES[0], order]), Desk::new(&[RATES[0], order]));
    whole.finish();
    let (all, kept) = body(&whole).iter().fold((0, 0), |(all, kept), row| (all + row.weights, kept + row.kept_weights));
    assert_eq!(kept, all - (0.7 * all as f64).floor() as i64, "of {all}");
    parts.finish_stage_by_stage();
    assert_eq!(parts.found(), whole.found());
}

/// A design of layers with rates of their own is none of one rate.
#[test]
fn a_design_with_rates_of_layers_is_refused_where_all_have_one() {
    let desk = Desk::new(&RATES);
    desk.finish();
    let source = format!("design={{ file = \"{}\" }}", desk.trial().join(files::DESIGN).display());
    let compressors = RATES[0].replace(", rates = \"per-layer\"", "");
    let refused = Desk::taking(&[&compressors, RATES[3], &source]).try_finish().unwrap_err();
    assert!(refused.contains("the design was found at rate 0."), "{refused}");
    let taken = Desk::taking(&[RATES[0], RATES[3], &source]);
    taken.finish();
    let kept = |desk: &Desk| body(desk).iter().map(|row| row.kept_weights).collect::<Vec<_>>();
    assert_eq!(kept(&taken), kept(&desk));
}
