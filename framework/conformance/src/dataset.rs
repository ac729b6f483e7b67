//! Rules for data sets.
//!
//! What needs the files is skipped where they are not in the store; that a lack of files is told
//! well is checked everywhere.

use std::collections::HashSet;

use serde_json::json;
use tch::{Kind as Element, Tensor};

use crate::subject::{Made, Subject, clear, make};
use crate::workbench::{self, finite, same, works};
use crate::{Kept, Law, Stop, broken, guarded, require};
use litesnn_framework::data::{DataStore, Dataset, Split, Splits};
use litesnn_framework::{Error, Result};

/// The rules.
pub const LAWS: &[Law] = &[
    Law {
        name: "shapes",
        says: "images are [N, C, H, W] of bytes or floats as the information says, labels [N] of 64 bits",
        check: shapes,
    },
    Law { name: "labels", says: "every label names a class, and every class is trained on", check: labels },
    Law {
        name: "normalisation",
        says: "normalised images have a mean near 0 and a deviation near 1",
        check: normalisation,
    },
    Law { name: "splits", says: "what is tested or validated on is not trained on", check: splits },
    Law { name: "same-digest", says: "opened twice, digest and images are the same", check: same_digest },
    Law {
        name: "missing-files",
        says: "without its files, the error names the folder or file that is missing, and what would mend it",
        check: missing_files,
    },
    Law {
        name: "extremes",
        says: "settings at the edge work, or are refused with an error that says why",
        check: extremes,
    },
];

type Boxed = Box<dyn Dataset>;

/// Opens an example; the check is skipped where its files are not there.
fn open(subject: &Subject, made: &Made<Boxed>) -> Kept<Splits> {
    made.plugin.open(&DataStore::new(subject.beside.data.clone())).map_err(|error| {
        // An error that is not about missing files is looked at by every rule that opens.
        match made.plugin.open(&DataStore::new(Vec::new())) {
            Err(without) if without.to_string() == error.to_string() || missing(&error) => {
                Stop::Skipped(format!("the files of {} are not here: {error}", made.name))
            }
            _ => broken(format!("with {} it opens", made.shown), error.to_string()),
        }
    })
}

/// Whether the error says that something is not there.
fn missing(error: &Error) -> bool {
    match error {
        Error::File { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        Error::Content { path, .. } => !path.exists(),
        Error::Plugin { .. } => error.to_string().contains("there is no"),
        _ => false,
    }
}

/// The first example, opened.
fn first(subject: &Subject) -> Kept<(Made<Boxed>, Splits)> {
    let made = subject.examples::<Boxed>()?.remove(0);
    let splits = open(subject, &made)?;
    Ok((made, splits))
}

fn parts(splits: &Splits) -> [(&'static str, &Split); 3] {
    [("training", &splits.train), ("validation", &splits.validation), ("test", &splits.test)]
}

fn shapes(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let splits = open(subject, &made)?;
        let [channels, height, width] = splits.info.shape;
        for (name, split) in parts(&splits) {
            let count = split.labels.size().first().copied().unwrap_or(0);
            require(count > 0, format!("images in the {name} split"), "there are none")?;
            let want = [count, channels, height, width];
            let size = split.images.size();
            require(
                size == want,
                format!("{name} images {want:?}, as labels and information say"),
                format!("{size:?}"),
            )?;
            let kinds = (split.images.kind(), split.labels.kind());
            let good = matches!(kinds, (Element::Uint8 | Element::Float, Element::Int64));
            require(good, "images of Uint8 or Float, labels of Int64", format!("{kinds:?}"))?;
            require(split.labels.size() == [count], "labels [N]", format!("{:?}", split.labels.size()))?;
            require(split.images.kind() == Element::Uint8 || finite(&split.images), "finite images", "some are not")?;
        }
        let info = &splits.info;
        require(!info.digest.is_empty() && !info.title.is_empty(), "a digest and a title", format!("{info:?}"))?;
        let unique: HashSet<&String> = info.classes.iter().collect();
        let classes = info.classes.len() >= 2 && unique.len() == info.classes.len();
        require(classes, "two classes or more, each with a name of its own", format!("{:?}", info.classes))?;
    }
    Ok(())
}

fn labels(subject: &Subject) -> Kept {
    let (_, splits) = first(subject)?;
    let classes = splits.info.classes.len() as i64;
    for (name, split) in parts(&splits) {
        let (least, most) = (split.labels.min().int64_value(&[]), split.labels.max().int64_value(&[]));
        require(
            least >= 0 && most < classes,
            format!("{name} labels from 0 to {}", classes - 1),
            format!("labels from {least} to {most}"),
        )?;
    }
    let counts = splits.train.labels.flatten(0, -1).bincount::<Tensor>(None, classes);
    let absent = Vec::<i64>::try_from(counts).unwrap_or_default().iter().position(|count| *count == 0);
    let name = absent.map(|class| splits.info.classes[class].clone()).unwrap_or_default();
    require(absent.is_none(), "images of every class to train on", format!("none of `{name}`"))
}

fn normalisation(subject: &Subject) -> Kept {
    let (_, splits) = first(subject)?;
    let channels = splits.info.shape[0] as usize;
    let by = &splits.normalisation;
    let lengths = (by.mean.len(), by.std.len());
    require(
        lengths == (channels, channels),
        format!("a mean and a deviation for each of {channels} channels"),
        format!("{lengths:?}"),
    )?;
    let positive = by.std.iter().all(|std| std.is_finite() && *std > 0.0);
    require(positive, "deviations above 0", format!("{:?}", by.std))?;
    let images = workbench::batch(&splits, splits.train.len().min(500) as i64).images;
    let (mean, deviation) = (images.mean(Element::Double).double_value(&[]), images.std(true).double_value(&[]));
    require(
        mean.abs() < 0.5 && (0.5..2.0).contains(&deviation),
        "normalised images with a mean within 0.5 of 0 and a deviation of 0.5 to 2 (bytes are divided by 255 first)",
        format!("a mean of {mean:.3} and a deviation of {deviation:.3}"),
    )
}

/// A hash of each image.
fn prints(split: &Split) -> Vec<blake3::Hash> {
    let images = split.images.to_kind(Element::Float).flatten(1, -1).contiguous();
    let row = |index: i64| {
        let values = Vec::<f32>::try_from(images.get(index)).unwrap_or_default();
        blake3::hash(&values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())
    };
    (0..images.size()[0]).map(row).collect()
}

fn splits(subject: &Subject) -> Kept {
    let (_, splits) = first(subject)?;
    let trained: HashSet<blake3::Hash> = prints(&splits.train).into_iter().collect();
    for (name, split) in [("validation", &splits.validation), ("test", &splits.test)] {
        let prints = prints(split);
        let both = prints.iter().filter(|print| trained.contains(print)).count();
        // A published data set may hold an image twice.
        require(
            both * 20 <= prints.len(),
            format!("{name} images that are not among those trained on (one in twenty may be there twice)"),
            format!("{both} of {} are", prints.len()),
        )?;
    }
    Ok(())
}

fn same_digest(subject: &Subject) -> Kept {
    let mut digests: Vec<(String, String)> = Vec::new();
    for made in subject.examples::<Boxed>()? {
        let (a, b) = (open(subject, &made)?, open(subject, &made)?);
        require(a.info.digest == b.info.digest, "the same digest", format!("{} and {}", a.info.digest, b.info.digest))?;
        for ((name, a), (_, b)) in parts(&a).into_iter().zip(parts(&b)) {
            let alike = same(&a.images, &b.images) && same(&a.labels, &b.labels);
            require(alike, format!("the same {name} images and labels"), "others")?;
        }
        let sizes = parts(&a).map(|(_, split)| split.len());
        let clash = digests.iter().find(|(digest, shape)| *digest == a.info.digest && *shape != format!("{sizes:?}"));
        require(clash.is_none(), "another digest for another part of the data", "the same digest")?;
        digests.push((a.info.digest, format!("{sizes:?}")));
    }
    Ok(())
}

fn missing_files(subject: &Subject) -> Kept {
    let made = subject.examples::<Boxed>()?.remove(0);
    let nothing = DataStore::new(Vec::new());
    if made.plugin.open(&nothing).is_ok() {
        // It makes its images itself.
        return Ok(());
    }
    let folder = workbench::folder()?;
    let has_root = subject.plugin.settings().iter().any(|setting| setting.key == "root");
    require(has_root, "a setting `root`, the folder with its files", "there is none")?;
    let nowhere = folder.path().join("nowhere");
    for (what, root) in [("a folder that does not exist", &nowhere), ("an empty folder", &folder.path().to_owned())] {
        let mut settings = made.settings.clone();
        settings["root"] = json!(root);
        let elsewhere = make::<Boxed>(subject.plugin, &settings).map_err(|why| broken("`root` takes a path", why))?;
        let opened: Result<Splits> = elsewhere.plugin.open(&nothing);
        let error = opened.err().ok_or_else(|| broken(format!("an error, as `root` is {what}"), "it opens"))?;
        let said = error.to_string();
        let path = root.display().to_string();
        require(said.contains(&path), format!("where `root` is {what}, an error that names `{path}`"), &*said)?;
        let hint = error.hint().unwrap_or_default();
        let mend = !hint.is_empty() || ["; ", " or "].iter().any(|joint| said.contains(joint));
        require(mend, format!("where `root` is {what}, what would mend it: the error's hint"), &*said)?;
    }
    Ok(())
}

fn extremes(subject: &Subject) -> Kept {
    for (setting, made) in subject.extremes::<Boxed>()? {
        let opened = guarded(|| made.plugin.open(&DataStore::new(subject.beside.data.clone())));
        match opened
            .map_err(|panic| broken(format!("{setting} works or is refused"), format!("it panicked: {panic}")))?
        {
            Ok(splits) => {
                // Without validation images, validation is not measured.
                for (name, split) in parts(&splits).into_iter().filter(|(name, _)| *name != "validation") {
                    require(!split.is_empty(), format!("{setting} leaves {name} images"), "none are left")?;
                }
            }
            Err(error) => clear(&setting, &error.to_string())?,
        }
    }
    let (_, splits) = first(subject)?;
    works(Ok(splits), "the example opens").map(|_| ())
}
