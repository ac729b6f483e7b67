//! The trained network of a finished trial, for the engine and for other programs.

use std::path::{Path, PathBuf};

use litesnn_engine::Network;
use litesnn_engine::file::{self, Provenance};
use tch::Device;

use crate::data::{DataStore, Input};
use crate::manifest::{Request, load};
use crate::network::{Design, packed};
use crate::record::{self, Outcome, files};
use crate::train::final_network;
use crate::{Error, Result};

/// What makes the files.
const PRODUCER: &str = concat!("litesnn ", env!("CARGO_PKG_VERSION"));

/// The network of a finished trial with its final weights, and where it comes from.
///
/// The data set is opened, since the network's normalisation is that of its data.
///
/// # Errors
///
/// A folder without a finished trial or without final weights, data that are not there, and a network
/// that the engine has no form for.
pub fn packed_trial(folder: &Path, store: &DataStore) -> Result<(Network, Provenance)> {
    let refused = |message: String, hint: &str| Error::Content { path: folder.into(), message, hint: hint.into() };
    let Some(outcome) = record::result(folder) else {
        return Err(refused("holds no finished trial".into(), "`litesnn run` finishes it"));
    };
    let design = Design::read(&folder.join(files::DESIGN))?;
    let network = final_network(folder, (&design, outcome.seed), Device::Cpu, ("", FORGOTTEN))?;
    let plan = load(&Request { manifest: folder.join(files::MANIFEST), ..Request::default() })?;
    let manifest = &plan.trials.first().ok_or_else(|| Error::design("its manifest has no trial"))?.manifest;
    let splits = store.open(manifest.dataset.as_ref())?;
    let exit = manifest.timesteps.early_exit();
    let network = packed(network.as_ref(), &splits.info, &splits.normalisation, design.timesteps, exit)?;
    let input = Input::text(manifest.dataset.as_ref(), &splits)?.unwrap_or_default();
    Ok((network, provenance(folder, &outcome, input)))
}

fn provenance(folder: &Path, outcome: &Outcome, input: String) -> Provenance {
    Provenance {
        producer: PRODUCER.to_owned(),
        name: folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        accuracy: outcome.test_accuracy,
        measured_on: format!("{}, {} test images, data {}", outcome.dataset, outcome.test_images, outcome.data_digest),
        claimed_bytes: outcome.model_size_bytes,
        input,
    }
}

/// Bytes of the packed file of a trial's network, with the text of its [`Input`].
pub(super) fn file_bytes(network: &Network, folder: &Path, outcome: &Outcome, input: String) -> Result<f64> {
    let written = file::write(network, &provenance(folder, outcome, input));
    written.map(|file| file.len() as f64).map_err(|flaw| Error::design(flaw.to_string()))
}

/// The finished trials below `runs` that trained this design, with their results, by folder. A trial
/// that was searched trained the design that it found.
pub fn trials_of(design: &Design, runs: &Path) -> Vec<(PathBuf, Outcome)> {
    let trained = |folder: &PathBuf| Design::read(&folder.join(files::DESIGN)).is_ok_and(|own| own.decides_as(design));
    let folders = record::trial_folders(runs).into_iter().filter(trained);
    folders.filter_map(|folder| record::result(&folder).map(|outcome| (folder, outcome))).collect()
}

/// What brings final weights back.
const FORGOTTEN: &str =
    "`litesnn runs gc` removes the weights of finished trials; `litesnn run --again` trains it again";
