//! The bit-sliced kernel beside the reference: the same bits, for networks of any form.

mod random;

use litesnn_engine::{Network, Prepared, Processor, Reference};
use proptest::prelude::*;
use random::Draw;

/// What runs here.
fn processors() -> Vec<Processor> {
    let all = [
        Processor::Baseline,
        #[cfg(target_arch = "x86_64")]
        Processor::Avx2,
        #[cfg(target_arch = "x86_64")]
        Processor::Avx512,
    ];
    all.into_iter().filter(|processor| processor.is_here()).collect()
}

fn agree(network: &Network, images: &[Vec<f32>]) {
    let reference = Reference::new(network);
    let wanted: Vec<_> = images.iter().map(|image| reference.run(image).unwrap()).collect();
    for processor in processors() {
        for threads in [1, 3] {
            let prepared = Prepared::new(network).with_processor(processor).with_threads(threads);
            // One arena for all: nothing of an image is left in it.
            let mut arena = prepared.arena();
            for (image, wanted) in images.iter().zip(&wanted) {
                let got = prepared.run(&mut arena, image).unwrap();
                assert_eq!(&got, wanted, "{processor:?}, {threads} threads: {network:#?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn the_kernel_gives_the_bits_of_the_reference(seed: u64, maps in 1usize..8) {
        let mut draw = Draw(seed);
        let network = draw.network(maps);
        let images = [draw.image(&network), draw.image(&network)];
        agree(&network, &images);
    }
}

/// Guards against networks that never spike, which any kernel runs well.
#[test]
fn random_networks_fire() {
    let (mut fired, mut places, mut spikes) = (0, 0u64, 0u64);
    for seed in 0..40 {
        let mut draw = Draw(seed);
        let network = draw.network(4);
        let outcome = Reference::new(&network).run(&draw.image(&network)).unwrap();
        fired += usize::from(outcome.spikes.iter().skip(1).all(|spikes| *spikes > 0));
        spikes += outcome.spikes[0];
        places += (network.maps[0].shape.iter().product::<usize>() * outcome.timesteps) as u64;
    }
    assert!(fired >= 10, "all maps of {fired} networks of 40 spike");
    assert!((0.1..0.9).contains(&(spikes as f64 / places as f64)), "{spikes} spikes of {places}");
}
