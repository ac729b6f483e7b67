//! `litesnn infer --logits`: the answers for every image of a split, as a file of safetensors.
//!
//! | tensor | type, shape | what |
//! |---|---|---|
//! | `logits` | F32 `[N, K]` | means over the timesteps that ran: the network's answer |
//! | `by_timestep` | F32 `[N, T, K]` | logits of each timestep; NaN where the image had stopped early |
//! | `labels` | I64 `[N]` | classes of the data set |
//!
//! Images stand in the order of the split, numbers are those of the engine to the bit.

use std::path::Path;

use litesnn_framework::ground::file::write_atomically;
use litesnn_framework::network::engine::{Network, Outcome};
use litesnn_framework::{Error, Result};
use safetensors::tensor::{Dtype, TensorView};

/// The answers so far.
pub struct Logits {
    classes: usize,
    timesteps: usize,
    logits: Vec<f32>,
    by_timestep: Vec<f32>,
    labels: Vec<i64>,
}

impl Logits {
    /// No answer yet of `network`.
    pub fn new(network: &Network) -> Logits {
        let (classes, timesteps) = (network.classes.len(), network.timesteps);
        Logits { classes, timesteps, logits: Vec::new(), by_timestep: Vec::new(), labels: Vec::new() }
    }

    /// Adds an image.
    pub fn add(&mut self, outcome: &Outcome, label: i64) {
        self.labels.push(label);
        self.logits.extend(&outcome.logits);
        self.by_timestep.extend(outcome.logits_by_timestep.iter().flatten());
        self.by_timestep.resize(self.labels.len() * self.timesteps * self.classes, f32::NAN);
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let images = self.labels.len();
        let floats = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let labels = self.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        let tensors = [
            ("logits", Dtype::F32, vec![images, self.classes], floats(&self.logits)),
            ("by_timestep", Dtype::F32, vec![images, self.timesteps, self.classes], floats(&self.by_timestep)),
            ("labels", Dtype::I64, vec![images], labels),
        ];
        let unwritten = |error: safetensors::SafeTensorError| Error::Record(error.to_string());
        let views = tensors.iter().map(|(name, kind, shape, bytes)| {
            Ok((*name, TensorView::new(*kind, shape.clone(), bytes).map_err(unwritten)?))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        write_atomically(path, &safetensors::serialize(views, None).map_err(unwritten)?)
    }
}
