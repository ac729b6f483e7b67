//! `litesnn infer`: a packed network on a data set or on a picture, by the engine.

mod layers;

use std::path::Path;
use std::time::Instant;

use litesnn_framework::Error;
use litesnn_framework::data::{Dataset, Normalisation, Split};
use litesnn_framework::network::engine::file::{self, Provenance};
use litesnn_framework::network::engine::{Arena, BadImage, Network, Outcome, Prepared, Reference};
use litesnn_framework::train::Batches;
use serde_json::json;
use tch::Device;

use crate::arguments::{Infer, Part, data_store};
use crate::exit::{Exit, Failure};
use crate::output::out;
use layers::Ledger;

pub fn infer(options: &Infer) -> Result<Exit, Failure> {
    let path = &options.file;
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let begin = Instant::now();
    let (network, provenance) = file::read(&bytes).map_err(|why| Error::Content {
        path: path.clone(),
        message: why.to_string(),
        hint: "`litesnn export` writes packed networks".into(),
    })?;
    let prepared = Prepared::new(&network).with_threads(options.threads.unwrap_or(1));
    let loaded = begin.elapsed().as_secs_f64();
    match (&options.dataset, &options.image) {
        (Some(name), None) => over_split(options, name, &prepared, (&network, &provenance), loaded),
        (None, Some(image)) => on_picture(options, image, &prepared, &network),
        _ => unreachable!("the command line has one of the two"),
    }
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

/// Accuracy over a split.
fn over_split(
    options: &Infer,
    name: &str,
    prepared: &Prepared,
    (network, provenance): (&Network, &Provenance),
    loaded: f64,
) -> Result<Exit, Failure> {
    let dataset: Box<dyn Dataset> = serde_json::from_value(json!({ name: {} })).map_err(|error| Error::Plugin {
        kind: "dataset",
        name: name.to_owned(),
        message: format!("cannot be opened without settings: {error}"),
    })?;
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
    let split: &Split = match options.split {
        Part::Train => &splits.train,
        Part::Validation => &splits.validation,
        Part::Test => &splits.test,
    };
    let count = options.limit.unwrap_or(usize::MAX).min(split.len());
    let normalisation = Normalisation { mean: network.image.mean.clone(), std: network.image.std.clone() };
    let order = (0..count as i64).collect();
    let (mut arena, mut right, mut timesteps, mut spikes) = (prepared.arena(), 0usize, 0usize, 0u64);
    let (mut additions, mut seconds) = (0u64, 0.0);
    let mut ledger = options.layers.then(Ledger::default);
    for batch in Batches::new(split, &normalisation, order, 100, Device::Cpu) {
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
        }
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

/// Classes and probabilities of a picture.
fn on_picture(options: &Infer, path: &Path, prepared: &Prepared, network: &Network) -> Result<Exit, Failure> {
    let pixels = picture(path, network.image.shape)?;
    let begin = Instant::now();
    let mut ledger = options.layers.then(Ledger::default);
    let input = Reference::new(network).normalised(&pixels).map_err(|why| bad(path, why))?;
    let outcome = answer(prepared, &mut prepared.arena(), &input, &mut ledger).map_err(|why| bad(path, why))?;
    let seconds = begin.elapsed().as_secs_f64();
    let most = outcome.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponents: Vec<f64> = outcome.logits.iter().map(|logit| f64::from(logit - most).exp()).collect();
    let total: f64 = exponents.iter().sum();
    let mut classes: Vec<(f64, &String)> =
        exponents.iter().map(|exponent| exponent / total).zip(&network.classes).collect();
    classes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let rows = ledger.map(|ledger| ledger.rows(network, prepared));
    if options.json {
        let classes: Vec<_> = classes.iter().map(|(p, name)| json!({ "class": name, "probability": p })).collect();
        let mut document = json!({ "classes": classes, "timesteps": outcome.timesteps, "logits": outcome.logits });
        if let Some(rows) = rows {
            document["by_layer"] = json!(rows);
        }
        out!("{document:#}");
        return Ok(Exit::Done);
    }
    for (probability, name) in classes.iter().take(5) {
        out!("{:6.2} %  {name}", 100.0 * probability);
    }
    out!("{} timesteps, {:.3} ms", outcome.timesteps, 1000.0 * seconds);
    rows.iter().for_each(|rows| layers::print(rows));
    Ok(Exit::Done)
}

/// Pixels from 0 to 1, `[C, H, W]`: the picture fills the network's image and is cropped at the middle.
/// Of one channel it is the luma of ITU-R BT.601, of three red, green and blue.
fn picture(path: &Path, [channels, height, width]: [usize; 3]) -> Result<Vec<f32>, Error> {
    let unread = |error: image::ImageError| {
        wrong(path, format!("is no picture that can be read: {error}"), "PNG and JPEG are read")
    };
    if channels != 1 && channels != 3 {
        let message = format!("cannot be an image of {channels} channels, which the network reads");
        return Err(wrong(path, message, "`--dataset` names the data set of the network"));
    }
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let picture = image::load_from_memory(&bytes).map_err(unread)?;
    let filled = picture.resize_to_fill(width as u32, height as u32, image::imageops::FilterType::Triangle).to_rgb8();
    let colour = |pixel: &image::Rgb<u8>, channel: usize| f32::from(pixel.0[channel]) / 255.0;
    let luma = |pixel: &image::Rgb<u8>| 0.299 * colour(pixel, 0) + 0.587 * colour(pixel, 1) + 0.114 * colour(pixel, 2);
    Ok(match channels {
        1 => filled.pixels().map(luma).collect(),
        _ => (0..3).flat_map(|channel| filled.pixels().map(move |pixel| colour(pixel, channel))).collect(),
    })
}
