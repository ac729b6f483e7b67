//! Channels of neurons that are there, where compressors remove whole channels.

use std::rc::Rc;

use tch::{Kind, Tensor};

use super::compression::Techniques;

/// The neurons of one layer, or of several whose maps are added: a residual block adds what it reads
/// to what it makes. What is decided about a channel holds for all layers that drive the population.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Population {
    /// Unique name: that of the first layer that drives it, or of the node of a cell.
    pub name: String,
    /// Whether no convolution reads it: the last one of the network drives it, and a linear layer
    /// reads it.
    pub last: bool,
}

/// Which channels of a map `[N, C, H, W]` are there. A removed one is zero everywhere, so that
/// neither its normalisation nor the weights that read it are stored or counted.
///
/// What follows from the channels of other maps is computed anew whenever it is asked for, from
/// buffers that change in place.
#[derive(Clone, Default)]
pub struct Channels(Option<Rc<dyn Fn() -> Tensor>>);

impl Channels {
    /// Those where `kept` `[C]`, a buffer, holds ones; zeros are where one is removed.
    pub fn kept(kept: Tensor) -> Channels {
        Channels::made(move || kept.shallow_clone())
    }

    fn made(mask: impl Fn() -> Tensor + 'static) -> Channels {
        Channels(Some(Rc::new(mask)))
    }

    /// Those of a sum of two maps: a channel is gone where both have lost it.
    pub fn of_sum(&self, other: &Channels) -> Channels {
        match (self.0.clone(), other.0.clone()) {
            (Some(a), Some(b)) => Channels::made(move || a().maximum(&b())),
            _ => Channels::default(),
        }
    }

    /// Those of a product of two maps: a channel is gone where one of them has lost it.
    pub fn of_product(&self, other: &Channels) -> Channels {
        match (self.0.clone(), other.0.clone()) {
            (Some(a), Some(b)) => Channels::made(move || a() * b()),
            (one, None) | (None, one) => Channels(one),
        }
    }

    /// Those of maps of `each` channels side by side.
    pub fn side_by_side(parts: &[Channels], each: i64) -> Channels {
        let parts: Vec<_> = parts.iter().map(|part| part.0.clone()).collect();
        let Some(like) = parts.iter().flatten().next().cloned() else { return Channels::default() };
        Channels::made(move || {
            let part = |part: &Option<Rc<dyn Fn() -> Tensor>>| match part {
                Some(mask) => mask(),
                None => like().new_ones([each], (Kind::Float, like().device())),
            };
            Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), 0)
        })
    }

    /// Those of a map between channels of zeros, so many before and after, which are there or not.
    pub fn between_zeros(&self, [before, after]: [i64; 2], there: bool) -> Channels {
        let Some(mask) = self.0.clone() else { return Channels::default() };
        Channels::made(move || mask().pad([before, after], "constant", f64::from(u8::from(there))))
    }

    /// Those of the inputs of a linear layer with so many of them, which reads the flattened map.
    pub fn flattened(&self, inputs: i64) -> Channels {
        let Some(mask) = self.0.clone() else { return Channels::default() };
        Channels::made(move || {
            let mask = mask();
            let places = inputs / mask.numel() as i64;
            mask.unsqueeze(1).expand([-1, places], false).reshape([-1])
        })
    }

    /// Ones where a channel is there and zeros where it is removed, `[C]`, while the `active`
    /// techniques act; `None` where nothing removes channels.
    pub fn mask(&self, active: Techniques) -> Option<Tensor> {
        let mask = self.0.as_ref().filter(|_| active.prune)?;
        Some(tch::no_grad(|| mask()))
    }

    /// How many of `all` channels are there.
    pub fn count(&self, all: i64) -> i64 {
        self.mask(Techniques::ALL).map_or(all, |mask| mask.sum(Kind::Int64).int64_value(&[]))
    }

    /// `maps` `[N, C, H, W]` without the removed channels.
    pub fn keep(&self, maps: Tensor, active: Techniques) -> Tensor {
        match self.mask(active) {
            Some(mask) => maps * mask.view([1, -1, 1, 1]),
            None => maps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(kept: &[f32]) -> Channels {
        Channels::kept(Tensor::from_slice(kept))
    }

    fn values(channels: &Channels) -> Option<Vec<f32>> {
        channels.mask(Techniques::ALL).map(|mask| Vec::try_from(mask).unwrap())
    }

    #[test]
    fn a_channel_of_a_sum_is_gone_where_all_have_lost_it() {
        let (a, b, all) = (channels(&[1., 0., 0.]), channels(&[0., 1., 0.]), Channels::default());
        assert_eq!(values(&a.of_sum(&b)).unwrap(), [1., 1., 0.]);
        assert_eq!(values(&a.of_product(&b)).unwrap(), [0., 0., 0.]);
        assert!(values(&a.of_sum(&all)).is_none());
        assert_eq!(values(&all.of_product(&a)), values(&a));
    }

    #[test]
    fn channels_are_padded_joined_and_flattened_as_their_maps_are() {
        let (a, all) = (channels(&[1., 0.]), Channels::default());
        assert_eq!(values(&Channels::side_by_side(&[a.clone(), all.clone()], 2)).unwrap(), [1., 0., 1., 1.]);
        assert!(values(&Channels::side_by_side(&[all.clone(), all.clone()], 2)).is_none());
        assert_eq!(values(&a.between_zeros([1, 2], false)).unwrap(), [0., 1., 0., 0., 0.]);
        assert_eq!(values(&a.between_zeros([1, 0], true)).unwrap(), [1., 1., 0.]);
        let maps = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.]).view([1, 2, 3, 1]);
        let flat = a.keep(maps.shallow_clone(), Techniques::ALL).flatten(1, -1);
        let by_mask = maps.flatten(1, -1) * a.flattened(6).mask(Techniques::ALL).unwrap();
        assert!(flat.equal(&by_mask));
    }

    #[test]
    fn a_buffer_that_changes_in_place_changes_all_that_follows_from_it() {
        let buffer = Tensor::from_slice(&[1f32, 1.]);
        let channels = Channels::kept(buffer.shallow_clone()).flattened(4);
        assert_eq!(channels.count(4), 4);
        let _ = buffer.get(0).fill_(0.0);
        assert_eq!((values(&channels).unwrap(), channels.count(4)), (vec![0., 0., 1., 1.], 2));
        assert!(channels.mask(Techniques::only(super::super::Technique::Quantize)).is_none());
    }
}
