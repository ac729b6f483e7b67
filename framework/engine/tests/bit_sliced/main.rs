//! The bit-sliced kernel beside the reference: the same bits, for networks of any form.

mod random;

use std::cell::Cell;

use litesnn_engine::{BadImage, EarlyExit, Form, Network, Outcome, Prepared, Processor, Reference, Times, sample};
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
    for group in [1, 2, 3, network.timesteps] {
        let agrees = |prepared: &Prepared, what: &str| {
            // One arena for all: nothing of an image is left in it.
            let mut arena = prepared.arena();
            for (image, wanted) in images.iter().zip(&wanted) {
                let got = prepared.run(&mut arena, image).unwrap();
                assert_eq!(&got, wanted, "{what}, {group} timesteps in a group: {network:#?}");
            }
        };
        for processor in processors() {
            agrees(&Prepared::in_groups(network, group).with_processor(processor), &format!("{processor:?}"));
        }
        agrees(&Prepared::in_groups(network, group).with_threads(3), "three threads");
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

#[test]
fn a_batch_is_its_images_one_after_another() {
    let mut draw = Draw(5);
    let network = draw.network(3);
    let images = [draw.image(&network), draw.image(&network), draw.image(&network)];
    let prepared = Prepared::new(&network);
    let mut arena = prepared.arena();
    let alone: Vec<Outcome> = images.iter().map(|image| prepared.run(&mut arena, image).unwrap()).collect();
    let mut batch = images.concat();
    assert_eq!(prepared.run_batch(&mut arena, &batch).unwrap(), alone);
    assert_eq!(prepared.run_batch(&mut arena, &[]).unwrap(), []);
    let half = images[0].len() + 1;
    let cut = prepared.run_batch(&mut arena, &batch[..half]).unwrap_err();
    assert_eq!(cut, BadImage::Size { shape: network.image.shape, numbers: 1 });
    batch[half] = f32::NAN;
    assert_eq!(prepared.run_batch(&mut arena, &batch).unwrap_err(), BadImage::NotFinite { place: half });
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

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// A clock that goes on by one whenever it is asked: a tick is a tile that was counted, a channel
/// whose neurons ran, and so on.
fn tick() -> u64 {
    ASKED.replace(ASKED.get() + 1)
}

fn timed(network: &Network, group: usize) -> (Outcome, Times) {
    let prepared = Prepared::in_groups(network, group);
    let input = vec![0.3; network.image.shape.iter().product()];
    prepared.run_timed(&mut prepared.arena(), &input, tick).unwrap()
}

/// An image that stops after t timesteps does the work of a network with t timesteps in groups of
/// one, and the work of its groups in larger ones.
#[test]
fn later_groups_of_an_image_that_stops_are_not_computed() {
    let of = |timesteps, exit| Network { timesteps, exit, ..sample::network() };
    let (sure, unsure) = (Some(EarlyExit::Confidence(0.0)), Some(EarlyExit::Confidence(1.0)));
    let work = |network: Network, group| timed(&network, group).1.total();
    assert_eq!(timed(&of(6, sure), 1).0.timesteps, 1);
    assert_eq!(timed(&of(6, unsure), 1).0.timesteps, 6);
    assert_eq!(work(of(6, sure), 1), work(of(1, unsure), 1));
    assert_eq!(work(of(6, sure), 4), work(of(4, unsure), 4));
    let (one, two, six) = (work(of(1, unsure), 1), work(of(2, unsure), 1), work(of(6, unsure), 1));
    assert_eq!(six - one, 5 * (two - one));
    assert!(one < six / 4, "{one} of {six} ticks");
}

/// A tile of a current takes a tick to be counted and one to be turned over; a channel of neurons
/// takes one.
#[test]
fn the_time_of_each_layer_stands_at_its_place() {
    let network = sample::network();
    let (outcome, times) = timed(&network, network.timesteps);
    let forms = Prepared::new(&network).forms();
    assert_eq!(times.layers.len(), outcome.layers.len());
    assert_eq!(forms.len(), outcome.layers.len());
    assert_eq!((forms[0], forms[forms.len() - 1]), (Form::Image, Form::Loops));
    for ((time, form), (layer, _)) in times.layers.iter().zip(&forms).zip(network.layers()) {
        assert!(time.sums > 0, "{}: {time:?}", layer.name);
        let counted = matches!(form, Form::ByMagnitude | Form::ByBit);
        assert!(!counted || time.currents == time.sums, "{}: {form:?} {time:?}", layer.name);
    }
    // 8 channels of 9 nodes, 24 of the stem, and 24 of the means.
    assert_eq!(times.neurons, 9 * 8 + 24 + 24);
    assert!(times.scaled > 0 && times.maps > 0 && times.counts > 0);
}
