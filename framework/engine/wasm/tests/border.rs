//! The border of the page, called as a page calls it.

use litesnn_engine::file::{Provenance, write};
use litesnn_engine::{Made, Map, Network, Reference, sample};
use litesnn_engine_wasm::{Player, buffer, load, logits, numbers, run, text, text_bytes, timesteps};

/// A player of a file, by the border's functions.
fn player(file: &[u8]) -> *mut Player {
    let place = buffer(file.len());
    // SAFETY: the buffer has as many bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(file.as_ptr(), place.cast(), file.len());
        load(place, file.len())
    }
}

fn said(player: *const Player) -> String {
    // SAFETY: `load` made the player.
    let text = unsafe { std::slice::from_raw_parts(text(player), text_bytes(player)) };
    String::from_utf8(text.to_vec()).unwrap()
}

fn ramp(network: &Network) -> Vec<f32> {
    let pixels: usize = network.image.shape.iter().product();
    (0..pixels).map(|pixel| pixel as f32 / pixels as f32).collect()
}

#[test]
fn a_page_sees_the_numbers_of_every_map_and_the_logits() {
    let network = sample::network();
    let player = player(&sample::file());
    assert!(said(player).starts_with("image\t"), "{}", said(player));
    assert_eq!(said(player).lines().filter(|line| line.starts_with("map\t")).count(), network.maps.len());
    let pixels = ramp(&network);
    let place = buffer(4 * pixels.len());
    // SAFETY: the buffer is as long as the pixels.
    let ran = unsafe {
        std::ptr::copy_nonoverlapping(pixels.as_ptr(), place, pixels.len());
        run(player, place, pixels.len())
    };
    assert_eq!(ran, 1);
    let reference = Reference::new(&network);
    let mut seen: Vec<Vec<Vec<i32>>> = Vec::new();
    let input = reference.normalised(&pixels).unwrap();
    let outcome = reference.watch(&input, |_, maps| seen.push(maps.to_vec())).unwrap();
    // SAFETY: `load` made the player, and each place has as many numbers as the border says.
    unsafe {
        assert_eq!(timesteps(player), outcome.timesteps);
        let all = std::slice::from_raw_parts(logits(player), (1 + outcome.timesteps) * network.classes.len());
        assert_eq!(all, [outcome.logits].into_iter().chain(outcome.logits_by_timestep).flatten().collect::<Vec<f32>>());
        for (timestep, maps) in seen.iter().enumerate() {
            for (map, wanted) in maps.iter().enumerate() {
                let found = std::slice::from_raw_parts(numbers(player, map, timestep), wanted.len());
                assert_eq!(found, wanted, "{} at {timestep}", network.maps[map].name);
            }
        }
        assert!(numbers(player, network.maps.len(), 0).is_null() && numbers(player, 0, seen.len()).is_null());
    }
}

#[test]
fn an_image_of_another_size_is_refused_in_words() {
    let player = player(&sample::file());
    let place = buffer(8);
    // SAFETY: the buffer has two f32.
    assert_eq!(unsafe { run(player, place, 2) }, 0);
    assert!(said(player).starts_with("error: an image of 2 numbers"), "{}", said(player));
}

#[test]
fn a_file_that_is_no_network_is_refused_in_words() {
    let player = player(b"no network");
    assert!(said(player).starts_with("error: "), "{}", said(player));
    // SAFETY: a null image of no pixels is not read.
    assert_eq!(unsafe { run(player, buffer(0), 0) }, 0);
}

/// A page keeps four bytes of what the engine keeps as a bit: 255 timesteps of 60,024 channels.
#[test]
fn a_page_refuses_to_keep_more_numbers_than_its_memory_holds() {
    let mut network = Network { timesteps: 255, ..sample::network() };
    let made = Made::Widened { of: 0, stride: 1, zeros: [0, 60_000] };
    network.maps.push(Map { name: "more".into(), shape: [60_024, 14, 14], made });
    let said = said(player(&write(&network, &Provenance::default()).unwrap()));
    assert!(said.starts_with("error: the page needs 12") && said.ends_with("1073741824 are allowed"), "{said}");
}
