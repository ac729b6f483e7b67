//! Files of records of one length, label bytes and the pixels of one image: the binary form of
//! CIFAR-10 and CIFAR-100.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::images::{Counts, Files, Images, partition};
use super::sha256::sha256;
use super::there::there;
use litesnn_framework::data::{DataStore, Edition, Normalisation, Source, Splits};
use litesnn_framework::{Error, Result};

/// More images than any file of this layout has: a file that is larger is not read.
const MOST_RECORDS: u64 = 1_000_000;
/// More bytes than a list of class names has.
const LONGEST_LIST: u64 = 64 << 10;

/// A data set in files of records.
#[derive(Debug)]
pub struct RecordFiles {
    /// Where it comes from.
    pub source: &'static Source,
    /// What a record is.
    pub records: Records,
    /// Training files, in their order.
    pub train: &'static [&'static str],
    /// Test files, in their order.
    pub test: &'static [&'static str],
    /// File with the names of the classes, a line each.
    pub names: &'static str,
    /// Mean and deviation of each channel of the published training images.
    pub normalisation: ([f32; 3], [f32; 3]),
}

impl RecordFiles {
    /// Shape of an image, and number of classes.
    pub fn form(&self) -> ([i64; 3], usize) {
        (self.records.shape.map(|size| size as i64), self.records.classes)
    }

    /// The files that [`RecordFiles::open`] reads.
    pub fn files(&self, root: Option<&Path>, store: &DataStore) -> Result<Vec<PathBuf>> {
        let folder = self.source.locate(root, store)?;
        let names = self.train.iter().chain(self.test).chain(std::iter::once(&self.names));
        Ok(names.map(|name| folder.join(name)).collect())
    }

    /// Reads the folder that `root` names, or the one in the store, and takes the images that
    /// `counts` asks for. `note` is for the title, as [`Source::title`] has it.
    pub fn open(&self, root: Option<&Path>, store: &DataStore, counts: Counts, note: Option<&str>) -> Result<Splits> {
        let folder = self.source.locate(root, store)?;
        let classes = class_names(&folder, self.names, self.records.classes, self.source)?;
        let (train, train_official) = self.records.read(&folder, self.train, self.source)?;
        let (test, test_official) = self.records.read(&folder, self.test, self.source)?;
        let edition = if train_official && test_official { Edition::Official } else { Edition::Other };
        let title = self.source.title(edition, &folder, note);
        let (mean, std) = self.normalisation;
        let published = Normalisation { mean: mean.to_vec(), std: std.to_vec() };
        let files = Files { train, validation: None, test, edition };
        partition(self.source.name, files, counts)?.into_splits(&title, classes, published)
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy)]
pub struct Records {
    /// Label bytes before the pixels.
    pub labels: usize,
    /// Which of them is the class, from 0.
    pub class: usize,
    /// Number of classes.
    pub classes: usize,
    /// Channels, height, width; the pixels are in this order.
    pub shape: [usize; 3],
}

impl Records {
    /// The images of `names` in `folder`, file after file, and whether all of these files are the
    /// published ones of `source`.
    ///
    /// # Errors
    ///
    /// A file that is not there, cannot be read, is no whole number of records, or has a label that
    /// is no class. Its size is checked before memory is taken.
    fn read(&self, folder: &Path, names: &[&str], source: &Source) -> Result<(Images, bool)> {
        let size = self.shape.iter().product::<usize>();
        let (mut pixels, mut labels, mut official) = (Vec::new(), Vec::new(), true);
        for name in names {
            let content = self.content(folder, name, source)?;
            official &= source.file(name).is_some_and(|file| file.sha256 == sha256(&content));
            pixels.reserve_exact(content.len() / (self.labels + size) * size);
            for (position, record) in content.chunks_exact(self.labels + size).enumerate() {
                let label = record[self.class];
                if usize::from(label) >= self.classes {
                    return Err(Error::Content {
                        path: folder.join(name),
                        message: format!(
                            "has label {label} in record {position}, and labels are 0 to {}",
                            self.classes - 1
                        ),
                        hint: source.hint(),
                    });
                }
                labels.push(label);
                pixels.extend_from_slice(&record[self.labels..]);
            }
        }
        Ok((Images::new(self.shape, pixels, labels), official))
    }

    fn content(&self, folder: &Path, name: &str, source: &Source) -> Result<Vec<u8>> {
        let length = self.labels as u64 + self.shape.iter().product::<usize>() as u64;
        bytes(folder, name, source, |size| {
            let (records, rest) = (size / length, size % length);
            if records > 0 && rest == 0 && records <= MOST_RECORDS {
                return Ok(());
            }
            let published = source.file(name).map_or_else(String::new, |file| {
                format!("; the official file has {} bytes, {} records", file.bytes, file.bytes / length)
            });
            Err(match records > MOST_RECORDS {
                true => format!("has {size} bytes, more than {MOST_RECORDS} records of {length} bytes{published}"),
                false => format!("has {size} bytes, which is no whole number of records of {length} bytes{published}"),
            })
        })
    }
}

/// The names of the classes, a line each, in a text file.
///
/// # Errors
///
/// A file that is not there, cannot be read, or has another number of lines than there are classes.
fn class_names(folder: &Path, name: &str, classes: usize, source: &Source) -> Result<Vec<String>> {
    let content = bytes(folder, name, source, |size| match size <= LONGEST_LIST {
        true => Ok(()),
        false => Err(format!("has {size} bytes, and is to be a list of {classes} names")),
    })?;
    let wrong = |message: String| Error::Content { path: folder.join(name), message, hint: source.hint() };
    let text = String::from_utf8(content).map_err(|_| wrong("is no text".into()))?;
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    match names.len() == classes {
        true => Ok(names),
        false => Err(wrong(format!("has {} names, and there are {classes} classes", names.len()))),
    }
}

/// The bytes of a file whose size is in order.
fn bytes(folder: &Path, name: &str, source: &Source, check: impl FnOnce(u64) -> Result<(), String>) -> Result<Vec<u8>> {
    let path = folder.join(name);
    let missing = || Error::Content {
        path: folder.to_owned(),
        message: format!("has no file `{name}`; {}", there(folder)),
        hint: source.hint(),
    };
    if !path.is_file() {
        return Err(missing());
    }
    let mut file = File::open(&path).map_err(Error::file("open", &path))?;
    let size = file.metadata().map_err(Error::file("read", &path))?.len();
    let wrong = |message| Error::Content { path: path.clone(), message, hint: source.hint() };
    check(size).map_err(wrong)?;
    let mut content = Vec::with_capacity(size as usize);
    file.by_ref().take(size).read_to_end(&mut content).map_err(Error::file("read", &path))?;
    match content.len() as u64 == size {
        true => Ok(content),
        false => Err(wrong("became shorter while it was read".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use litesnn_framework::data::SourceFile;
    use tempfile::TempDir;

    use super::*;

    /// Files whose published sums are those of `content`.
    fn set(content: &[(&'static str, Vec<u8>)]) -> RecordFiles {
        let file = |(name, bytes): &(&'static str, Vec<u8>)| SourceFile {
            name,
            bytes: bytes.len() as u64,
            sha256: sha256(bytes).leak(),
        };
        let source = Source {
            name: "pictures",
            title: "Pictures",
            folder: "pictures-bin",
            licence: "",
            citation: "",
            page: "",
            archives: &[],
            files: content.iter().map(file).collect::<Vec<_>>().leak(),
        };
        RecordFiles {
            source: Box::leak(Box::new(source)),
            records: Records { labels: 1, class: 0, classes: 2, shape: [3, 1, 2] },
            train: &["train.bin"],
            test: &["test.bin"],
            names: "names.txt",
            normalisation: ([0.5; 3], [0.25; 3]),
        }
    }

    /// Guards the names of tables: the content alone decides whether data are the official ones.
    #[test]
    fn files_with_the_published_sums_are_official_and_one_changed_byte_makes_them_others() {
        let records = |count: u8| (0..count).flat_map(|index| [index % 2, index, 2, 3, 4, 5, 6]).collect::<Vec<u8>>();
        let content = [("train.bin", records(40)), ("test.bin", records(10))];
        let (set, folder) = (set(&content), TempDir::new().unwrap());
        for (name, bytes) in &content {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        fs::write(folder.path().join("names.txt"), "cat\ndog\n").unwrap();
        let open = |train: Option<usize>, note: Option<&str>| {
            let counts = Counts { train, validation: None, test: None, held_out: 4 };
            set.open(Some(folder.path()), &DataStore::new(Vec::new()), counts, note).unwrap()
        };
        let of = |splits: &Splits| (splits.info.title.clone(), splits.info.edition, splits.normalisation.mean[0]);
        assert_eq!(of(&open(None, None)), ("Pictures (36/4/10)".into(), Edition::Official, 0.5));
        assert_eq!(of(&open(Some(30), None)), ("Pictures (30/4/10)".into(), Edition::Subset, 0.5));

        let whole = open(Some(30), None).info.digest;
        let mut bytes = content[0].1.clone();
        // The last byte of a validation image: the images that are trained on stay as they are.
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(folder.path().join("train.bin"), bytes).unwrap();
        let (title, edition, mean) = of(&open(Some(30), None));
        let name = folder.path().file_name().unwrap().to_string_lossy();
        assert_eq!((title, edition), (format!("{name} (30/4/10)"), Edition::Other));
        // Red is 0 to 29 beside a 2.
        let red = (0..30).map(f64::from).sum::<f64>() / 30.0;
        assert!((f64::from(mean) - (red + 2.0) / 2.0 / 255.0).abs() < 1e-7, "{mean}");
        assert_eq!(of(&open(None, Some("made up"))).0, "Pictures, made up (36/4/10)");
        assert_ne!(open(Some(30), None).info.digest, whole);
    }
}
