//! `litesnn export`: the network of a finished trial as a file that runs without libtorch.

use std::path::PathBuf;

use litesnn_framework::Error;
use litesnn_framework::ground::file::write_atomically;
use litesnn_framework::network::engine::file;
use litesnn_framework::record::files;
use litesnn_framework::run::packed_trial;

use crate::arguments::{Export, Format, data_store};
use crate::exit::{Exit, Failure};
use crate::output::out;

/// What made the file.
const PRODUCER: &str = concat!("litesnn ", env!("CARGO_PKG_VERSION"));

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
    let (network, provenance) = packed_trial(folder, &data_store(), PRODUCER)?;
    let unfit = |what: String| Error::Content {
        path: folder.clone(),
        message: format!("has a network that cannot be written: {what}"),
        hint: "`--format packed` holds every network of this program that spikes".into(),
    };
    let (bytes, name) = match options.format {
        Format::Packed => {
            let bytes = file::write(&network, &provenance).map_err(|flaw| unfit(flaw.to_string()))?;
            (bytes, files::NETWORK)
        }
        Format::Onnx => {
            let settings = litesnn_exchange::onnx::Options::default();
            let bytes =
                litesnn_exchange::onnx::write(&network, &settings).map_err(|refusal| unfit(refusal.to_string()))?;
            (bytes, "network.onnx")
        }
    };
    let path: PathBuf = options.out.clone().unwrap_or_else(|| folder.join(name));
    write_atomically(&path, &bytes)?;
    out!("{}: {} bytes", path.display(), bytes.len());
    Ok(Exit::Done)
}
