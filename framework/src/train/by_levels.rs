//! Accuracy and loss by whole numbers: a network of levels, as a packed file holds it, run by the
//! engine.
//!
//! A sum of levels over spikes is exact whatever its order, so that this evaluation, the file and the
//! ONNX model have the same logits to the bit, on every machine and with every number of threads.


use litesnn_engine::{Prepared, Source, Synapses, Values};
use tch::{Device, Kind, Tensor};

use super::Batches;
use super::evaluate::{BATCH, refuse_broken};
use crate::data::{DataInfo, Normalisation, Split};
use crate::network::{Network, packed};
use crate::{Error, Result};

/// Accuracy and loss of `network` over `split` with `timesteps`, as [`evaluate`](super::evaluate)
/// defines them; `None` for a network that the engine has no form for, and for one with weights
/// that are no levels in a layer that reads spikes, that of the logits aside: the engine's loops over
/// f32 are plain ones. Each thread runs images of its own.
///
/// # Errors
///
/// Logits that are NaN or infinite.
pub fn evaluate_by_levels(
    network: &dyn Network,
    info: &DataInfo,
    split: &Split,
    normalisation: &Normalisation,
    timesteps: i64,
    threads: usize,
) -> Result<Option<[f64; 2]>> {
    let Ok(packed) = packed(network, info, normalisation, timesteps, None) else { return Ok(None) };
    let is_counted = |layer: &Synapses| layer.of == Source::Image || matches!(layer.values, Values::Levels(_));
    // The layer of the logits comes last.
    let hidden = packed.layers().count().saturating_sub(1);
    if split.is_empty() || !packed.layers().take(hidden).all(|(layer, _)| is_counted(layer)) {
        return Ok(None);
    }
    let prepared = Prepared::new(&packed);
    let (mut right, mut loss, mut sound) = (0usize, 0.0, Vec::new());
    for batch in Batches::new(split, normalisation, (0..split.len() as i64).collect(), BATCH, Device::Cpu) {
        let (logits, classes) = answers(&prepared, &batch.images, threads)?;
        sound.push(logits.isfinite().all_dim(1, false));
        let labels = Vec::<i64>::try_from(&batch.labels).expect("labels are whole numbers");
        right += classes.iter().zip(labels).filter(|(class, label)| **class as i64 == *label).count();
        let mean = logits.cross_entropy_for_logits(&batch.labels).to_kind(Kind::Double);
        loss += mean.double_value(&[]) * batch.len() as f64;
    }
    refuse_broken(&sound)?;
    let count = split.len() as f64;
    Ok(Some([right as f64 / count, loss / count]))
}

/// The mean logits `[B, K]` of images `[B, C, H, W]`, and their classes.
fn answers(prepared: &Prepared, images: &Tensor, threads: usize) -> Result<(Tensor, Vec<usize>)> {
    let (count, size) = (images.size()[0] as usize, images.numel() / images.size()[0] as usize);
    let pixels = Vec::<f32>::try_from(images.flatten(0, -1)).expect("images are f32");
    let each = count.div_ceil(threads.clamp(1, count));
    let run = |pixels: &[f32]| {
        let mut arena = prepared.arena();
        pixels.chunks(size).map(|image| prepared.run_normalised(&mut arena, image)).collect::<Vec<_>>()
    };
    let outcomes = std::thread::scope(|scope| {
        let parts: Vec<_> = pixels.chunks(each * size).map(|part| scope.spawn(move || run(part))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("the engine does not panic")).collect::<Vec<_>>()
    });
    let (mut logits, mut classes) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        let outcome = outcome.map_err(|why| Error::design(why.to_string()))?;
        logits.extend(outcome.logits);
        classes.push(outcome.class);
    }
    Ok((Tensor::from_slice(&logits).view([count as i64, -1]), classes))
}
