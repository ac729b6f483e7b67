//! How much memory a run takes, told from shapes before anything is allocated.
//!
//! A file of a few bytes can claim maps of any size, a T of any length and windows of any width. So
//! its reader adds up what the reference and the kernel would allocate, and refuses what is over
//! its limit. Sums here stop at the largest `usize` in place of wrapping around.

use crate::bit_sliced::Prepared;
use crate::network::Network;
use crate::reference::Reference;

impl Network {
    /// Bytes that either program allocates at most to be prepared and to run an image on one
    /// thread, whichever takes more. The network itself is not among them. It has to be sound.
    pub fn memory(&self) -> usize {
        Reference::memory(self).max(Prepared::memory(self))
    }

    /// Bytes of what a run hands back and of lists with an entry for each map or layer.
    pub(crate) fn outcome_memory(&self) -> usize {
        let outputs = self.logits.synapses.shape[0];
        // Logits and their list, which lies in two places as it doubles; the numbers of early exit,
        // in f64.
        let logits = product(&[self.timesteps, 96 + 4 * self.classes.len()]) + 64 * outputs;
        // Operations, and additions of each timestep where loops count them.
        let layers = product(&[256 + 24 * self.timesteps, self.layers().count()]);
        sum([logits, product(&[256, self.maps.len()]), layers])
    }
}

/// The product of all factors, or the largest number.
pub(crate) fn product(factors: &[usize]) -> usize {
    factors.iter().fold(1, |all, factor| all.saturating_mul(*factor))
}

/// The sum of all terms, or the largest number.
pub(crate) fn sum(terms: impl IntoIterator<Item = usize>) -> usize {
    terms.into_iter().fold(0, usize::saturating_add)
}
