//! Whether the layers of a trial are large enough to be divided among threads.
//!
//! Threads that share a layer sleep while they wait for each other, and to wake them costs as much
//! for a small layer as for a large one. So n threads take
//!
//! ```text
//! t(1) = work                   work = P E N T (maps · 10 ns + MACs · 36 ps)
//! t(n) = work / n + waiting     waiting = P E N/B layers · 0.7 ms
//! ```
//!
//! for a stage of E epochs of N images in batches of B and P passes over each, where `maps` are the
//! numbers in the output maps of all layers and `MACs` the multiply-accumulate operations of one
//! image and timestep. The constants were measured on two cores (docs/SPEED.md). A trial has one
//! number of threads from its beginning to its end, so that its stages are counted together.

use super::Needs;
use super::survey::most_timesteps;
use crate::ground::counted;
use crate::ground::threads::Threads;
use crate::manifest::Manifest;
use crate::network::NetworkSize;

/// Passes of a search over a batch: the weights', and the others'.
pub(super) const SEARCH_PASSES: f64 = 2.0;
/// Seconds of one thread for a number of an output map, forward and backward.
const MAP: f64 = 10e-9;
/// Seconds of one thread for a multiply-accumulate operation, forward and backward.
const MAC: f64 = 36e-12;
/// Seconds that the threads of a pass wait for each other at a layer.
const WAIT: f64 = 0.7e-3;

/// The threads of a trial on `images` training images that begins on a processor: those that are
/// there, or one alone where they would wait longer for each other than they save. What somebody
/// asked for stays.
pub(super) fn divided(threads: &Threads, manifest: &Manifest, needs: &Needs, images: usize) -> Threads {
    let retrain = (1.0, &manifest.retrain, &needs.network, most_timesteps(manifest));
    let search = manifest.search.as_ref().zip(needs.supernet.as_ref());
    let search = search.map(|(training, size)| (SEARCH_PASSES, training, size, manifest.timesteps.max()));
    let saved: f64 = search
        .into_iter()
        .chain([retrain])
        .map(|(passes, training, size, timesteps)| {
            let images = training.samples.map_or(images, |samples| images.min(samples.get()));
            let saved = saved_by_epoch(threads.count, images, training.batch_size, timesteps, size);
            passes * training.epochs as f64 * saved
        })
        .sum();
    if threads.asked || threads.count == 1 || saved > 0.0 {
        return threads.clone();
    }
    let reason = format!("its layers are too small to be divided among {}", counted(threads.count, "thread"));
    Threads { count: 1, asked: false, reason }
}

/// t(1) - t(n) of an epoch with one pass over each batch, in seconds.
fn saved_by_epoch(threads: u16, images: usize, batch: usize, timesteps: i64, size: &NetworkSize) -> f64 {
    let work = (images as f64) * (timesteps as f64) * (size.maps * MAP + size.macs * MAC);
    let waiting = images.div_ceil(batch.max(1)) as f64 * (size.layers as f64) * WAIT;
    work * (1.0 - 1.0 / f64::from(threads)) - waiting
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The networks of docs/SPEED.md, by batch: on which side of one thread two threads were.
    #[test]
    fn steps_that_were_slower_on_two_threads_are_not_divided() {
        let size = |layers, maps, macs| NetworkSize {
            weights: 0,
            others: 0,
            buffers: 0,
            layers,
            macs,
            maps,
            largest_place: 0.0,
            fused: true,
        };
        // Two convolutions of 32 channels at 28 x 28 and 14 x 14, and a classifier.
        let wide = size(3, 32.0 * 980.0 + 10.0, 32.0 * 32.0 * 9.0 * 196.0);
        let narrow = size(3, 2.0 * 980.0 + 10.0, 2.0 * 2.0 * 9.0 * 196.0);
        let saved = |size: &NetworkSize, batch| saved_by_epoch(2, 10 * batch, batch, 4, size) / 10.0;
        assert!(saved(&wide, 100) > 0.05 && saved(&wide, 20) > 0.01);
        assert!(saved(&narrow, 20) < 0.0);
        // No number of threads saves more than the whole work.
        assert!(saved_by_epoch(64, 20, 20, 4, &narrow) < 0.0);
        // Twice the epoch saves twice as much.
        assert_eq!(saved_by_epoch(2, 40, 20, 4, &wide), 2.0 * saved_by_epoch(2, 20, 20, 4, &wide));
    }
}
