//! The loops of the kernel, compiled for several processors.
//!
//! Without the feature `std` there is one version, for what every processor of the architecture
//! has. With it, and on x86-64, the widest that the processor has is chosen when a network is
//! prepared. To call a function that was compiled for instructions which a processor may lack is
//! what Rust calls unsafe: those calls stand here, behind the question whether the processor has
//! them.

use super::lanes::{Lanes, Words};
use super::neurons::{Kept, Layer, Scratch};
use super::planes::{Taps, halve, spikes};

/// The instructions that the kernel uses. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// What every processor of the architecture has.
    Baseline,
    /// AVX2.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Avx2,
    /// AVX-512.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Avx512,
}

/// What is compiled for each processor.
pub(super) enum Work<'a> {
    /// The spikes of the channels of a layer from the given one on, and their potentials.
    Channels(&'a Layer<'a>, usize, &'a mut [u8], &'a mut [Kept], &'a mut Scratch),
    /// Copies of a map for its taps.
    Copies(&'a Taps, &'a [u8], &'a mut [u8]),
    /// A map of half the size, so many pixels wide.
    Halved(&'a [u8], &'a mut [u8], usize),
    /// The spikes of the first bytes of every so many.
    Spikes(&'a [u8], usize, usize, &'a mut u64),
    /// The inputs that each tap reaches, over so many timesteps.
    Reached(&'a Taps, &'a [u8], usize, &'a mut alloc::vec::Vec<u64>),
}

impl Work<'_> {
    #[inline(always)]
    fn done<L: Lanes>(self) {
        match self {
            Work::Channels(layer, first, to, kept, scratch) => layer.run::<L>(first, to, kept, scratch),
            Work::Copies(taps, map, copies) => taps.fill(map, copies),
            Work::Halved(map, to, width) => halve(map, to, width),
            Work::Spikes(bytes, every, first, count) => {
                *count = bytes.chunks_exact(every).map(|bytes| spikes(&bytes[..first])).sum();
            }
            Work::Reached(taps, copies, timesteps, to) => *to = taps.reached(copies, timesteps),
        }
    }
}

impl Processor {
    /// The widest that this processor has.
    pub fn best() -> Processor {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        return [Processor::Avx512, Processor::Avx2].into_iter().find(|it| it.is_here()).unwrap_or(Processor::Baseline);
        #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
        Processor::Baseline
    }

    /// Whether this processor has the instructions.
    pub fn is_here(self) -> bool {
        match self {
            Processor::Baseline => true,
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Processor::Avx2 => {
                std::is_x86_feature_detected!("avx2")
                    && std::is_x86_feature_detected!("bmi1")
                    && std::is_x86_feature_detected!("bmi2")
                    && std::is_x86_feature_detected!("popcnt")
            }
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Processor::Avx512 => {
                Processor::Avx2.is_here()
                    && std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512dq")
                    && std::is_x86_feature_detected!("avx512vl")
            }
        }
    }

    /// Does the work by its instructions. The processor has to have them.
    pub(super) fn does(self, work: Work) {
        match self {
            Processor::Baseline => work.done::<Words>(),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            #[allow(unsafe_code)]
            Processor::Avx2 => {
                #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
                unsafe fn done(work: Work) {
                    work.done::<super::vectors::Two>();
                }
                assert!(self.is_here(), "a processor without AVX2");
                // SAFETY: the processor has these instructions.
                unsafe { done(work) }
            }
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            #[allow(unsafe_code)]
            Processor::Avx512 => {
                #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
                unsafe fn done(work: Work) {
                    work.done::<super::vectors::One>();
                }
                assert!(self.is_here(), "a processor without AVX-512");
                // SAFETY: the processor has these instructions.
                unsafe { done(work) }
            }
        }
    }
}
