//! One input: classes and probabilities of a picture or of a sound.

use std::path::Path;
use std::time::Instant;

use litesnn_framework::Error;
use litesnn_framework::data::{Heard, Input, Split};
use litesnn_framework::network::engine::file::Provenance;
use litesnn_framework::network::engine::{Network, Prepared, Reference};
use litesnn_framework::train::Batches;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::layers::{self, Ledger};
use super::{answer, bad, normalisation, wrong};
use crate::arguments::Infer;
use crate::exit::{Exit, Failure};
use crate::output::{out, say};

pub fn on_picture(
    options: &Infer,
    path: &Path,
    prepared: &Prepared,
    (network, provenance): (&Network, &Provenance),
) -> Result<Exit, Failure> {
    // What makes an input is told of sounds alone.
    if !provenance.input.is_empty() {
        let message = "has a network for sounds, and a picture is none".to_owned();
        return Err(wrong(&options.file, message, "`--sound CLIP.wav` names a sound").into());
    }
    let pixels = picture(path, network.image.shape)?;
    let input = Reference::new(network).normalised(&pixels).map_err(|why| bad(path, why))?;
    classes(options, path, &input, Vec::new(), prepared, network)
}

/// The data set that the packed file names makes the input.
pub fn on_sound(
    options: &Infer,
    clip: &Path,
    prepared: &Prepared,
    (network, provenance): (&Network, &Provenance),
) -> Result<Exit, Failure> {
    let file = |message: String, hint: &str| wrong(&options.file, message, hint);
    if provenance.input.is_empty() {
        let message = format!("does not say how its input, {:?}, is made of a sound", network.image.shape);
        let hint = "`litesnn export` writes it where the network was trained on sounds; `--image` is for pictures";
        return Err(file(message, hint).into());
    }
    let again = "`litesnn export` writes the file again for this program";
    let input = Input::parse(&provenance.input).map_err(|why| file(why, again))?;
    let Heard { input, notes } = input.of_sound(clip)?;
    let shape = network.image.shape.map(|side| side as i64);
    if input.size()[1..] != shape {
        let message = format!("makes inputs {:?} of sounds, and its network reads {shape:?}", &input.size()[1..]);
        return Err(file(message, again).into());
    }
    let split = Split { images: input, labels: Tensor::zeros([1], (Kind::Int64, Device::Cpu)) };
    let batch = Batches::new(&split, &normalisation(network), vec![0], 1, Device::Cpu).next();
    let images = batch.expect("a split of one sample has one batch").images;
    let input = Vec::<f32>::try_from(images.flatten(0, -1)).unwrap_or_default();
    classes(options, clip, &input, notes, prepared, network)
}

/// Prints what the network answers for a normalised input that was made of the file `path`.
fn classes(
    options: &Infer,
    path: &Path,
    input: &[f32],
    notes: Vec<String>,
    prepared: &Prepared,
    network: &Network,
) -> Result<Exit, Failure> {
    let mut ledger = options.layers.then(Ledger::default);
    let begin = Instant::now();
    let outcome = answer(prepared, &mut prepared.arena(), input, &mut ledger).map_err(|why| bad(path, why))?;
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
        if !notes.is_empty() {
            document["notes"] = json!(notes);
        }
        if let Some(rows) = rows {
            document["by_layer"] = json!(rows);
        }
        out!("{document:#}");
        return Ok(Exit::Done);
    }
    notes.iter().for_each(|note| say!("note: `{}` {note}", path.display()));
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
