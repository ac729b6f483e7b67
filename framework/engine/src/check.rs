//! Whether a network is sound: what reads, runs or exports one relies on it.
//!
//! Every map is made of maps before it, shapes fit, there are as many weights, scales and biases as
//! shapes say, all numbers are finite, and sums of levels stay below 2^24, where f32 holds every whole
//! number.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::network::{Current, EarlyExit, Made, Map, Network, Neuron, Source, Synapses, Values, Window};

/// Why a network is not sound: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The map or the layer; empty for the network.
    pub place: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.place.is_empty() {
            true => f.write_str(&self.what),
            false => write!(f, "`{}`: {}", self.place, self.what),
        }
    }
}

impl core::error::Error for Flaw {}

/// The largest side, channel or class count, number of maps and of timesteps.
const LARGEST: usize = 1 << 16;
const MOST_TIMESTEPS: usize = 255;
/// The most numbers of a map, and weights of a layer.
const MOST_NUMBERS: usize = 1 << 28;
/// Below it, f32 holds every whole number.
const EXACT: u64 = 1 << 24;

type Sound = Result<(), Flaw>;

impl Network {
    /// Whether it is sound.
    ///
    /// # Errors
    ///
    /// The first flaw.
    pub fn check(&self) -> Sound {
        let bad = |what: String| Err(Flaw { place: String::new(), what });
        let image = &self.image;
        shape(image.shape).or_else(|what| bad(format!("an image {what}")))?;
        if image.mean.len() != image.shape[0] || image.std.len() != image.shape[0] {
            return bad(format!("an image of {} channels has another number of means or deviations", image.shape[0]));
        }
        if !finite(&image.mean) || !finite(&image.std) || image.std.iter().any(|std| *std <= 0.0) {
            return bad("means have to be finite, and deviations above 0".into());
        }
        let channels = image.mean.iter().zip(&image.std);
        let mut ends = channels.flat_map(|(mean, std)| [(0.0 - mean) / std, (1.0 - mean) / std]);
        if let Some(end) = ends.find(|end| !end.is_finite()) {
            return bad(format!("means and deviations make {end} of a pixel from 0 to 1"));
        }
        if !(1..=MOST_TIMESTEPS).contains(&self.timesteps) {
            return bad(format!("{} timesteps; 1 to {MOST_TIMESTEPS} can run", self.timesteps));
        }
        if self.classes.is_empty() || self.classes.len() > LARGEST || self.maps.len() > LARGEST {
            return bad(format!("{} classes and {} maps", self.classes.len(), self.maps.len()));
        }
        let mut names = BTreeSet::new();
        if let Some(map) = self.maps.iter().find(|map| !names.insert(map.name.as_str())) {
            return bad(format!("two maps have the name `{}`", map.name));
        }
        let mut names = BTreeSet::new();
        if let Some((layer, _)) = self.layers().find(|(layer, _)| !names.insert(layer.name.as_str())) {
            return bad(format!("two layers have the name `{}`", layer.name));
        }
        match self.exit {
            Some(EarlyExit::Entropy(threshold) | EarlyExit::Confidence(threshold)) if !threshold.is_finite() => {
                return bad(format!("images stop at a threshold of {threshold}"));
            }
            _ => {}
        }
        // The largest number of each map.
        let mut largest = alloc::vec::Vec::new();
        for (index, map) in self.maps.iter().enumerate() {
            let flaw = |what: String| Flaw { place: map.name.clone(), what };
            shape(map.shape).map_err(|what| flaw(format!("a map {what}")))?;
            let most = self.map(index, map, &largest)?;
            if most >= EXACT {
                return Err(flaw(format!(
                    "its numbers reach {most}; f32 holds every whole number below {EXACT} alone"
                )));
            }
            largest.push(most);
        }
        self.answers(&largest)
    }

    /// Checks a map, and finds the largest number that it can hold.
    fn map(&self, index: usize, map: &Map, largest: &[u64]) -> Result<u64, Flaw> {
        let flaw = |what: String| Flaw { place: map.name.clone(), what };
        let of = |of: usize| match of < index {
            true => Ok((self.maps[of].shape, largest[of])),
            false => Err(flaw(format!("is made of map {of}, and only those before it, {index}, are there"))),
        };
        let made = |wanted: [usize; 3]| match wanted == map.shape {
            true => Ok(()),
            false => Err(flaw(format!("its shape is {:?}, and what it is made of gives {wanted:?}", map.shape))),
        };
        let [channels, height, width] = map.shape;
        Ok(match &map.made {
            Made::Spikes { neuron, currents } => {
                sound_neuron(neuron).map_err(|what| flaw(what.into()))?;
                if currents.is_empty() {
                    return Err(flaw("nothing drives its neurons".into()));
                }
                for current in currents {
                    match current {
                        Current::Synapses(synapses) => {
                            let source = match synapses.of {
                                Source::Image => None,
                                Source::Map(map) => Some(of(map)?),
                            };
                            self.synapses(synapses, source, map.shape)?;
                        }
                        Current::Scaled { of: map, divisor, scale, bias } => {
                            made(of(*map)?.0)?;
                            if !divisor.is_finite() || *divisor < 1.0 {
                                return Err(flaw(format!("a divisor of {divisor}; 1 or more is right")));
                            }
                            numbers(scale, bias, channels).map_err(flaw)?;
                        }
                    }
                }
                1
            }
            Made::SideBySide(all) => {
                let (mut sum, mut most) = (0usize, 0);
                for one in all {
                    let ([channels, rows, columns], number) = of(*one)?;
                    made([map.shape[0], rows, columns])?;
                    // On 32 bits, many maps could wrap around to a shape that fits.
                    sum = sum.saturating_add(channels);
                    most = most.max(number);
                }
                made([sum, height, width])?;
                most
            }
            Made::Resized(one) => {
                let (from, number) = of(*one)?;
                made([from[0], height, width])?;
                number
            }
            Made::Largest { of: one, window } | Made::Sums { of: one, window } => {
                let (from, number) = of(*one)?;
                let (rows, columns) = (sides(window, from[1], 0), sides(window, from[2], 1));
                let (Some(rows), Some(columns)) = (rows, columns) else {
                    return Err(flaw(format!("windows {window:?} do not fit a map of {from:?}")));
                };
                made([from[0], rows, columns])?;
                match map.made {
                    Made::Sums { .. } => number.saturating_mul(window.size[0] as u64 * window.size[1] as u64),
                    _ => number,
                }
            }
            Made::Joined { of: [a, s], .. } => {
                let ((first, most), (second, other)) = (of(*a)?, of(*s)?);
                made(first)?;
                made(second)?;
                most.saturating_add(other).max(most.saturating_mul(other))
            }
            Made::Widened { of: one, stride, zeros: [before, after] } => {
                let ([channels, rows, columns], number) = of(*one)?;
                if *stride == 0 || *stride > LARGEST || before.max(after) > &LARGEST {
                    return Err(flaw("a stride or channels of zeros that cannot be".into()));
                }
                made([channels + before + after, rows.div_ceil(*stride), columns.div_ceil(*stride)])?;
                number
            }
            Made::Flat(one) => {
                let (from, number) = of(*one)?;
                made([from.iter().product(), 1, 1])?;
                number
            }
        })
    }

    fn synapses(&self, synapses: &Synapses, of: Option<([usize; 3], u64)>, to: [usize; 3]) -> Sound {
        let flaw = |what: String| Err(Flaw { place: synapses.name.clone(), what });
        let (from, most) = of.unwrap_or((self.image.shape, 0));
        let [outputs, inputs, rows, columns] = synapses.shape;
        let Synapses { groups, stride, padding, .. } = *synapses;
        let bounded = [outputs, inputs, rows, columns, groups, stride].iter().all(|side| (1..=LARGEST).contains(side));
        if !bounded || padding > LARGEST {
            return flaw(format!(
                "weights {:?} in {groups} groups, stride {stride}, padding {padding}",
                synapses.shape
            ));
        }
        let weights = [outputs, inputs, rows, columns].iter().try_fold(1usize, |all, side| all.checked_mul(*side));
        let Some(weights) = weights.filter(|weights| *weights <= MOST_NUMBERS) else {
            return flaw(format!("more than {MOST_NUMBERS} weights"));
        };
        if !(1..=32).contains(&synapses.bits) {
            return flaw(format!("weights of {} bits; 1 to 32 are right", synapses.bits));
        }
        if inputs.checked_mul(groups) != Some(from[0]) || outputs % groups != 0 {
            let channels = from[0];
            return flaw(format!("weights {:?} in {groups} groups do not read {channels} channels", synapses.shape));
        }
        let side = |size: usize, kernel: usize| (size + 2 * padding).checked_sub(kernel).map(|rest| rest / stride + 1);
        let map = [Some(outputs), side(from[1], rows), side(from[2], columns)];
        if map != to.map(Some) {
            return flaw(format!("its output is {map:?}, and the map that it drives is {to:?}"));
        }
        numbers(&synapses.scale, &synapses.bias, outputs).or_else(flaw)?;
        match &synapses.values {
            Values::Levels(levels) if levels.len() == weights => {
                if of.is_none() {
                    return Ok(());
                }
                // 2^16 magnitudes of 2^15 at most: 32 bits hold their sum.
                let some = |levels: &[i16]| levels.iter().map(|level| u32::from(level.unsigned_abs())).sum::<u32>();
                let row = |levels: &[i16]| levels.chunks(1 << 16).map(|levels| u64::from(some(levels))).sum::<u64>();
                let sum = levels.chunks(weights / outputs).map(row).max().unwrap_or(0).saturating_mul(most);
                if sum >= EXACT {
                    return flaw(format!("its sums reach {sum}, and f32 holds every whole number below {EXACT} alone"));
                }
                Ok(())
            }
            Values::Full(values) if values.len() == weights => match finite(values) {
                true => Ok(()),
                false => flaw("a weight is NaN or infinite".into()),
            },
            Values::Levels(levels) => flaw(format!("{} weights, and its shape says {weights}", levels.len())),
            Values::Full(values) => flaw(format!("{} weights, and its shape says {weights}", values.len())),
        }
    }

    fn answers(&self, largest: &[u64]) -> Sound {
        let logits = &self.logits;
        let flaw = |what: String| Flaw { place: logits.synapses.name.clone(), what };
        let Source::Map(of) = logits.synapses.of else {
            return Err(flaw("the logits read the image".into()));
        };
        let Some(map) = self.maps.get(of) else {
            return Err(flaw(format!("the logits read map {of}, and there are {}", self.maps.len())));
        };
        let outputs = logits.synapses.shape[0];
        self.synapses(&logits.synapses, Some((map.shape, largest[of])), [outputs, 1, 1])?;
        if let Some(neuron) = &logits.neuron {
            sound_neuron(neuron).map_err(|what| flaw(what.into()))?;
        }
        if logits.votes == 0 || self.classes.len().checked_mul(logits.votes) != Some(outputs) {
            let classes = self.classes.len();
            return Err(flaw(format!("{outputs} outputs, and {classes} classes have {} votes each", logits.votes)));
        }
        Ok(())
    }
}

/// The outputs of windows along an axis; `None` where none fits.
fn sides(window: &Window, size: usize, axis: usize) -> Option<usize> {
    let (window, stride, padding) = (window.size[axis], window.stride[axis], window.padding[axis]);
    let bounded = (1..=LARGEST).contains(&window) && (1..=LARGEST).contains(&stride) && padding < window;
    bounded.then(|| (size + 2 * padding).checked_sub(window).map(|rest| rest / stride + 1)).flatten()
}

fn shape(shape: [usize; 3]) -> Result<(), String> {
    let bounded = shape.iter().all(|side| (1..=LARGEST).contains(side));
    let numbers = shape.iter().try_fold(1usize, |all, side| all.checked_mul(*side));
    match bounded && numbers.is_some_and(|numbers| numbers <= MOST_NUMBERS) {
        true => Ok(()),
        false => Err(format!("of {shape:?}")),
    }
}

fn numbers(scale: &[f32], bias: &[f32], channels: usize) -> Result<(), String> {
    for (name, numbers) in [("scales", scale), ("biases", bias)] {
        if !numbers.is_empty() && numbers.len() != channels {
            return Err(format!("{} {name} for {channels} channels", numbers.len()));
        }
        if !finite(numbers) {
            return Err(format!("one of its {name} is NaN or infinite"));
        }
    }
    Ok(())
}

fn sound_neuron(neuron: &Neuron) -> Result<(), &'static str> {
    let gain = neuron.gain.unwrap_or(1.0);
    match (0.0..=1.0).contains(&neuron.decay) && neuron.threshold.is_finite() && gain.is_finite() {
        true => Ok(()),
        false => Err("the decay of a neuron is 0 to 1, and its threshold and gain are finite"),
    }
}

fn finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::sample;

    /// A network with one thing changed, and what is said of it.
    fn said(change: impl FnOnce(&mut Network)) -> String {
        let mut network = sample::network();
        network.check().expect("the sample is sound");
        change(&mut network);
        network.check().unwrap_err().to_string()
    }

    fn synapses(network: &mut Network, map: usize) -> &mut Synapses {
        match &mut network.maps[map].made {
            Made::Spikes { currents, .. } => match &mut currents[0] {
                Current::Synapses(synapses) => synapses,
                Current::Scaled { .. } => panic!("map {map} has other currents"),
            },
            _ => panic!("map {map} has no neurons"),
        }
    }

    #[test]
    fn each_flaw_is_named_with_its_place() {
        assert_eq!(said(|network| network.timesteps = 0), "0 timesteps; 1 to 255 can run");
        assert!(said(|network| network.image.std = vec![0.0]).contains("deviations above 0"));
        let infinite = said(|network| (network.image.mean[0], network.image.std[0]) = (-1e30, 1e-30));
        assert_eq!(infinite, "means and deviations make inf of a pixel from 0 to 1");
        assert!(said(|network| synapses(network, 1).of = Source::Map(1)).contains("is made of map 1, and only those"));
        let changed = said(|network| synapses(network, 1).scale.push(1.0));
        assert_eq!(changed, "`cell0.n0.s0.conv3x3`: 9 scales for 8 channels");
        assert!(said(|network| synapses(network, 1).stride = 2).contains("and the map that it drives is"));
        assert!(
            said(|network| synapses(network, 1).values = Values::Full(vec![])).contains("0 weights, and its shape")
        );
        let wide = said(|network| synapses(network, 1).shape = [1, 24 * 8, 3, 3]);
        assert!(wide.contains("do not read 24 channels"), "{wide}");
        assert!(said(|network| network.maps[1].name = "stem".into()).contains("two maps have the name `stem`"));
        assert!(said(|network| synapses(network, 1).bits = 0).contains("weights of 0 bits"));
        let twice = said(|network| synapses(network, 1).name = "classifier".into());
        assert!(twice.contains("two layers have the name `classifier`"), "{twice}");
        assert!(said(|network| network.exit = Some(EarlyExit::Entropy(f64::NAN))).contains("threshold of NaN"));
        assert!(said(|network| network.logits.votes = 2).contains("10 outputs, and 10 classes have 2 votes each"));
        assert!(said(|network| network.maps[0].shape = [0, 14, 14]).contains("a map of [0, 14, 14]"));
    }

    /// A level of 4096 on the sum of 64 · 64 spikes is 2^24, and one less is below.
    #[test]
    fn sums_that_f32_does_not_hold_are_refused() {
        let layer = |name: &str, of, level| Synapses {
            name: name.into(),
            of,
            shape: [1; 4],
            groups: 1,
            stride: 1,
            padding: 0,
            values: Values::Levels(vec![level]),
            bits: 16,
            scale: vec![],
            bias: vec![],
        };
        let network = |level| {
            let mut network = sample::network();
            let neuron = Neuron { decay: 0.2, threshold: 0.5, reset: crate::Reset::Hard, gain: None };
            let currents = vec![Current::Synapses(layer("stem", Source::Image, 1))];
            let window = Window { size: [64, 64], stride: [64, 64], padding: [0, 0] };
            network.image.shape = [1, 64, 64];
            network.classes.truncate(1);
            network.maps.truncate(2);
            network.maps[0] =
                Map { shape: [1, 64, 64], made: Made::Spikes { neuron, currents }, ..network.maps[0].clone() };
            network.maps[1] = Map { shape: [1; 3], made: Made::Sums { of: 0, window }, ..network.maps[1].clone() };
            network.logits.synapses = layer("classifier", Source::Map(1), level);
            network
        };
        assert_eq!(network(4095).check(), Ok(()));
        let flaw = network(4096).check().unwrap_err().to_string();
        assert!(flaw.starts_with("`classifier`: its sums reach 16777216"), "{flaw}");
    }
}
