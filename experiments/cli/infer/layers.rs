//! `litesnn infer --layers`: where the time of an image goes.
//!
//! A row is a layer: how the engine computes its currents, the time of them, its share of the time
//! of all rows, the spikes a timestep of each neuron that it drives, and its synaptic operations,
//! counted. The last rows are what belongs to no layer. Numbers are means over the images. With
//! several threads, times are those of all threads together. The clock is asked often, and so an
//! image takes a little longer than without it.

use std::sync::OnceLock;
use std::time::Instant;

use litesnn_framework::network::engine::{Current, Made, Network, Operations, Outcome, Prepared, Times};
use serde::Serialize;

use crate::display::table;
use crate::output::out;

/// The sums over all images so far.
#[derive(Default)]
pub struct Ledger {
    images: u64,
    timesteps: u64,
    times: Times,
    /// Of each map.
    spikes: Vec<u64>,
    operations: Vec<Operations>,
}

/// A layer, or what belongs to none.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<String>,
    milliseconds: f64,
    share: f64,
    /// Spikes of a neuron at a timestep.
    #[serde(skip_serializing_if = "Option::is_none")]
    firing_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syn_ops: Option<f64>,
}

/// Nanoseconds since the first call.
pub fn nanoseconds() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

impl Ledger {
    /// Adds an image.
    pub fn add(&mut self, outcome: &Outcome, times: &Times) {
        self.images += 1;
        self.timesteps += outcome.timesteps as u64;
        self.times.layers.resize(times.layers.len(), Default::default());
        self.spikes.resize(outcome.spikes.len(), 0);
        self.operations.resize(outcome.layers.len(), Operations::default());
        for (sum, layer) in self.times.layers.iter_mut().zip(&times.layers) {
            sum.sums += layer.sums;
            sum.currents += layer.currents;
        }
        self.times.scaled += times.scaled;
        self.times.neurons += times.neurons;
        self.times.maps += times.maps;
        self.times.counts += times.counts;
        self.spikes.iter_mut().zip(&outcome.spikes).for_each(|(sum, spikes)| *sum += spikes);
        for (sum, layer) in self.operations.iter_mut().zip(&outcome.layers) {
            sum.additions += layer.additions;
            sum.multiplications += layer.multiplications;
        }
    }

    /// The rows of a network's layers, and then of what belongs to none.
    pub fn rows(&self, network: &Network, prepared: &Prepared) -> Vec<Row> {
        let images = self.images.max(1) as f64;
        let total = self.times.total().max(1) as f64;
        let row = |name: &str, nanoseconds: u64| Row {
            name: name.to_owned(),
            form: None,
            milliseconds: nanoseconds as f64 / 1e6 / images,
            share: nanoseconds as f64 / total,
            firing_rate: None,
            syn_ops: None,
        };
        let rate = |map: usize| {
            let neurons = network.maps[map].shape.iter().product::<usize>() as f64;
            self.spikes[map] as f64 / neurons / self.timesteps.max(1) as f64
        };
        // Logits drive no map.
        let driven = network.maps.iter().enumerate().flat_map(|(index, map)| {
            let currents: &[Current] = if let Made::Spikes { currents, .. } = &map.made { currents } else { &[] };
            currents.iter().filter(|current| matches!(current, Current::Synapses(_))).map(move |_| Some(index))
        });
        let layers = network.layers().zip(driven.chain([None])).zip(prepared.forms());
        let mut rows: Vec<Row> = layers
            .zip(self.times.layers.iter().zip(&self.operations))
            .map(|((((layer, _), map), form), (time, operations))| Row {
                form: Some(form.to_string()),
                firing_rate: map.map(rate),
                syn_ops: Some((operations.additions + operations.multiplications) as f64 / images),
                ..row(&layer.name, time.sums + time.currents)
            })
            .collect();
        let Times { scaled, neurons, maps, counts, .. } = self.times;
        let rest = [("means", scaled), ("neurons", neurons), ("maps", maps), ("counting operations", counts)];
        rows.extend(rest.map(|(name, time)| row(name, time)));
        rows
    }
}

/// Prints the rows.
pub fn print(rows: &[Row]) {
    let mut table = table(["layer", "form", "ms", "share", "firing rate", "SynOps"]);
    for row in rows {
        table.add_row([
            row.name.clone(),
            row.form.clone().unwrap_or_default(),
            format!("{:.3}", row.milliseconds),
            format!("{:.1} %", 100.0 * row.share),
            row.firing_rate.map(|rate| format!("{:.1} %", 100.0 * rate)).unwrap_or_default(),
            row.syn_ops.map(|count| format!("{count:.0}")).unwrap_or_default(),
        ]);
    }
    for column in 2..6 {
        let column = table.column_mut(column).expect("the header has it");
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    out!("\n{table}");
}
