//! A final network written down for the engine: maps, levels, and normalisation folded into a scale
//! and a bias for each channel.
//!
//! ```text
//! I_o = scale_o · n_o + bias_o
//! scale_o = gamma_o / sqrt(var_o + eps) · unit_o      bias_o = beta_o - mean_o · gamma_o / sqrt(var_o + eps)
//! ```
//!
//! n_o is a sum of levels, whole numbers. A quantiser's value is a whole number of half steps (mid-rise) or
//! of steps, and unit is the half step or the step. Where no step makes whole numbers of all weights
//! of a layer, they stay f32. What the file says and what the engine runs:
//! [`litesnn_engine::Network`].

use litesnn_engine as engine;
use litesnn_engine::{Current, Made, Map, Source, Synapses, Values, Window};
use tch::{Device, Kind, Tensor};

use super::channels::Channels;
use super::compression::Techniques;
use super::early_exit::EarlyExit;
use super::layer::LayerShape;
use super::space::Network;
use super::weight::CompressedWeight;
use crate::data::{DataInfo, Normalisation};
use crate::spiking::{BatchNorm, Neurons};
use crate::{Error, Result};

/// What a network is written to.
#[derive(Debug, Default)]
pub struct Packer {
    maps: Vec<Map>,
}

/// A map that was written: its place, and of how many numbers each of its own is the mean.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Its place among the maps.
    pub map: usize,
    /// 1 where a number is what it says.
    pub divisor: f32,
}

impl Written {
    /// A map that means what its numbers say.
    fn of(map: usize) -> Written {
        Written { map, divisor: 1.0 }
    }

    /// The numbers themselves as a current.
    pub fn handed_on(self) -> Current {
        self.handed_on_to(&Channels::default())
    }

    /// The same to neurons of these channels; a removed one is driven by nothing.
    pub fn handed_on_to(self, channels: &Channels) -> Current {
        let kept = channels.mask(Techniques::ALL).map(|kept| kept.to_kind(Kind::Float).to_device(Device::Cpu));
        let scale = kept.map(|kept| Vec::<f32>::try_from(kept).expect("ones and zeros"));
        Current::Scaled { of: self.map, divisor: self.divisor, scale: scale.unwrap_or_default(), bias: Vec::new() }
    }
}

/// The network for the engine. It runs `timesteps`, and stops earlier by `exit`.
///
/// # Errors
///
/// What the engine has no form for, and a network that is not sound ([`engine::Network::check`]).
pub fn packed(
    network: &dyn Network,
    data: &DataInfo,
    normalisation: &Normalisation,
    timesteps: i64,
    exit: Option<&dyn EarlyExit>,
) -> Result<engine::Network> {
    tch::no_grad(|| {
        let mut packer = Packer::default();
        let logits = network.packed(&mut packer)?;
        let exit =
            exit.map(|exit| exit.packed().ok_or_else(|| refused("its rule of early exit has no form in a file")));
        let packed = engine::Network {
            image: engine::Image {
                shape: data.shape.map(|side| side as usize),
                mean: normalisation.mean.clone(),
                std: normalisation.std.clone(),
            },
            classes: data.classes.clone(),
            timesteps: timesteps as usize,
            maps: packer.maps,
            logits,
            exit: exit.transpose()?,
        };
        packed.check().map_err(|flaw| refused(&flaw.to_string()))?;
        Ok(packed)
    })
}

fn refused(why: &str) -> Error {
    Error::design(format!("this network cannot leave as a file: {why}"))
}

impl Packer {
    /// Channels, height and width of a map.
    pub fn shape(&self, map: Written) -> [usize; 3] {
        self.maps[map.map].shape
    }

    fn add(&mut self, name: String, shape: [usize; 3], made: Made) -> usize {
        self.maps.push(Map { name, shape, made });
        self.maps.len() - 1
    }

    /// Neurons on maps of this shape, and what drives them.
    pub fn spikes(
        &mut self,
        name: String,
        shape: [usize; 3],
        neurons: &Neurons,
        currents: Vec<Current>,
    ) -> Result<Written> {
        let neuron = self.neuron(neurons)?;
        Ok(Written::of(self.add(name, shape, Made::Spikes { neuron, currents })))
    }

    /// Neurons on the output map of a layer, and what drives them, that layer among it.
    pub fn spikes_of(&mut self, shape: &LayerShape, neurons: &Neurons, currents: Vec<Current>) -> Result<Written> {
        let map = [shape.outputs, shape.map.0, shape.map.1].map(|side| side as usize);
        self.spikes(format!("{}.spikes", shape.name), map, neurons, currents)
    }

    /// The engine's neuron in place of these.
    pub fn neuron(&self, neurons: &Neurons) -> Result<engine::Neuron> {
        neurons.packed().map_err(|why| refused(&why))
    }

    /// Maps side by side.
    pub fn side_by_side(&mut self, name: String, maps: &[Written]) -> Written {
        let [_, height, width] = self.shape(maps[0]);
        let channels = maps.iter().map(|map| self.shape(*map)[0]).sum();
        let all = maps.iter().map(|map| map.map).collect();
        Written::of(self.add(name, [channels, height, width], Made::SideBySide(all)))
    }

    /// The nearest pixels of another height and width.
    pub fn resized(&mut self, name: String, of: Written, [height, width]: [i64; 2]) -> Written {
        let shape = [self.shape(of)[0], height as usize, width as usize];
        Written { map: self.add(name, shape, Made::Resized(of.map)), ..of }
    }

    /// The sums of windows, which count as `numbers` numbers: 1 for sums that are meant.
    pub fn sums(&mut self, name: String, of: Written, window: Window, numbers: f32) -> Written {
        let shape = self.pooled(of, window);
        Written { map: self.add(name, shape, Made::Sums { of: of.map, window }), divisor: of.divisor * numbers }
    }

    /// The sum over the whole map, as a mean.
    pub fn mean(&mut self, name: String, of: Written) -> Written {
        let [_, height, width] = self.shape(of);
        let window = Window { size: [height, width], stride: [height, width], padding: [0, 0] };
        self.sums(name, of, window, (height * width) as f32)
    }

    /// The largest numbers of windows.
    pub fn largest(&mut self, name: String, of: Written, window: Window) -> Written {
        let shape = self.pooled(of, window);
        Written { map: self.add(name, shape, Made::Largest { of: of.map, window }), ..of }
    }

    fn pooled(&self, of: Written, Window { size, stride, padding }: Window) -> [usize; 3] {
        let [channels, height, width] = self.shape(of);
        let side = |axis: usize, from: usize| (from + 2 * padding[axis]).saturating_sub(size[axis]) / stride[axis] + 1;
        [channels, side(0, height), side(1, width)]
    }

    /// Every map as one vector.
    pub fn flat(&mut self, name: String, of: Written) -> Written {
        let numbers = self.shape(of).iter().product();
        match self.shape(of) {
            [_, 1, 1] => of,
            _ => Written { map: self.add(name, [numbers, 1, 1], Made::Flat(of.map)), ..of },
        }
    }

    /// Every `stride`-th row and column between channels of zeros.
    pub fn widened(&mut self, name: String, of: Written, stride: usize, zeros: [usize; 2]) -> Written {
        let [channels, height, width] = self.shape(of);
        let shape = [channels + zeros[0] + zeros[1], height.div_ceil(stride), width.div_ceil(stride)];
        Written { map: self.add(name, shape, Made::Widened { of: of.map, stride, zeros }), ..of }
    }

    /// Numbers of two maps joined one by one.
    pub fn joined(&mut self, name: String, of: [Written; 2], by: engine::Join) -> Result<Written> {
        if of.iter().any(|map| map.divisor != 1.0) {
            return Err(refused(&format!("`{name}` joins means")));
        }
        let shape = self.shape(of[0]);
        Ok(Written::of(self.add(name, shape, Made::Joined { of: of.map(|map| map.map), by })))
    }

    /// A layer with weights, its normalisation and its bias; without a map it reads the image.
    pub fn synapses(
        &self,
        shape: &LayerShape,
        weight: &CompressedWeight,
        of: Option<Written>,
        norm: Option<&BatchNorm>,
        bias: Option<&Tensor>,
    ) -> Synapses {
        let active = Techniques::ALL;
        let value = weight.value(active).to_device(Device::Cpu).contiguous();
        let outputs = shape.outputs as usize;
        let numbers = Vec::<f32>::try_from(value.flatten(0, -1)).expect("weights are f32");
        let step = weight.packed_step(active).map(|step| {
            let step = step.to_device(Device::Cpu).to_kind(Kind::Float).flatten(0, -1);
            Vec::<f32>::try_from(step.expand([shape.outputs], false).contiguous()).expect("a step of each channel")
        });
        let (values, units) = match step.and_then(|step| levels(&numbers, &step)) {
            Some((levels, units)) => (Values::Levels(levels), units),
            None => (Values::Full(numbers), vec![1.0; outputs]),
        };
        let divisor = of.map_or(1.0, |of| of.divisor);
        let vector = |tensor: &Tensor| {
            let kept = weight.channels().keep(tensor.detach().view([1, -1, 1, 1]), active);
            Vec::<f32>::try_from(kept.flatten(0, -1).to_device(Device::Cpu)).expect("biases are f32")
        };
        let (mut scale, mut shift) = match norm {
            Some(norm) => norm.coefficients(),
            None => (vec![1.0; outputs], Vec::new()),
        };
        if let Some(bias) = bias {
            let bias = vector(bias);
            shift = match shift.is_empty() {
                true => bias,
                false => shift
                    .iter()
                    .zip(bias.iter().zip(&scale))
                    .map(|(shift, (bias, scale))| shift + bias * scale)
                    .collect(),
            };
        }
        scale.iter_mut().zip(&units).for_each(|(scale, unit)| *scale *= unit / divisor);
        Synapses {
            name: shape.name.clone(),
            of: of.map_or(Source::Image, |of| Source::Map(of.map)),
            shape: [outputs, (shape.inputs / shape.groups) as usize, shape.kernel.0 as usize, shape.kernel.1 as usize],
            groups: shape.groups as usize,
            stride: shape.stride as usize,
            padding: shape.padding as usize,
            bits: weight.bits(active).number().round() as u32,
            values,
            scale: if scale.iter().all(|scale| *scale == 1.0) { Vec::new() } else { scale },
            bias: shift,
        }
    }
}

/// Weights `[out, ...]` as whole numbers of half a step, or of a step where all are, and that unit of
/// each channel; `None` where they are none.
fn levels(values: &[f32], steps: &[f32]) -> Option<(Vec<i16>, Vec<f32>)> {
    let each = values.len() / steps.len().max(1);
    let mut levels = Vec::with_capacity(values.len());
    for (channel, step) in values.chunks(each.max(1)).zip(steps) {
        let half = f64::from(*step) / 2.0;
        for value in channel {
            let exact = if *value == 0.0 { 0.0 } else { f64::from(*value) / half };
            let level = exact.round();
            // f32 rounds a level times its step to 24 bits.
            if !level.is_finite() || (exact - level).abs() > 1e-5 * level.abs().max(1.0) || level.abs() > 32_767.0 {
                return None;
            }
            levels.push(level as i16);
        }
    }
    let whole = levels.iter().all(|level| level % 2 == 0);
    if whole {
        levels.iter_mut().for_each(|level| *level /= 2);
    }
    let units = steps.iter().map(|step| if whole { *step } else { step / 2.0 }).collect();
    Some((levels, units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_whole_numbers_of_half_steps_or_of_steps() {
        // Two bits, mid-rise: -1.5, -0.5, 0.5 and 1.5 steps; a removed weight is 0.
        let (found, units) = levels(&[-0.3, -0.1, 0.1, 0.3, 0.0, 0.4], &[0.2, 0.4]).unwrap_or_default();
        assert_eq!((found, units), (vec![], vec![]), "0.4 is two half steps of 0.4, and 0.1 is half of one");
        let (found, units) = levels(&[-0.3, -0.1, 0.1, 0.6, 0.0, 0.2], &[0.2, 0.4]).unwrap();
        assert_eq!((found, units), (vec![-3, -1, 1, 3, 0, 1], vec![0.1, 0.2]));
        let (found, units) = levels(&[-0.4, 0.2, 0.0, 0.8], &[0.2, 0.4]).unwrap();
        assert_eq!((found, units), (vec![-2, 1, 0, 2], vec![0.2, 0.4]));
        assert!(levels(&[0.123], &[0.2]).is_none());
        assert!(levels(&[0.1], &[0.0]).is_none());
    }
}
