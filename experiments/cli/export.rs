//! `litesnn export`: the network of a finished trial as a file that runs without libtorch.

use std::path::PathBuf;

use litesnn_exchange::{nir, onnx};
use litesnn_framework::Error;
use litesnn_framework::ground::file::write_atomically;
use litesnn_framework::network::engine::file::{self, Provenance};
use litesnn_framework::record::files;
use litesnn_framework::run::packed_trial;
use sha2::{Digest, Sha256};

use crate::arguments::{Export, Format, data_store};
use crate::exit::{Exit, Failure};
use crate::output::out;

pub fn export(options: &Export) -> Result<Exit, Failure> {
    let folder = &options.trial;
    if !folder.is_dir() {
        return Err(Error::Content {
            path: folder.clone(),
            message: "is no folder of a trial, and only a trial has trained weights".into(),
            hint: "`litesnn runs` lists trials; a design gets its weights from a manifest whose [design] names it"
                .into(),
        }
        .into());
    }
    let (network, provenance) = packed_trial(folder, &data_store())?;
    let unfit = |what: String| Error::Content {
        path: folder.clone(),
        message: format!("has a network that cannot be written: {what}"),
        hint: "`--format packed` holds every network of this program that spikes".into(),
    };
    let packed = file::write(&network, &provenance).map_err(|flaw| unfit(flaw.to_string()))?;
    let facts = facts(&provenance, &packed);
    let (bytes, name) = match options.format {
        Format::Packed => (packed, files::NETWORK),
        Format::Onnx => {
            let settings = onnx::Options { facts, ..onnx::Options::default() };
            (onnx::write(&network, &settings).map_err(|refusal| unfit(refusal.to_string()))?, "network.onnx")
        }
        Format::Nir => {
            let settings = nir::Options { facts, ..nir::Options::default() };
            (nir::write(&network, &settings).map_err(|refusal| unfit(refusal.to_string()))?, "network.nir")
        }
    };
    let path: PathBuf = options.out.clone().unwrap_or_else(|| folder.join(name));
    write_atomically(&path, &bytes)?;
    out!("{}: {} bytes", path.display(), bytes.len());
    Ok(Exit::Done)
}

/// What a file of another format says of where the network comes from. The digest is that of the
/// packed file of the same trial.
fn facts(provenance: &Provenance, packed: &[u8]) -> Vec<(String, String)> {
    let digest: String = Sha256::digest(packed).iter().map(|byte| format!("{byte:02x}")).collect();
    let facts = [
        ("trial", provenance.name.clone()),
        ("accuracy", provenance.accuracy.to_string()),
        ("measured_on", provenance.measured_on.clone()),
        ("packed_sha256", digest),
    ];
    facts.map(|(key, value)| (key.to_owned(), value)).to_vec()
}
