//! Where events would win: the counting of a layer's spikes beside loops over its spikes.
//!
//! The layer is one of level 1. For each spike and tap, a loop adds the levels of all outputs, side
//! by side in i16, to the sums of a pixel, `[T, H, W, O]`; another adds those of the kept weights
//! alone. Lists of spikes are there before.

use std::io::Write;
use std::time::Duration;

use litesnn_engine::{Current, Image, Logits, Made, Map, Network, Prepared, Processor, Source, Synapses, Values};

use crate::network::{Draw, MEDIUM, NEURON, image};
use crate::{least, now};

/// The table: milliseconds of the layer at several firing rates.
pub fn events(out: &mut impl Write) -> std::io::Result<()> {
    const SIDE: usize = 16;
    let (inputs, outputs, timesteps) = (288, 96, MEDIUM.timesteps);
    writeln!(out, "| firing rate | counting, ms | events, ms | events, zeros left out, ms |\n|---|---|---|---|")?;
    for rate in [0.01, 0.02, 0.05, 0.1, 0.2, 0.3] {
        let mut draw = Draw(3);
        let layer = draw.convolution("layer".into(), Source::Map(0), [outputs, inputs, 3, 3], 4, MEDIUM.kept);
        let Values::Levels(levels) = &layer.values else { unreachable!("its weights have levels") };
        let spikes: Vec<bool> = (0..timesteps * inputs * SIDE * SIDE).map(|_| draw.unit() < rate).collect();
        // Of each input and tap, the levels of all outputs, and those of the kept weights alone.
        let level = |from: usize, tap: usize, to: usize| levels[(to * inputs + from) * 9 + tap];
        let all = (0..inputs * 9).map(|place| (0..outputs).map(|to| level(place / 9, place % 9, to)).collect());
        let dense: Vec<Vec<i16>> = all.collect();
        let kept = |row: &Vec<i16>| {
            let kept = row.iter().enumerate().filter(|(_, level)| **level != 0);
            kept.map(|(to, level)| (to as u16, *level)).collect()
        };
        let sparse: Vec<Vec<(u16, i16)>> = dense.iter().map(kept).collect();
        // Place of the spike's input and tap, and of the sums that it reaches.
        let mut reached: Vec<(u32, u32)> = Vec::new();
        for place in (0..spikes.len()).filter(|place| spikes[*place]) {
            let (t, from) = (place / (inputs * SIDE * SIDE), place / (SIDE * SIDE) % inputs);
            for tap in 0..9 {
                let y = (place / SIDE % SIDE + 1).wrapping_sub(tap / 3);
                let x = (place % SIDE + 1).wrapping_sub(tap % 3);
                if y < SIDE && x < SIDE {
                    reached.push(((from * 9 + tap) as u32, (((t * SIDE + y) * SIDE + x) * outputs) as u32));
                }
            }
        }
        let mut sums = vec![0i16; timesteps * SIDE * SIDE * outputs];
        let by_rows = least(|| {
            sums.fill(0);
            add_rows(&reached, &dense, &mut sums);
        });
        let wanted = sums.clone();
        let by_weights = least(|| {
            sums.fill(0);
            for (row, at) in &reached {
                let sums = &mut sums[*at as usize..][..outputs];
                sparse[*row as usize].iter().for_each(|(to, level)| sums[usize::from(*to)] += level);
            }
        });
        assert_eq!(sums, wanted, "both loops count the same");
        let counting = counting(layer, &mut draw);
        let milliseconds = [counting, by_rows, by_weights].map(|time| format!("{:.2}", time.as_secs_f64() * 1e3));
        writeln!(out, "| {:.0} % | {} |", 100.0 * rate, milliseconds.join(" | "))?;
    }
    writeln!(out)
}

/// The time that the kernel counts for a layer on a map of 16x16.
fn counting(layer: Synapses, draw: &mut Draw) -> Duration {
    let [outputs, inputs, ..] = layer.shape;
    let stem = draw.convolution("stem".into(), Source::Image, [inputs, 3, 3, 3], 4, 1.0);
    let spikes = |name: &str, channels: usize, layer: Synapses| {
        let made = Made::Spikes { neuron: NEURON, currents: vec![Current::Synapses(layer)] };
        Map { name: name.into(), shape: [channels, 16, 16], made }
    };
    let flat = Map { name: "flat".into(), shape: [outputs * 256, 1, 1], made: Made::Flat(1) };
    let weights = Values::Levels(vec![0; outputs * 256]);
    let shape = [1, outputs * 256, 1, 1];
    let head =
        Synapses { name: "head".into(), of: Source::Map(2), shape, padding: 0, values: weights, ..layer.clone() };
    let head = Synapses { scale: vec![], bias: vec![], ..head };
    let network = Network {
        image: Image { shape: [3, 16, 16], mean: vec![0.5; 3], std: vec![0.25; 3] },
        classes: vec!["one".into()],
        timesteps: MEDIUM.timesteps,
        maps: vec![spikes("stem", inputs, stem), spikes("layer", outputs, layer), flat],
        logits: Logits { synapses: head, neuron: None, votes: 1 },
        exit: None,
    };
    network.check().expect("it is sound");
    let prepared = Prepared::new(&network);
    let (mut arena, image) = (prepared.arena(), image(7)[..3 * 256].to_vec());
    let mut best = u64::MAX;
    least(|| {
        let (_, times) = prepared.run_timed(&mut arena, &image, now).expect("an image of the right size");
        best = best.min(times.layers[1].sums);
    });
    Duration::from_nanos(best)
}

/// Adds rows of levels to sums, by the widest instructions that the kernel has, too.
fn add_rows(reached: &[(u32, u32)], rows: &[Vec<i16>], sums: &mut [i16]) {
    #[inline(always)]
    fn add(reached: &[(u32, u32)], rows: &[Vec<i16>], sums: &mut [i16]) {
        for (row, at) in reached {
            let row = &rows[*row as usize];
            sums[*at as usize..][..row.len()].iter_mut().zip(row).for_each(|(sum, level)| *sum += level);
        }
    }
    #[cfg(target_arch = "x86_64")]
    if Processor::Avx512.is_here() {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        unsafe fn wide(reached: &[(u32, u32)], rows: &[Vec<i16>], sums: &mut [i16]) {
            add(reached, rows, sums);
        }
        // SAFETY: the processor has these instructions.
        return unsafe { wide(reached, rows, sums) };
    }
    add(reached, rows, sums);
}
