//! Logits by whole numbers: a network of levels, as a packed file holds it, run by the engine.
//!
//! A sum of levels over spikes is exact whatever its order, so that an evaluation by these logits,
//! the file and the ONNX model agree to the bit, on every machine and with every number of threads.

use litesnn_engine::{self as engine, Prepared, Source, Synapses, Values};
use tch::{Device, Tensor};

/// A network that the engine runs by whole numbers, ready to run.
#[derive(Debug)]
pub struct Counted<'a> {
    network: &'a engine::Network,
    prepared: Prepared<'a>,
}

impl<'a> Counted<'a> {
    /// Of a packed network for all timesteps. `None` where a layer that reads spikes has weights that
    /// are no levels, that of the logits aside: the engine's loops over f32 are plain ones.
    pub fn of(network: &'a engine::Network) -> Option<Counted<'a>> {
        let is_counted = |layer: &Synapses| layer.of == Source::Image || matches!(layer.values, Values::Levels(_));
        // The layer of the logits comes last.
        let hidden = network.layers().count().saturating_sub(1);
        let counts = network.layers().take(hidden).all(|(layer, _)| is_counted(layer));
        counts.then(|| Counted { network, prepared: Prepared::new(network) })
    }

    /// The logits `[T, B, K]` of normalised images `[B, C, H, W]`, on their device; NaN for an image
    /// that has a pixel which is none. Each of libtorch's threads runs images of its own.
    pub(super) fn logits(&self, images: &Tensor) -> Tensor {
        let (count, size) = (images.size()[0] as usize, images.numel() / images.size()[0] as usize);
        let pixels = Vec::<f32>::try_from(images.to_device(Device::Cpu).flatten(0, -1)).expect("images are f32");
        let share = count.div_ceil(tch::get_num_threads().max(1) as usize) * size;
        let answers: Vec<f32> = std::thread::scope(|scope| {
            let parts: Vec<_> = pixels.chunks(share).map(|part| scope.spawn(move || self.run(part, size))).collect();
            parts.into_iter().flat_map(|part| part.join().expect("the engine does not panic")).collect()
        });
        let each = Tensor::from_slice(&answers).view([count as i64, self.network.timesteps as i64, -1]);
        each.transpose(0, 1).contiguous().to_device(images.device())
    }

    /// The logits of images of `size` pixels, one after another, `[T, K]` of each.
    fn run(&self, pixels: &[f32], size: usize) -> Vec<f32> {
        let mut arena = self.prepared.arena();
        let broken = || vec![f32::NAN; self.network.timesteps * self.network.classes.len()];
        let logits = |image: &[f32]| match self.prepared.run_normalised(&mut arena, image) {
            Ok(outcome) => outcome.logits_by_timestep.concat(),
            Err(_) => broken(),
        };
        pixels.chunks(size).flat_map(logits).collect()
    }
}
