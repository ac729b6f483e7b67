//! One input: classes and probabilities of a picture or of a sound.

use std::io::Cursor;
use std::path::Path;
use std::time::Instant;

use image::{DynamicImage, Rgba};
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

/// Pixels from 0 to 1, `[C, H, W]`: the picture, upright, fills the network's image and is cropped at
/// the middle. What is transparent is on black, as in the page of a report. Of one channel it is the
/// luma of ITU-R BT.601, of three red, green and blue.
fn picture(path: &Path, [channels, height, width]: [usize; 3]) -> Result<Vec<f32>, Error> {
    let unread = |error: image::ImageError| {
        wrong(path, format!("is no picture that can be read: {error}"), "PNG and JPEG are read")
    };
    if channels != 1 && channels != 3 {
        let message = format!("cannot be an image of {channels} channels, which the network reads");
        return Err(wrong(path, message, "`--dataset` names the data set of the network"));
    }
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let picture = on_black(upright(image::load_from_memory(&bytes).map_err(unread)?, &bytes));
    let filled = picture.resize_to_fill(width as u32, height as u32, image::imageops::FilterType::Triangle).to_rgb8();
    let colour = |pixel: &image::Rgb<u8>, channel: usize| f32::from(pixel.0[channel]) / 255.0;
    let luma = |pixel: &image::Rgb<u8>| 0.299 * colour(pixel, 0) + 0.587 * colour(pixel, 1) + 0.114 * colour(pixel, 2);
    Ok(match channels {
        1 => filled.pixels().map(luma).collect(),
        _ => (0..3).flat_map(|channel| filled.pixels().map(move |pixel| colour(pixel, channel))).collect(),
    })
}

/// The picture as the orientation in its Exif data turns and mirrors it; cameras write it instead of
/// turning the pixels.
fn upright(picture: DynamicImage, file: &[u8]) -> DynamicImage {
    let exif = exif::Reader::new().read_from_container(&mut Cursor::new(file)).ok();
    let field = exif.as_ref().and_then(|exif| exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY));
    match field.and_then(|field| field.value.get_uint(0)) {
        Some(2) => picture.fliph(),
        Some(3) => picture.rotate180(),
        Some(4) => picture.flipv(),
        Some(5) => picture.rotate90().fliph(),
        Some(6) => picture.rotate90(),
        Some(7) => picture.rotate270().fliph(),
        Some(8) => picture.rotate270(),
        _ => picture,
    }
}

/// The picture over black, where it has an alpha channel.
fn on_black(picture: DynamicImage) -> DynamicImage {
    if !picture.color().has_alpha() {
        return picture;
    }
    let mut pixels = picture.into_rgba8();
    for Rgba([red, green, blue, alpha]) in pixels.pixels_mut() {
        let share = u32::from(*alpha);
        [red, green, blue].into_iter().for_each(|colour| *colour = ((u32::from(*colour) * share + 127) / 255) as u8);
    }
    DynamicImage::ImageRgba8(pixels)
}

#[cfg(test)]
mod tests {
    use image::{ImageOutputFormat, Luma, RgbaImage};

    use super::*;

    /// Pixels of a file of these bytes, one channel.
    fn grey(bytes: &[u8], [height, width]: [usize; 2]) -> Vec<f32> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture");
        std::fs::write(&path, bytes).unwrap();
        picture(&path, [1, height, width]).unwrap()
    }

    fn encoded(picture: &DynamicImage, format: ImageOutputFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    /// A JPEG of 16x16 whose four quarters have brightnesses of their own, with this orientation:
    /// an APP1 segment of Exif data of one entry behind the beginning of the file.
    fn quarters(orientation: u8) -> Vec<u8> {
        let level = |x: u32, y: u32| [[250, 170], [90, 10]][(y / 8) as usize][(x / 8) as usize];
        let plain = image::GrayImage::from_fn(16, 16, |x, y| Luma([level(x, y)]));
        let jpeg = encoded(&DynamicImage::ImageLuma8(plain), ImageOutputFormat::Jpeg(100));
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        let length = (exif.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
    }

    /// The table of the Exif standard: where the first row and the first column of the pixels lie.
    /// Orientation 6 once gave another class than the picture turned upright.
    #[test]
    fn a_picture_is_seen_as_its_orientation_says() {
        for (orientation, shown) in [
            (1, [250, 170, 90, 10]),
            (2, [170, 250, 10, 90]),
            (3, [10, 90, 170, 250]),
            (4, [90, 10, 250, 170]),
            (5, [250, 90, 170, 10]),
            (6, [90, 250, 10, 170]),
            (7, [10, 170, 90, 250]),
            (8, [170, 10, 250, 90]),
        ] {
            // Away from the middle, where a quarter meets another one.
            let found = grey(&quarters(orientation), [16, 16]);
            let corners = [0, 15, 15 * 16, 15 * 16 + 15].map(|place| (found[place] * 255.0).round() as i32);
            let apart = corners.iter().zip(shown).map(|(found, shown)| (found - shown).abs()).max().unwrap();
            assert!(apart <= 4, "orientation {orientation}: {corners:?}, and {shown:?} is shown");
        }
    }

    #[test]
    fn what_is_transparent_is_on_black() {
        let white =
            RgbaImage::from_fn(2, 2, |x, y| Rgba([255, 255, 255, [[0, 255], [128, 51]][y as usize][x as usize]]));
        let found = grey(&encoded(&DynamicImage::ImageRgba8(white), ImageOutputFormat::Png), [2, 2]);
        for (found, wanted) in found.into_iter().zip([0.0, 1.0, 128.0 / 255.0, 0.2]) {
            assert!((found - wanted).abs() < 1e-6, "{found}, and not {wanted}");
        }
    }
}
