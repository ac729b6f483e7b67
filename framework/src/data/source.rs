//! Where a data set comes from: the archives that are published, and the folder that they become.
//!
//! A plugin submits one [`Source`] for each version of its data (`inventory::submit! { SOURCE }`),
//! and `litesnn data` lists, fetches and verifies them.

use std::path::{Path, PathBuf};

use serde::Deserializer;

use super::{DataStore, Edition};
use crate::plugin::checked;
use crate::{Error, Result};

/// A published data set.
#[derive(Debug)]
pub struct Source {
    /// What `litesnn data` calls it, and the file it lies in: a plugin's name, or one version of
    /// its data (`speech-commands-v2`).
    pub name: &'static str,
    /// Its own name.
    pub title: &'static str,
    /// Its folder below a folder for data.
    pub folder: &'static str,
    /// The licence, in a few words, or that none is stated.
    pub licence: &'static str,
    /// Who published it, to be cited.
    pub citation: &'static str,
    /// Its page.
    pub page: &'static str,
    /// What is downloaded.
    pub archives: &'static [Archive],
    /// Files of the folder whose published content is known; empty where the archive's is known
    /// alone.
    pub files: &'static [SourceFile],
}

/// One file to download.
#[derive(Debug)]
pub struct Archive {
    /// Its address.
    pub url: &'static str,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 as published, lowercase hexadecimal.
    pub sha256: &'static str,
    /// What becomes of it.
    pub form: Form,
}

impl Archive {
    /// The last part of its address.
    pub fn file_name(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

/// What becomes of a downloaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It lies in the folder as it is.
    File,
    /// A gzipped tar archive.
    TarGz {
        /// The folder in the archive whose content is the data set's folder; empty where that is
        /// the archive itself.
        root: &'static str,
    },
}

/// A file of the folder.
#[derive(Debug)]
pub struct SourceFile {
    /// Its name.
    pub name: &'static str,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, lowercase hexadecimal.
    pub sha256: &'static str,
}

inventory::collect!(Source);

/// All sources, by name.
pub fn sources() -> Vec<&'static Source> {
    let mut all: Vec<_> = inventory::iter::<Source>().collect();
    all.sort_by_key(|source| source.name);
    all
}

/// The last part of a folder's path.
fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole.file_name().map_or_else(|| whole.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Reads the setting that is put behind the title of data which is not the published one: a few
/// words on one line.
pub fn note<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let holds = |note: &String| !note.trim().is_empty() && !note.contains(char::is_control);
    checked(input, holds, "a few words on one line").map(Some)
}

impl Source {
    /// The file of that name, where its published content is known.
    pub fn file(&self, name: &str) -> Option<&'static SourceFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// What tables call the data in `folder`: by the published name where they are the published
    /// data or a part of them, else by that name with the user's `note`, or by the folder's name.
    /// Where the folder's name could be taken for the published one, the title says that it is not.
    pub fn title(&self, edition: Edition, folder: &Path, note: Option<&str>) -> String {
        if let Some(note) = note {
            return format!("{}, {note}", self.title);
        }
        if edition != Edition::Other {
            return self.title.to_owned();
        }
        let name = folder_name(folder);
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        match [self.title, self.folder].iter().any(|own| letters(&name).starts_with(&letters(own))) {
            true => format!("{name}, unofficial files"),
            false => name,
        }
    }

    /// What mends a folder that is not right.
    pub fn hint(&self) -> String {
        format!("`litesnn data fetch {}` brings the official files", self.name)
    }

    /// The folder that `root` names, or the one of the store. `root` may also name the folder
    /// around it.
    ///
    /// # Errors
    ///
    /// When there is no such folder; the message names the folders that were looked in.
    pub fn locate(&self, root: Option<&Path>, store: &DataStore) -> Result<PathBuf> {
        match root {
            Some(root) => {
                let folder = store.resolve(root);
                let inner = folder.join(self.folder);
                match (inner.is_dir(), folder.is_dir()) {
                    (true, _) => Ok(inner),
                    (false, true) => Ok(folder),
                    (false, false) => Err(Error::Content {
                        path: folder,
                        message: "is not a folder that exists".into(),
                        hint: format!("`root` is the folder `{}` or the one around it; {}", self.folder, self.hint()),
                    }),
                }
            }
            None => store.find(self.folder).ok_or_else(|| Error::Content {
                path: PathBuf::from(self.folder),
                message: format!("is in none of the folders for data: {store}"),
                hint: format!("{}, or `root` names a folder that has them", self.hint()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Source = Source {
        name: "pictures",
        title: "Pictures-10",
        folder: "pictures-10-bin",
        licence: "",
        citation: "",
        page: "",
        archives: &[],
        files: &[],
    };

    #[test]
    fn other_data_have_the_name_of_their_folder_and_never_the_published_one_alone() {
        let title = |edition, folder: &str, note| SET.title(edition, Path::new(folder), note);
        assert_eq!(title(Edition::Official, "/data/x", None), "Pictures-10");
        assert_eq!(title(Edition::Subset, "/data/x", None), "Pictures-10");
        assert_eq!(title(Edition::Other, "/data/my-cats", None), "my-cats");
        for folder in ["pictures-10-bin", "Pictures_10", "pictures10"] {
            assert_eq!(title(Edition::Other, folder, None), format!("{folder}, unofficial files"));
        }
        assert_eq!(title(Edition::Other, "/data/x", Some("JPEG q75")), "Pictures-10, JPEG q75");
    }
}
