//! What a trained network is: maps of whole numbers, each made of maps before it.
//!
//! # One definition of a current
//!
//! A map holds, for every timestep, `[C, H, W]` whole numbers: spikes (0 or 1), or sums of spikes.
//! A quantised weight is a whole number too, its **level**; a removed weight is 0. So the sum
//!
//! n_o = sum over the taps of level · number
//!
//! is a whole number that does not depend on the order of the sum, and below 2^24 f32 holds it
//! exactly. The current of output channel o is then one f32 multiplication and one f32 addition:
//!
//! I_o = scale_o · n_o + bias_o
//!
//! scale_o = gamma_o / sqrt(var_o + eps) · step_o folds the normalisation and the step of a level,
//! and bias_o = beta_o - mean_o · gamma_o / sqrt(var_o + eps). What computes this gives the same bits:
//! libtorch in evaluation, the loops of this crate, or an ONNX runtime.
//!
//! A weight that nothing quantises is f32 ([`Values::Full`]). Its sums are rounded, and two programs
//! agree within rounding alone.
//!
//! # Neurons
//!
//! The currents of a node are added in the order in which they stand. With I their sum, in f32:
//!
//! u(t) = decay · u(t-1) · (1 - s(t-1)) + I(t), s(t) = 1 where u(t) > threshold, u(0) = s(0) = 0.
//!
//! # The order of numbers
//!
//! Channels, then rows, then columns; weights are `[out, in / groups, kh, kw]`, row-major.

use alloc::string::String;
use alloc::vec::Vec;

/// A trained network of one design.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// What it reads.
    pub image: Image,
    /// The names of its classes, K of them.
    pub classes: Vec<String>,
    /// Number of timesteps T, 1 or more.
    pub timesteps: usize,
    /// The maps, each made of maps before it.
    pub maps: Vec<Map>,
    /// What its answer is made of.
    pub logits: Logits,
    /// When an image stops before the last timestep.
    pub exit: Option<EarlyExit>,
}

impl Network {
    /// Every layer with synapses and the shape of its output, in the order of the maps and their
    /// currents; the layer of the logits is last.
    pub fn layers(&self) -> impl Iterator<Item = (&Synapses, [usize; 3])> {
        let of_maps = self.maps.iter().flat_map(|map| {
            let currents: &[Current] = match &map.made {
                Made::Spikes { currents, .. } => currents,
                _ => &[],
            };
            currents.iter().filter_map(|current| match current {
                Current::Synapses(synapses) => Some((synapses, map.shape)),
                Current::Scaled { .. } => None,
            })
        });
        let logits = &self.logits.synapses;
        of_maps.chain([(logits, [logits.shape[0], 1, 1])])
    }
}

/// The form of an image, and how its pixels become the network's input: x = (pixel - mean) / std,
/// for each channel, with pixels from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// One for each channel.
    pub mean: Vec<f32>,
    /// One for each channel.
    pub std: Vec<f32>,
}

/// A map of whole numbers, one for each timestep, channel, row and column.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// Its name, unique in the network, such as `cell0.n1`.
    pub name: String,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// What it is made of.
    pub made: Made,
}

/// What a map is made of. A map is named by its place in [`Network::maps`].
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// Spikes of neurons, which the sum of all currents drives.
    Spikes {
        /// The neurons.
        neuron: Neuron,
        /// What drives them, one or more.
        currents: Vec<Current>,
    },
    /// The channels of several maps of one height and width, one after another.
    SideBySide(Vec<usize>),
    /// The nearest pixel of another height and width: row y reads row floor(y · H / H').
    Resized(usize),
    /// The largest number of a window; what lies outside the map counts as 0.
    Largest {
        /// The map.
        of: usize,
        /// The windows.
        window: Window,
    },
    /// The sum of the numbers of a window; what lies outside the map counts as 0.
    Sums {
        /// The map.
        of: usize,
        /// The windows.
        window: Window,
    },
    /// Numbers a of the first map and s of the second, joined one by one.
    Joined {
        /// The maps, of one shape.
        of: [usize; 2],
        /// How.
        by: Join,
    },
    /// Every `stride`-th row and column, between channels of zeros.
    Widened {
        /// The map.
        of: usize,
        /// The stride.
        stride: usize,
        /// Channels of zeros before and after.
        zeros: [usize; 2],
    },
    /// Every map as one vector, `[C · H · W, 1, 1]`.
    Flat(usize),
}

/// Windows over a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns.
    pub size: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns that the first window begins outside the map.
    pub padding: [usize; 2],
}

/// How the spikes a of a block and s of its shortcut are joined (SEW-ResNet, Fang et al., 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// a + s
    Add,
    /// a · s
    And,
    /// (1 - a) · s
    Iand,
}

/// A part of what drives neurons.
#[derive(Debug, Clone, PartialEq)]
pub enum Current {
    /// I_o = scale_o · n_o + bias_o, with n_o the sum over the taps of weight · number.
    Synapses(Synapses),
    /// I_c = scale_c · (number / divisor) + bias_c: normalised means, where the map holds sums.
    Scaled {
        /// The map.
        of: usize,
        /// Numbers of which each sum is made; 1 where it is none.
        divisor: f32,
        /// One for each channel, or empty: 1.
        scale: Vec<f32>,
        /// One for each channel, or empty: 0, and nothing is added.
        bias: Vec<f32>,
    },
}

/// A convolution, or a linear layer where map and kernel are 1x1.
#[derive(Debug, Clone, PartialEq)]
pub struct Synapses {
    /// Its name, unique in the network, such as `cell0.n1.s0.conv3x3`.
    pub name: String,
    /// What it reads.
    pub of: Source,
    /// `[out, in / groups, kh, kw]`.
    pub shape: [usize; 4],
    /// Channels are convolved in so many groups, each of its own.
    pub groups: usize,
    /// Rows and columns from one tap of the kernel to the next output.
    pub stride: usize,
    /// Zeros on every side of the map.
    pub padding: usize,
    /// Row-major.
    pub values: Values,
    /// Bits of a kept weight, as the design says: 32 where nothing quantises it.
    pub bits: u32,
    /// One for each output channel, or empty: 1, and nothing is multiplied.
    pub scale: Vec<f32>,
    /// One for each output channel, or empty: 0, and nothing is added.
    pub bias: Vec<f32>,
}

/// What synapses read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The image, which is the same at every timestep: the current is computed once.
    Image,
    /// A map.
    Map(usize),
}

/// The weights of a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Whole numbers; 0 for a weight that was removed, and for one that a quantiser made 0.
    Levels(Vec<i16>),
    /// Numbers that nothing quantised; 0 for a weight that was removed.
    Full(Vec<f32>),
}

/// A leaky integrate-and-fire neuron.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neuron {
    /// What is left of the membrane potential at the next timestep, 0 to 1.
    pub decay: f32,
    /// A spike needs a potential above it.
    pub threshold: f32,
    /// What a spike leaves of the potential.
    pub reset: Reset,
    /// What currents are multiplied by before they are integrated: 1 - decay where a network scales
    /// its input; `None` where nothing is multiplied.
    pub gain: Option<f32>,
}

/// What a spike leaves of the membrane potential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Nothing: it becomes 0.
    Hard,
    /// What exceeds the threshold: the threshold is subtracted.
    Soft,
}

/// The logits: a linear layer at every timestep, then means over votes and over timesteps.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// The layer, K · votes outputs on a map of 1x1.
    pub synapses: Synapses,
    /// Neurons on its outputs, whose spikes vote.
    pub neuron: Option<Neuron>,
    /// Outputs that stand one after another for a class, of which the logit is the mean.
    pub votes: usize,
}

/// An image stops at the first timestep t whose mean logits f_t = (1/t) · sum of the logits so far
/// are sure enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EarlyExit {
    /// The entropy of softmax(f_t), divided by ln K, is below the threshold (DT-SNN, Li et al., 2023).
    Entropy(f64),
    /// The largest of softmax(f_t) is above the threshold (SEENN-I, Li et al., 2023).
    Confidence(f64),
}
