//! Networks at random: any sizes, strides, groups, densities and levels, and every kind of map.

#![allow(dead_code)] // Each test uses its part.

use litesnn_engine::{
    Current, EarlyExit, Image, Join, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window,
};

/// Numbers that look drawn (splitmix64).
pub struct Draw(pub u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// From 0 to 1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    pub fn image(&mut self, network: &Network) -> Vec<f32> {
        (0..network.image.shape.iter().product()).map(|_| self.unit()).collect()
    }

    fn neuron(&mut self) -> Neuron {
        Neuron {
            decay: [0.2, 0.5, 0.9, 1.0][self.below(4)],
            threshold: [0.5, 1.0][self.below(2)],
            reset: [Reset::Hard, Reset::Hard, Reset::Soft][self.below(3)],
            gain: [None, None, Some(0.8)][self.below(3)],
        }
    }

    fn values(&mut self, count: usize) -> Values {
        let density = [0f32, 0.02, 0.2, 0.5, 1.0][self.below(5)].max(self.unit() * 0.2);
        let largest = [1, 3, 15, 127, 255][self.below(5)];
        let form = self.below(4);
        let mut level = || -> i16 {
            if self.unit() >= density {
                return 0;
            }
            match form {
                // Half steps: odd.
                0 => (2 * self.below(largest + 1)) as i16 - largest as i16,
                // Whole steps.
                1 => self.below(2 * largest + 1) as i16 - largest as i16,
                // One sign, from somewhere.
                2 => self.below(largest) as i16 + 3,
                _ => -(self.below(largest) as i16) - 1,
            }
        };
        let levels: Vec<i16> = (0..count).map(|_| level()).collect();
        match self.below(8) {
            0 => Values::Full(levels.iter().map(|level| f32::from(*level) * 0.013).collect()),
            _ => Values::Levels(levels),
        }
    }

    /// Synapses on a map of this shape, and the shape of their output: that of `like`, where it is
    /// given.
    fn synapses(&mut self, of: Source, input: [usize; 3], like: Option<&Synapses>) -> (Synapses, [usize; 3]) {
        let padding = self.below(3);
        let mut side = |inputs: usize| match self.below(2) {
            0 if inputs + 2 * padding >= 3 => 3,
            _ => 1 + self.below(5.min(inputs + 2 * padding)),
        };
        let (kernel, stride) = ([side(input[1]), side(input[2])], [1, 1, 1, 2, 3][self.below(5)]);
        let (kernel, stride, padding) = like.map_or((kernel, stride, padding), |other| {
            // The same output: a kernel that is wider by two needs one more pixel of padding.
            let wider = self.below(2);
            ([other.shape[2] + 2 * wider, other.shape[3] + 2 * wider], other.stride, other.padding + wider)
        });
        let groups = if input[0] > 1 && self.below(3) == 0 { input[0] } else { 1 };
        let outputs =
            like.map_or_else(|| groups * (1 + self.below(if groups == 1 { 9 } else { 2 })), |like| like.shape[0]);
        let groups = if outputs % groups == 0 { groups } else { 1 };
        let within = input[0] / groups;
        let shape = [outputs, within, kernel[0], kernel[1]];
        let values = self.values(shape.iter().product());
        let size = |axis: usize| (input[axis + 1] + 2 * padding - kernel[axis]) / stride + 1;
        let fan = (within * kernel[0] * kernel[1]) as f32;
        let largest = match &values {
            Values::Levels(levels) => {
                f32::from(levels.iter().map(|level| level.unsigned_abs()).max().unwrap_or(1).max(1))
            }
            Values::Full(_) => 1.0,
        };
        let scale = (0..outputs).map(|_| (self.unit() + 0.5) * 4.0 / (largest * fan.sqrt())).collect();
        let bias = (0..outputs).map(|_| self.unit() - 0.3).collect();
        let (scale, bias) =
            (if self.below(5) == 0 { vec![] } else { scale }, if self.below(5) == 0 { vec![] } else { bias });
        let name = String::from("layer");
        (
            Synapses { name, of, shape, groups, stride, padding, values, bits: 4, scale, bias },
            [outputs, size(0), size(1)],
        )
    }

    fn window(&mut self, input: [usize; 3]) -> (Window, [usize; 3]) {
        let size = [1 + self.below(3.min(input[1])), 1 + self.below(3.min(input[2]))];
        let stride = [1 + self.below(3), 1 + self.below(3)];
        let padding = [self.below(size[0]), self.below(size[1])];
        let out = |axis: usize| (input[axis + 1] + 2 * padding[axis] - size[axis]) / stride[axis] + 1;
        (Window { size, stride, padding }, [input[0], out(0), out(1)])
    }

    /// A network of so many maps.
    pub fn network(&mut self, maps: usize) -> Network {
        let image = [1 + self.below(3), 1 + self.below(20), 1 + self.below(75)];
        let mut network = Network {
            image: Image { shape: image, mean: vec![0.4; image[0]], std: vec![0.25; image[0]] },
            classes: vec!["a".into(), "b".into(), "c".into()],
            timesteps: 1 + self.below(10),
            maps: Vec::new(),
            logits: Logits {
                synapses: self.synapses(Source::Image, [1, 1, 1], None).0,
                neuron: None,
                votes: 1 + self.below(2),
            },
            exit: [None, Some(EarlyExit::Entropy(0.9)), Some(EarlyExit::Confidence(0.5))][self.below(3)],
        };
        let (stem, shape) = self.synapses(Source::Image, image, None);
        let neuron = self.neuron();
        network.push(shape, Made::Spikes { neuron, currents: vec![Current::Synapses(stem)] });
        for _ in 0..maps {
            let of = self.below(network.maps.len());
            let input = network.maps[of].shape;
            let same = (0..network.maps.len()).filter(|other| network.maps[*other].shape == input).collect::<Vec<_>>();
            let same = same[self.below(same.len())];
            let flat = (0..network.maps.len()).filter(|other| network.maps[*other].shape[1..] == input[1..]);
            let (shape, made) = match self.below(14) {
                0 => (
                    [flat.clone().map(|of| network.maps[of].shape[0]).sum(), input[1], input[2]],
                    Made::SideBySide(flat.collect()),
                ),
                1 => ([input[0], 1 + self.below(20), 1 + self.below(20)], Made::Resized(of)),
                2 => ([input[0], input[1].div_ceil(2), input[2].div_ceil(2)], Made::Resized(of)),
                3 => {
                    let (window, shape) = self.window(input);
                    (shape, Made::Largest { of, window })
                }
                4 => {
                    let (window, shape) = self.window(input);
                    (shape, Made::Sums { of, window })
                }
                5 => {
                    let by = [Join::Add, Join::And, Join::Iand][self.below(3)];
                    (input, Made::Joined { of: [of, same], by })
                }
                6 => {
                    let (stride, zeros) = (1 + self.below(2), [self.below(3), self.below(3)]);
                    let channels = input[0] + zeros[0] + zeros[1];
                    (
                        [channels, input[1].div_ceil(stride), input[2].div_ceil(stride)],
                        Made::Widened { of, stride, zeros },
                    )
                }
                7 => ([input.iter().product(), 1, 1], Made::Flat(of)),
                _ => {
                    let (first, shape) = self.synapses(Source::Map(of), input, None);
                    let mut currents = vec![];
                    if shape[0] * input[0] < 1000 && self.below(2) == 0 {
                        currents.push(Current::Synapses(self.synapses(Source::Map(of), input, Some(&first)).0));
                    }
                    currents.push(Current::Synapses(first));
                    let like: Vec<usize> =
                        (0..network.maps.len()).filter(|of| network.maps[*of].shape == shape).collect();
                    if let Some(of) = like.last() {
                        let bias = if self.below(2) == 0 { vec![] } else { vec![0.1; shape[0]] };
                        currents.push(Current::Scaled {
                            of: *of,
                            divisor: [1.0, 9.0][self.below(2)],
                            scale: vec![],
                            bias,
                        });
                    }
                    (shape, Made::Spikes { neuron: self.neuron(), currents })
                }
            };
            // Layers of a few thousand neurons, which take milliseconds.
            if shape.iter().product::<usize>() <= 4_000 {
                network.push(shape, made);
            }
        }
        let last = network.maps.len() - 1;
        let features = network.maps[last].shape.iter().product();
        network.push([features, 1, 1], Made::Flat(last));
        let outputs = 3 * network.logits.votes;
        let values = self.values(outputs * features);
        network.logits.synapses = Synapses {
            of: Source::Map(last + 1),
            shape: [outputs, features, 1, 1],
            groups: 1,
            stride: 1,
            padding: 0,
            values,
            scale: vec![0.05; outputs],
            bias: vec![],
            ..network.logits.synapses.clone()
        };
        network.logits.neuron = (self.below(3) == 0).then(|| self.neuron());
        network
    }
}

trait Push {
    fn push(&mut self, shape: [usize; 3], made: Made);
}

impl Push for Network {
    fn push(&mut self, shape: [usize; 3], made: Made) {
        let name = format!("map{}", self.maps.len());
        self.maps.push(Map { name, shape, made });
    }
}
