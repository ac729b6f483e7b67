//! `litesnn export`: the network of a finished trial as a file that runs without libtorch.
//!
//! A design names the trial that trained it: the one finished trial below `--runs` with the same
//! decisions ([`Design::decides_as`]).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use litesnn_exchange::{nir, onnx};
use litesnn_framework::Error;
use litesnn_framework::ground::file::{read_text, write_atomically};
use litesnn_framework::network::Design;
use litesnn_framework::network::engine::file::{self, Provenance};
use litesnn_framework::record::{Outcome, files};
use litesnn_framework::run::{packed_trial, trials_of};
use sha2::{Digest, Sha256};

use crate::arguments::{Export, Format, Width, data_store};
use crate::exit::{Exit, Failure};
use crate::output::{out, say};

pub fn export(options: &Export) -> Result<Exit, Failure> {
    refuse_options_of_other_formats(options)?;
    let folder = &trial(options)?;
    let (network, provenance) = packed_trial(folder, &data_store())?;
    let unfit = |what: String| {
        let early = options.format != Format::Packed && network.exit.is_some() && !options.past_exit;
        let hint = match early {
            true => "`--past-exit` writes its answers at the last timestep; `--format packed` holds its early exit",
            false => "`--format packed` holds every network of this program that spikes",
        };
        let message = format!("has a network that cannot be written: {what}");
        Error::Content { path: folder.clone(), message, hint: hint.into() }
    };
    let packed = file::write(&network, &provenance).map_err(|flaw| unfit(flaw.to_string()))?;
    let (facts, past_exit) = (facts(&provenance, &packed), options.past_exit);
    let (bytes, name) = match options.format {
        Format::Packed => (packed, files::NETWORK),
        Format::Onnx => {
            let width = match options.width {
                Some(Width::Int8) | None => onnx::Width::Int8,
                Some(Width::Int4) => onnx::Width::Int4,
                Some(Width::Int2) => onnx::Width::Int2,
                Some(Width::Float) => onnx::Width::Float,
            };
            let settings = onnx::Options { width, spikes: options.spikes, past_exit, facts };
            (onnx::write(&network, &settings).map_err(|refusal| unfit(refusal.to_string()))?, "network.onnx")
        }
        Format::Nir => {
            let settings = nir::Options { unit_resistance: options.unit_resistance, past_exit, facts };
            (nir::write(&network, &settings).map_err(|refusal| unfit(refusal.to_string()))?, "network.nir")
        }
    };
    let path: PathBuf = options.out.clone().unwrap_or_else(|| folder.join(name));
    write_atomically(&path, &bytes)?;
    out!("{}: {} bytes", path.display(), bytes.len());
    Ok(Exit::Done)
}

/// Options that have a meaning for some formats alone.
fn refuse_options_of_other_formats(options: &Export) -> Result<(), Failure> {
    let (onnx, nir) = ("`--format onnx`", "`--format nir`");
    let of = |option: &'static str, given: bool, formats: &'static [Format], named: String| {
        let message = format!("`{option}` is for {named}");
        match given && !formats.contains(&options.format) {
            true => Err(Failure::new(Exit::Usage, message, None)),
            false => Ok(()),
        }
    };
    of("--width", options.width.is_some(), &[Format::Onnx], onnx.into())?;
    of("--spikes", options.spikes, &[Format::Onnx], onnx.into())?;
    of("--unit-resistance", options.unit_resistance, &[Format::Nir], nir.into())?;
    of("--past-exit", options.past_exit, &[Format::Onnx, Format::Nir], format!("{onnx} and {nir}"))
}

/// The folder of the trial whose weights leave.
fn trial(options: &Export) -> Result<PathBuf, Failure> {
    let (target, runs) = (&options.target, options.runs.display());
    if target.is_dir() {
        return Ok(target.clone());
    }
    let refused = |message: String, hint: String| Error::Content { path: target.clone(), message, hint };
    let text = match read_text(target) {
        // Such as a packed network.
        Err(error) if error.kind() == ErrorKind::InvalidData => String::new(),
        read => read.map_err(Error::file("read", target))?,
    };
    if !Design::is_told_by(&text) {
        let message = "is neither the folder of a trial nor a design, and only trials have trained weights";
        let hint = match target.parent().filter(|folder| folder.join(files::RESULT).is_file()) {
            Some(folder) => format!("`litesnn export {}` takes the trial in whose folder it lies", folder.display()),
            None => "`litesnn runs` lists trials, and `litesnn run` trains a manifest's".into(),
        };
        return Err(refused(message.into(), hint).into());
    }
    let mut found = trials_of(&Design::parse(&text, target)?, &options.runs);
    match found.len() {
        0 => {
            let message = format!("is a design, which has no weights, and no finished trial below `{runs}` trained it");
            let hint = format!(
                "`litesnn run` trains it by a manifest with `[design] file = \"{}\"`; `--runs DIR` looks elsewhere",
                target.display()
            );
            Err(refused(message, hint).into())
        }
        1 => {
            let (folder, outcome) = found.remove(0);
            say!("{}", line(&folder, &outcome));
            Ok(folder)
        }
        count => {
            let lines: String = found.iter().map(|(folder, outcome)| format!("\n{}", line(folder, outcome))).collect();
            let message = format!(
                "is the design of {count} finished trials below `{runs}`, each with weights of its own:{lines}"
            );
            let hint = format!("`litesnn export {}` takes the first one", found[0].0.display());
            Err(refused(message, hint).into())
        }
    }
}

/// A trial that has weights of a design.
fn line(folder: &Path, outcome: &Outcome) -> String {
    let Outcome { seed, dataset, test_accuracy, .. } = outcome;
    format!("{}: seed {seed}, {:.2} % of {dataset}", folder.display(), 100.0 * test_accuracy)
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
