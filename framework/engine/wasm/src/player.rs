//! A network and what the last image made of it.

use std::fmt::Write;

use litesnn_engine::file::{LIMIT, read};
use litesnn_engine::{Made, Map, Network, Reference};

/// A network that was loaded, and its last image.
#[derive(Debug, Default)]
pub struct Player {
    network: Option<Network>,
    text: String,
    /// `[1 + t, K]`
    logits: Vec<f32>,
    /// `[t][map][C, H, W]`
    numbers: Vec<Vec<Vec<i32>>>,
}

impl Player {
    /// Reads a packed file.
    pub fn load(file: &[u8]) -> Player {
        match read(file) {
            Ok((network, _)) if seen_bytes(&network) > LIMIT => {
                let needed = seen_bytes(&network);
                let text = format!("error: the page needs {needed} bytes to show its maps, and {LIMIT} are allowed");
                Player { text, ..Player::default() }
            }
            Ok((network, _)) => Player { text: described(&network), network: Some(network), ..Player::default() },
            Err(why) => Player { text: format!("error: {why}"), ..Player::default() },
        }
    }

    /// Runs pixels from 0 to 1, `[C, H, W]`; whether they are an image of the network.
    pub fn run(&mut self, pixels: &[f32]) -> bool {
        let Some(network) = &self.network else { return false };
        self.numbers.clear();
        self.logits.clear();
        let reference = Reference::new(network);
        let seen = reference.normalised(pixels);
        match seen.and_then(|input| reference.watch(&input, |_, maps| self.numbers.push(maps.to_vec()))) {
            Ok(outcome) => {
                self.logits = outcome.logits;
                self.logits.extend(outcome.logits_by_timestep.into_iter().flatten());
                true
            }
            Err(why) => {
                self.text = format!("error: {why}");
                false
            }
        }
    }

    /// What was loaded, or what was wrong.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Timesteps that the last image ran.
    pub fn timesteps(&self) -> usize {
        self.numbers.len()
    }

    /// Mean logits of the last image, then those of each timestep.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The numbers of a map at a timestep of the last image.
    pub fn numbers(&self, map: usize, timestep: usize) -> Option<&[i32]> {
        Some(self.numbers.get(timestep)?.get(map)?)
    }
}

/// Bytes of the numbers of all maps at all timesteps, and of the run that finds them.
fn seen_bytes(network: &Network) -> usize {
    let size = |map: &Map| map.shape.iter().product::<usize>();
    let numbers = network.maps.iter().map(size).fold(0, usize::saturating_add);
    numbers.saturating_mul(4 * network.timesteps).saturating_add(Reference::memory(network))
}

/// The lines that the page reads.
fn described(network: &Network) -> String {
    let mut text = String::new();
    let word = |name: &str| name.replace(char::is_control, " ");
    let mut line = |line: std::fmt::Arguments| writeln!(text, "{line}").expect("a string takes all text");
    let [channels, height, width] = network.image.shape;
    line(format_args!("image\t{channels}\t{height}\t{width}"));
    for class in &network.classes {
        line(format_args!("class\t{}", word(class)));
    }
    for map in &network.maps {
        let kind = if matches!(map.made, Made::Spikes { .. }) { "spikes" } else { "joined" };
        let [channels, height, width] = map.shape;
        line(format_args!("map\t{}\t{kind}\t{channels}\t{height}\t{width}", word(&map.name)));
    }
    text
}
