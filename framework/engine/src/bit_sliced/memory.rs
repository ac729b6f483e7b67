//! What the kernel allocates at most, told before it allocates: the arena, lists of weights, and
//! what is there for a while.

use alloc::vec;

use super::neurons::{Kept, Tiles};
use super::planes::{Taps, row_bytes};
use super::rows::Rows;
use super::{Prepared, Way};
use crate::memory::{product, sum};
use crate::network::{Current, Network, Synapses, Values};
use crate::reference::size;

/// Bytes of eight currents in f32, which stand for a byte of a row of spikes.
const OF_BYTE: usize = 32;
/// Bytes of all that is known of a map and of its currents, however small they are.
const ENTRY: usize = 3 << 9;

impl Prepared<'_> {
    /// Bytes that [`new`](Prepared::new) of a sound network and a run on one thread allocate at
    /// most.
    pub fn memory(network: &Network) -> usize {
        let plan = Prepared::plan(network, Prepared::usual_group(network));
        let (mut stays, mut listing, mut laying) = (plan.copies, 0usize, 0usize);
        let mut stay = |bytes: usize| stays = stays.saturating_add(bytes);
        for (index, (ready, map)) in plan.maps.iter().zip(&network.maps).enumerate() {
            let [bits, numbers, kept] = plan.lengths(index);
            stay(sum([bits, product(&[4, numbers]), product(&[size_of::<Kept>(), kept])]));
            let [channels, height, width] = map.shape;
            let currents = product(&[OF_BYTE, channels, height, row_bytes(width)]);
            let mut by_loops = 0usize;
            for (way, current) in ready.currents.iter().zip(map.made.currents()) {
                match way {
                    Way::Counted { taps, .. } => {
                        let taps = &plan.taps[*taps].0;
                        let [lists, making] = lists(current, taps);
                        // Kept weights of each input, and how many of them spike.
                        let inputs = product(&[12, taps.input[0], taps.kernel[0], taps.kernel[1]]);
                        stay(sum([lists, inputs]));
                        listing = listing.max(making);
                    }
                    Way::Constant => {
                        stay(currents);
                        laying = laying.max(product(&[4, height, width]));
                    }
                    // In the order of rows, and a timestep as it was computed and divided.
                    Way::Plain => {
                        by_loops = by_loops.saturating_add(product(&[plan.group + 2, currents]));
                    }
                }
            }
            laying = laying.max(by_loops);
        }
        let scratch = plan.maps.iter().filter_map(|map| map.tiles.as_ref()).map(Tiles::scratch).max();
        let running = sum([laying, scratch.unwrap_or(0), product(&[4, size(network.image.shape)])]);
        let entries = product(&[ENTRY, network.maps.len() + network.layers().count()]);
        // Lists are made before anything runs.
        sum([stays, listing.max(running), entries, network.outcome_memory()])
    }
}

/// Bytes at most of the lists of a current, and of what is there while they are made.
fn lists(current: &Current, taps: &Taps) -> [usize; 2] {
    let [lists, making] = match current {
        Current::Synapses(Synapses { values: Values::Levels(levels), shape, .. }) => Rows::most_bytes(levels, shape[0]),
        // A one for each tap of a channel.
        _ => {
            let taps_of_channel = vec![1; taps.kernel[0] * taps.kernel[1]];
            Rows::most_bytes(&taps_of_channel, 1).map(|bytes| product(&[taps.input[0], bytes]))
        }
    };
    // The levels of ones, and the addresses of a row's taps.
    [lists, sum([making, product(&[8, taps.input[0], taps.kernel[0], taps.kernel[1]])])]
}
