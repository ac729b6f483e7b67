//! Taps that are read together.
//!
//! Whether there is a tile at each of them is asked before the first is read, once for all of them.
//! With the feature `std` they are then read without being asked again, which is what Rust calls
//! unsafe. Asking at each in turn takes registers that the counting wants: it makes an image 2 %
//! slower with AVX-512, 6 % with AVX2 and 17 % without either.

use super::lanes::{BYTES, Lanes};

/// Addresses in some bytes, at each of which a tile is.
pub(super) struct Reads<'a, const N: usize> {
    bytes: &'a [u8],
    addresses: &'a [u32; N],
}

impl<'a, const N: usize> Reads<'a, N> {
    /// Panics where a tile at an address reaches further than the bytes.
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8], addresses: &'a [u32]) -> Reads<'a, N> {
        let addresses = addresses.first_chunk().expect("as many addresses");
        let last = bytes.len().checked_sub(BYTES).expect("planes end with room for a tile");
        for address in addresses {
            assert!(*address as usize <= last, "planes end with room for a tile");
        }
        Reads { bytes, addresses }
    }

    /// The tile at an address.
    #[inline(always)]
    pub(super) fn tile<L: Lanes>(&self, place: usize) -> L {
        let from = self.addresses[place] as usize;
        #[cfg(feature = "std")]
        #[allow(unsafe_code)]
        // SAFETY: `new` saw that 64 bytes are there at each address.
        return L::load(unsafe { &*self.bytes.as_ptr().add(from).cast() });
        #[cfg(not(feature = "std"))]
        L::load(self.bytes[from..].first_chunk().expect("a tile is there"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bit_sliced::lanes::Words;

    const BYTES_OF_TWO: [u8; 70] = {
        let mut bytes = [0; 70];
        bytes[6] = 1;
        bytes
    };

    #[test]
    fn a_tile_is_that_of_its_address() {
        let reads = Reads::<2>::new(&BYTES_OF_TWO, &[0, 6]);
        let first = |place: usize| reads.tile::<Words>(place).bytes().iter().position(|byte| *byte == 1);
        assert_eq!([first(0), first(1)], [Some(6), Some(0)]);
    }

    #[test]
    #[should_panic(expected = "room for a tile")]
    fn an_address_without_a_tile_is_refused() {
        Reads::<2>::new(&BYTES_OF_TWO, &[0, 7]);
    }
}
