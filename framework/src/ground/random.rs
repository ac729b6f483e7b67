//! Random streams that are addressed, not advanced.
//!
//! A [`Stream`] is opened by what it is for (`seed`, purpose, index), so that nothing about
//! randomness has to be kept in a checkpoint: an interrupted trial opens the same streams again.
//! Numbers are drawn on the CPU, so that they do not depend on the device.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use tch::Tensor;

/// One reproducible stream of random numbers.
#[derive(Debug, Clone)]
pub struct Stream(Option<ChaCha8Rng>);

impl Stream {
    /// Opens the stream for `purpose` (a path such as `"search/order"`) and `index` (an epoch, say)
    /// under `seed`.
    pub fn open(seed: u64, purpose: &str, index: u64) -> Stream {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(&index.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Stream(Some(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())))
    }

    /// The stream of a number alone, for tests: libtorch's generator is shared by all threads, so that
    /// what a test draws from it depends on the tests beside it.
    pub fn numbered(number: u64) -> Stream {
        Stream::open(0, "a test", number)
    }

    /// A stream for networks that are counted and never run: its tensors hold ones, in the memory
    /// of a single number.
    pub fn outline() -> Stream {
        Stream(None)
    }

    /// A tensor of independent draws from N(0, 1), f32 on the CPU.
    pub fn normal(&mut self, shape: &[i64]) -> Tensor {
        let count = shape.iter().product::<i64>() as usize;
        let Some(numbers) = &mut self.0 else { return flat_ones(shape) };
        let mut values = room(shape, count);
        values.extend(numbers.sample_iter::<f32, _>(StandardNormal).take(count));
        Tensor::from_slice(&values).view(shape)
    }

    /// Draws from N(0, deviation²); in an outline, where values mean nothing, without the memory
    /// that a product would take.
    pub fn normal_of(&mut self, shape: &[i64], deviation: f64) -> Tensor {
        let numbers = self.normal(shape);
        if self.0.is_some() { numbers * deviation } else { numbers }
    }

    /// A tensor of independent draws from U(low, high), f32 on the CPU.
    pub fn uniform(&mut self, shape: &[i64], low: f64, high: f64) -> Tensor {
        let count = shape.iter().product::<i64>() as usize;
        let Some(numbers) = &mut self.0 else { return flat_ones(shape) };
        let mut values = room(shape, count);
        values.extend((0..count).map(|_| (low + (high - low) * numbers.random::<f64>()) as f32));
        Tensor::from_slice(&values).view(shape)
    }

    /// Independent draws from 0, 1, ..., `below` - 1, all alike.
    pub fn integers(&mut self, count: usize, below: i64) -> Vec<i64> {
        let Some(numbers) = &mut self.0 else { return vec![0; count] };
        (0..count).map(|_| numbers.random_range(0..below)).collect()
    }

    /// 64 random bits; 0 in an outline.
    pub fn key(&mut self) -> i64 {
        self.0.as_mut().map_or(0, |numbers| numbers.random())
    }

    /// The numbers `0..count` in random order.
    pub fn permutation(&mut self, count: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..count as i64).collect();
        if let Some(numbers) = &mut self.0 {
            order.shuffle(numbers);
        }
        order
    }
}

/// Room for the values of a tensor.
///
/// # Panics
///
/// When there is none, as libtorch's own operations do: a trial that does not fit ends as an error,
/// and the process goes on.
fn room(shape: &[i64], count: usize) -> Vec<f32> {
    let mut values = Vec::new();
    if values.try_reserve_exact(count).is_err() {
        panic!("not enough memory: you tried to allocate a tensor of shape {shape:?}");
    }
    values
}

fn flat_ones(shape: &[i64]) -> Tensor {
    Tensor::ones([0i64; 0], (tch::Kind::Float, tch::Device::Cpu)).expand(shape, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_gives_the_same_numbers_and_another_does_not() {
        let draw =
            |seed, purpose, index| Vec::<f32>::try_from(Stream::open(seed, purpose, index).normal(&[8])).unwrap();
        assert_eq!(draw(0, "a", 0), draw(0, "a", 0));
        assert_ne!(draw(0, "a", 0), draw(1, "a", 0));
        assert_ne!(draw(0, "a", 0), draw(0, "b", 0));
        assert_ne!(draw(0, "a", 0), draw(0, "a", 1));
    }

    #[test]
    fn normal_draws_have_zero_mean_and_unit_variance() {
        let draws = Stream::open(0, "moments", 0).normal(&[100_000]);
        assert!(draws.mean(tch::Kind::Float).double_value(&[]).abs() < 0.01);
        assert!((draws.std(true).double_value(&[]) - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut order = Stream::open(0, "order", 3).permutation(1000);
        assert_ne!(order[..10], (0..10).collect::<Vec<i64>>()[..]);
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<i64>>());
    }
}
