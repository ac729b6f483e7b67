//! `litesnn infer`: a packed network on a data set, on a picture or on a sound, by the engine.

mod layers;
mod logits;
mod single;

use std::path::Path;
use std::time::Instant;

use litesnn_framework::Error;
use litesnn_framework::data::{Dataset, Input, Normalisation, Split};
use litesnn_framework::manifest;
use litesnn_framework::network::engine::file::{self, Provenance};
use litesnn_framework::network::engine::{Arena, BadImage, Network, Outcome, Prepared};
use litesnn_framework::record::files;
use litesnn_framework::train::Batches;
use serde_json::json;
use tch::Device;

use crate::arguments::{Infer, Part, data_store};
use crate::exit::{Exit, Failure};
use crate::output::{out, say};
use layers::Ledger;
use logits::Logits;

pub fn infer(options: &Infer) -> Result<Exit, Failure> {
    let path = &options.file;
    if path.is_dir() {
        return Err(a_folder(path).into());
    }
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let begin = Instant::now();
    let exported =
        "`litesnn export` writes packed networks, as `network.packed`; ONNX and NIR files are for other programs";
    // It begins with the length of its header.
    if bytes.first_chunk().is_none_or(|length| u64::from_le_bytes(*length) > bytes.len() as u64) {
        return Err(wrong(path, "is no packed network".into(), exported).into());
    }
    let (network, provenance) =
        file::read(&bytes).map_err(|why| wrong(path, format!("cannot run: {why}"), exported))?;
    let prepared = Prepared::new(&network).with_threads(options.threads.unwrap_or(1).into());
    let loaded = begin.elapsed().as_secs_f64();
    match (&options.dataset, &options.image, &options.sound) {
        (Some(name), None, None) => over_split(options, name, &prepared, (&network, &provenance), loaded),
        (None, Some(image), None) => single::on_picture(options, image, &prepared, (&network, &provenance)),
        (None, None, Some(clip)) => single::on_sound(options, clip, &prepared, (&network, &provenance)),
        _ => unreachable!("the command line has one of the three"),
    }
}

/// A folder in place of the file in it.
fn a_folder(path: &Path) -> Error {
    let hint = match path.join(files::NETWORK) {
        packed if packed.is_file() => format!("`litesnn infer {}` runs the one in it", packed.display()),
        _ => format!(
            "`litesnn export {}` writes `{}` into the folder of a finished trial",
            path.display(),
            files::NETWORK
        ),
    };
    wrong(path, "is a folder, and no packed network".into(), &hint)
}

/// What the network answers for a normalised input; `ledger` gets its times.
fn answer(
    prepared: &Prepared,
    arena: &mut Arena,
    input: &[f32],
    ledger: &mut Option<Ledger>,
) -> Result<Outcome, BadImage> {
    let Some(ledger) = ledger else { return prepared.run_normalised(arena, input) };
    let (outcome, times) = prepared.run_timed(arena, input, layers::nanoseconds)?;
    ledger.add(&outcome, &times);
    Ok(outcome)
}

fn wrong(path: &Path, message: String, hint: &str) -> Error {
    Error::Content { path: path.to_owned(), message, hint: hint.into() }
}

/// How the network normalises its input.
fn normalisation(network: &Network) -> Normalisation {
    Normalisation { mean: network.image.mean.clone(), std: network.image.std.clone() }
}

/// The data set `name`: with the settings of the packed file, where the file says them of this data
/// set, and else with its defaults, and with what the command line changes of them. Beside it, what
/// the file says.
fn dataset(options: &Infer, name: &str, provenance: &Provenance) -> Result<(Box<dyn Dataset>, Option<Input>), Error> {
    let again = "`litesnn export` writes the file again for this program";
    let input = match provenance.input.is_empty() {
        true => None,
        false => Some(Input::parse(&provenance.input).map_err(|why| wrong(&options.file, why, again))?),
    };
    let input = input.filter(|input| input.dataset.typetag_name() == name);
    let told = input.as_ref().and_then(|input| json!(input.dataset).get(name).cloned());
    Ok((manifest::dataset(name, told.unwrap_or_else(|| json!({})), &options.set)?, input))
}

/// Accuracy over a split.
fn over_split(
    options: &Infer,
    name: &str,
    prepared: &Prepared,
    (network, provenance): (&Network, &Provenance),
    loaded: f64,
) -> Result<Exit, Failure> {
    let (dataset, input) = dataset(options, name, provenance)?;
    let splits = data_store().open(dataset.as_ref())?;
    let shape = splits.info.shape.map(|side| side as usize);
    if (shape, splits.info.classes.len()) != (network.image.shape, network.classes.len()) {
        let message = format!(
            "reads images of {:?} for {} classes, and `{name}` has {shape:?} for {}",
            network.image.shape,
            network.classes.len(),
            splits.info.classes.len()
        );
        return Err(wrong(&options.file, message, "name the data set that it was trained on").into());
    }
    if input.is_some_and(|input| !input.fits(&splits)) {
        say!(
            "note: `{name}` has other training clips here than the network had, and so its inputs are others: {}",
            splits.info.title
        );
    }
    if !provenance.measured_on.is_empty() && !provenance.measured_on.ends_with(&splits.info.digest) {
        say!(
            "note: the trial had other data than `{name}` is here, {}, data {}; `--set dataset.{name}.KEY=VALUE` \
             gives the settings of its manifest",
            splits.info.title,
            splits.info.digest
        );
    }
    let split: &Split = match options.split {
        Part::Train => &splits.train,
        Part::Validation => &splits.validation,
        Part::Test => &splits.test,
    };
    let count = options.limit.map_or(split.len(), |limit| split.len().min(limit as usize));
    let order = (0..count as i64).collect();
    let (mut arena, mut right, mut timesteps, mut spikes) = (prepared.arena(), 0usize, 0usize, 0u64);
    let (mut additions, mut seconds) = (0u64, 0.0);
    let mut ledger = options.layers.then(Ledger::default);
    let mut logits = options.logits.as_ref().map(|path| (path, Logits::new(network)));
    for batch in Batches::new(split, &normalisation(network), order, 100, Device::Cpu) {
        let labels = Vec::<i64>::try_from(&batch.labels).unwrap_or_default();
        for (index, label) in labels.into_iter().enumerate() {
            let input = Vec::<f32>::try_from(batch.images.get(index as i64).flatten(0, -1)).unwrap_or_default();
            let begin = Instant::now();
            let outcome = answer(prepared, &mut arena, &input, &mut ledger).map_err(|why| bad(&options.file, why))?;
            seconds += begin.elapsed().as_secs_f64();
            right += usize::from(outcome.class as i64 == label);
            timesteps += outcome.timesteps;
            spikes += outcome.spikes.iter().sum::<u64>();
            additions += outcome.operations().additions;
            if let Some((_, logits)) = &mut logits {
                logits.add(&outcome, label);
            }
        }
    }
    if let Some((path, logits)) = &logits {
        logits.write(path)?;
    }
    let images = count.max(1) as f64;
    let accuracy = right as f64 / images;
    let rows = ledger.map(|ledger| ledger.rows(network, prepared));
    if options.json {
        let mut document = json!({
            "name": provenance.name, "accuracy": accuracy, "images": count, "mean_timesteps": timesteps as f64 / images,
            "spikes": spikes as f64 / images, "additions": additions as f64 / images,
            "milliseconds": 1000.0 * seconds / images, "load_seconds": loaded,
        });
        if let Some(rows) = rows {
            document["by_layer"] = json!(rows);
        }
        out!("{document:#}");
        return Ok(Exit::Done);
    }
    out!("{} ({})", provenance.name, provenance.producer);
    out!("accuracy     {:.2} % of {count} images: {right} right", 100.0 * accuracy);
    if provenance.accuracy.is_finite() {
        out!("told         {:.2} % ({})", 100.0 * provenance.accuracy, provenance.measured_on);
    }
    out!("timesteps    {:.2} an image", timesteps as f64 / images);
    out!("additions    {:.0} an image", additions as f64 / images);
    out!(
        "time         {:.3} ms an image, {:.0} images a second",
        1000.0 * seconds / images,
        images / seconds.max(1e-9)
    );
    out!("loading      {:.1} ms", 1000.0 * loaded);
    rows.iter().for_each(|rows| layers::print(rows));
    Ok(Exit::Done)
}

fn bad(path: &Path, why: BadImage) -> Error {
    wrong(path, why.to_string(), "name the data set that it was trained on")
}
