//! What the input neurons of a layer did in a forward pass: firing rates, and maps of spikes.
//!
//! Rates are all that the paper's formulas need (Eq. 12-14), and cheap. A map says which neuron
//! spiked how often: from it and the kept weights, [`cost::counted_operations`] counts additions
//! one by one.
//!
//! [`cost::counted_operations`]: super::cost::counted_operations

use tch::{Device, Kind, Tensor};

use super::pass::Pass;
use crate::spiking::{firing_rate, unfold_time};

/// What the input neurons of a layer did in one forward pass, without gradient.
#[derive(Debug)]
pub struct Activity {
    /// Mean spikes of an input neuron at each timestep, `[T]`.
    pub rate: Tensor,
    /// Spikes of each input neuron in all timesteps together, mean over images, `[C, H, W]`;
    /// `None` unless [`Pass::maps`].
    pub map: Option<Tensor>,
}

impl Activity {
    /// Input neurons `[C, H, W]` that are all alike: `rate` `[T]` is the rate of each.
    pub fn uniform(rate: Tensor, neurons: [i64; 3]) -> Activity {
        let map = rate.sum(Kind::Double).expand(neurons, false);
        Activity { rate, map: Some(map) }
    }

    /// That of layers of equally many neurons each, whose maps stand side by side.
    pub fn side_by_side(parts: &[Activity]) -> Activity {
        let rates: Vec<&Tensor> = parts.iter().map(|part| &part.rate).collect();
        let maps: Option<Vec<&Tensor>> = parts.iter().map(|part| part.map.as_ref()).collect();
        Activity {
            rate: Tensor::stack(&rates, 0).mean_dim(0, false, None::<Kind>),
            map: maps.map(|maps| Tensor::cat(&maps, 0)),
        }
    }

    /// Another handle to the same tensors.
    pub fn shallow_clone(&self) -> Activity {
        Activity { rate: self.rate.shallow_clone(), map: self.map.as_ref().map(Tensor::shallow_clone) }
    }

    /// Everything times `factor`, in f64.
    pub fn scaled(&self, factor: f64) -> Activity {
        let scaled = |tensor: &Tensor| tensor.to_kind(Kind::Double) * factor;
        Activity { rate: scaled(&self.rate), map: self.map.as_ref().map(scaled) }
    }

    /// The same on another device.
    pub fn to_device(&self, device: Device) -> Activity {
        Activity { rate: self.rate.to_device(device), map: self.map.as_ref().map(|map| map.to_device(device)) }
    }

    /// Adds the activity of other images.
    pub fn add(&mut self, other: &Activity) {
        self.rate += &other.rate;
        if let (Some(map), Some(other)) = (&mut self.map, &other.map) {
            *map += other;
        }
    }
}

impl Pass<'_> {
    /// The activity of a layer that reads `spikes` `[T·B, C, H, W]`; `None` unless
    /// [`Pass::measure`].
    ///
    /// `spikes` are those that the layer's convolution reads: after a resize, and not before.
    pub fn activity(&self, spikes: &Tensor) -> Option<Activity> {
        let rate = self.measure.then(|| firing_rate(&unfold_time(spikes, self.timesteps)))?;
        Some(self.activity_of_rate(rate, spikes))
    }

    /// [`Pass::activity`] where the rate `[T]` is known already.
    pub fn activity_of_rate(&self, rate: Tensor, spikes: &Tensor) -> Activity {
        let map = self.maps.then(|| {
            let images = spikes.size()[0] / self.timesteps;
            // A sum of spikes is exact in f32 up to 2^24 of them.
            tch::no_grad(|| spikes.sum_dim_intlist(0, false, Kind::Float).to_kind(Kind::Double) / images as f64)
        });
        Activity { rate, map }
    }

    /// The activity of a layer that reads real numbers `[B, C, H, W]`, the same at every timestep:
    /// each of them counts as a spike at each timestep. `None` unless [`Pass::measure`].
    pub fn activity_of_constant(&self, maps: &Tensor) -> Option<Activity> {
        let rate = self.measure.then(|| Tensor::ones([self.timesteps], (Kind::Float, maps.device())))?;
        let (_, channels, height, width) = maps.size4().expect("maps are [B, C, H, W]");
        Some(self.uniform(rate, [channels, height, width]))
    }

    /// The activity of a layer that does not work in this pass, with input neurons `[C, H, W]`.
    /// `None` unless [`Pass::measure`].
    pub fn no_activity(&self, neurons: [i64; 3], device: Device) -> Option<Activity> {
        let rate = self.measure.then(|| Tensor::zeros([self.timesteps], (Kind::Float, device)))?;
        Some(self.uniform(rate, neurons))
    }

    fn uniform(&self, rate: Tensor, neurons: [i64; 3]) -> Activity {
        if self.maps { Activity::uniform(rate, neurons) } else { Activity { rate, map: None } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_holds_the_spikes_of_each_neuron_and_a_rate_those_of_each_timestep() {
        // Two timesteps of two images with two channels of one neuron.
        let spikes = Tensor::from_slice(&[1f32, 0., 1., 1., 0., 0., 1., 0.]).view([4, 2, 1, 1]);
        let pass = Pass { measure: true, maps: true, ..Pass::new(2) };
        let mut all = pass.activity(&spikes).unwrap().scaled(3.0);
        all.add(&all.scaled(1.0 / 3.0));
        let values = |tensor: &Tensor| Vec::<f64>::try_from(tensor.reshape([-1])).unwrap();
        assert_eq!(values(&all.rate), [0.75 * 4.0, 0.25 * 4.0]);
        assert_eq!(values(all.map.as_ref().unwrap()), [1.5 * 4.0, 0.5 * 4.0]);
        assert!(Pass::new(2).activity(&spikes).is_none());
        assert!(Pass { maps: false, ..pass }.activity(&spikes).unwrap().map.is_none());
        let constant = pass.activity_of_constant(&Tensor::zeros([1, 3, 2, 2], (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(values(constant.map.as_ref().unwrap()), [2.0; 12]);
    }
}
