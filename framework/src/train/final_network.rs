//! The network of a finished trial, with its final weights.

use std::path::Path;

use tch::Device;

use super::{Checkpoint, Phase};
use crate::ground::{Build, Parameters};
use crate::network::{Design, Network};
use crate::record::{Stage, files};
use crate::{Error, Result};

/// The network of `design`, which the finished trial in `folder` trained with `seed`, with the
/// weights of its last checkpoint. Errors say what the weights are for (`purpose`, such as ` to teach
/// with`), and by `hint` what brings them back.
///
/// # Errors
///
/// No checkpoint, one from before the end of the trial, and one that does not fit the design.
pub fn final_network(
    folder: &Path,
    (design, seed): (&Design, i64),
    device: Device,
    (purpose, hint): (&str, &str),
) -> Result<Box<dyn Network>> {
    let refused = |message: String| Error::Content { path: folder.into(), message, hint: hint.into() };
    let weights = Checkpoint::last(&folder.join(files::CHECKPOINT))
        .map_err(|error| refused(format!("has no final weights{purpose}: {error}")))?;
    if weights.phase != Phase::Retrain || !weights.finished.contains(&Stage::Retrain) {
        let message = format!("has no final weights{purpose}: its newest checkpoint is from before its end");
        return Err(refused(message));
    }
    let mut parameters = Parameters::default();
    let network = design.build(&mut Build::new(&mut parameters, seed as u64, device))?;
    weights
        .restore_parameters(&parameters)
        .map_err(|why| refused(format!("does not fit its own design: its last checkpoint {why}")))?;
    Ok(network)
}
