//! From a published address to a folder that is whole: download, check, unpack, rename.
//!
//! Everything is done in `.fetching-FOLDER` beside the folder: `FILE.partial` grows and is gone on
//! with, `FILE` is downloaded and checked, `content` is unpacked. The folder appears by one rename,
//! with a list of checksums in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use litesnn_framework::Error;
use litesnn_framework::data::{Archive, Checksums, Form, Source, write_checksums};

use super::Progress;
use super::checksum;
use super::connection::{agent, shown, without_secret};
use super::unpack::unpack;

/// Why a data set could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("`{url}` cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("`{url}` cannot be reached: {why}")]
    Connection { url: String, why: String },
    #[error("`{url}` answers with status {status}{}", if *.status == 404 { ": there is no such file" } else { "" })]
    Status { url: String, status: u16 },
    #[error("`{url}` sent no data for {seconds} s, after {done} of {bytes} bytes")]
    Stalled { url: String, seconds: u64, done: u64, bytes: u64 },
    #[error("the connection to `{url}` broke after {done} of {bytes} bytes: {reason}")]
    Broken { url: String, done: u64, bytes: u64, reason: String },
    #[error("`{url}` is not the published file: it has {found} bytes, expected {expected}")]
    Size { url: String, found: u64, expected: u64 },
    #[error(
        "`{url}` is not the published file: the download has SHA-256 {found}, expected {expected}; the download was removed"
    )]
    Checksum { url: String, found: String, expected: &'static str },
    #[error("`--from {from}` names one file, and the data set has {count}: the address of their folder ends with `/`")]
    From { from: String, count: usize },
    #[error("`{path}` is in use: another process fetches the same data", path = .0.display())]
    Locked(PathBuf),
    #[error(transparent)]
    Other(#[from] Error),
}

impl FetchError {
    /// What would be right.
    pub fn hint(&self) -> Option<String> {
        match self {
            FetchError::Unreachable { reason, .. } if reason.contains("invalid peer certificate") => Some(
                "where a proxy or a mirror has an authority of its own, `SSL_CERT_FILE` names the file with its certificate"
                    .into(),
            ),
            FetchError::Unreachable { .. } | FetchError::Stalled { .. } | FetchError::Broken { .. } => {
                Some("run the same command to resume; `--from URL` downloads from another address".into())
            }
            FetchError::Status { .. } | FetchError::Size { .. } | FetchError::Checksum { .. } => {
                Some("`--from URL` downloads from another address".into())
            }
            FetchError::From { .. } | FetchError::Connection { .. } => None,
            FetchError::Locked(_) => Some("wait for that process, or stop it and run the same command again".into()),
            FetchError::Other(error) => error.hint(),
        }
    }
}

/// How to fetch.
pub struct Options<'a> {
    /// Another address: of the file, or of the folder that has the files where it ends with `/`.
    pub from: Option<&'a str>,
    /// Give up when nothing comes for so long.
    pub timeout: Duration,
}

/// Fetches `source` into its folder below `home`, which must not be there yet, and returns it.
pub fn fetch(source: &Source, home: &Path, options: &Options, progress: &Progress) -> Result<PathBuf, FetchError> {
    let addresses = addresses(source, options.from)?;
    let staging = home.join(format!(".fetching-{}", source.folder));
    fs::create_dir_all(&staging).map_err(Error::file("create", &staging))?;
    let lock_path = staging.join("lock");
    let lock = File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(FetchError::Locked(staging)),
        Err(TryLockError::Error(error)) => return Err(Error::file("lock", &lock_path)(error).into()),
    }

    for (archive, url) in source.archives.iter().zip(&addresses) {
        let whole = staging.join(archive.file_name());
        if !whole.is_file() {
            let partial = staging.join(format!("{}.partial", archive.file_name()));
            download(url, archive, &partial, options, progress)?;
            fs::rename(&partial, &whole).map_err(Error::file("write", &whole))?;
        }
    }
    let content = staging.join("content");
    if content.exists() {
        fs::remove_dir_all(&content).map_err(Error::file("remove", &content))?;
    }
    fs::create_dir(&content).map_err(Error::file("create", &content))?;
    let mut sums = Checksums::new();
    for archive in source.archives {
        let whole = staging.join(archive.file_name());
        match archive.form {
            Form::File => {
                let target = content.join(archive.file_name());
                fs::copy(&whole, &target).map_err(Error::file("write", &target))?;
                sums.insert(archive.file_name().to_owned(), archive.sha256.to_owned());
            }
            Form::TarGz { root } => {
                progress.begin(&format!("unpacking {}", archive.file_name()), 0, 0);
                sums.extend(unpack(&whole, root, &content, progress)?);
                progress.end();
            }
        }
    }
    write_checksums(&content, source, &sums)?;
    let folder = home.join(source.folder);
    fs::rename(&content, &folder).map_err(Error::file("write", &folder))?;
    fs::remove_dir_all(&staging).map_err(Error::file("remove", &staging))?;
    Ok(folder)
}

/// Where each archive is taken from.
fn addresses(source: &Source, from: Option<&str>) -> Result<Vec<String>, FetchError> {
    match from {
        None => Ok(source.archives.iter().map(|archive| archive.url.to_owned()).collect()),
        Some(from) if from.ends_with('/') => {
            Ok(source.archives.iter().map(|archive| format!("{from}{}", archive.file_name())).collect())
        }
        Some(from) if source.archives.len() == 1 => Ok(vec![from.to_owned()]),
        Some(from) => Err(FetchError::From { from: shown(from), count: source.archives.len() }),
    }
}

/// Downloads to `partial`, resuming where it ends, and checks it.
fn download(
    url: &str,
    archive: &Archive,
    partial: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<(), FetchError> {
    let mut file = OpenOptions::new().create(true).append(true).open(partial).map_err(Error::file("open", partial))?;
    let mut done = file.metadata().map_err(Error::file("read", partial))?.len();
    if done > archive.bytes {
        done = 0;
        file.set_len(0).map_err(Error::file("write", partial))?;
    }
    if done < archive.bytes {
        receive(url, archive, &mut file, partial, done, options, progress)?;
    }
    file.sync_all().map_err(Error::file("write", partial))?;
    progress.begin(&format!("checking {}", archive.file_name()), archive.bytes, 0);
    let found = checksum::of_file(partial, progress)?;
    progress.end();
    if found == archive.sha256 {
        return Ok(());
    }
    fs::remove_file(partial).map_err(Error::file("remove", partial))?;
    Err(FetchError::Checksum { url: shown(url), found, expected: archive.sha256 })
}

/// Appends what is missing after `done` bytes.
fn receive(
    url: &str,
    archive: &Archive,
    file: &mut File,
    path: &Path,
    mut done: u64,
    options: &Options,
    progress: &Progress,
) -> Result<(), FetchError> {
    let bytes = archive.bytes;
    let agent = agent(url, options.timeout).map_err(|why| FetchError::Connection { url: shown(url), why })?;
    // From here on for messages.
    let (address, url) = (url, shown(url));
    let said = |error: &ureq::Error| without_secret(&error.to_string(), address);
    let failed = |error: ureq::Error, done: u64| match error {
        ureq::Error::Timeout(_) => {
            FetchError::Stalled { url: url.clone(), seconds: options.timeout.as_secs(), done, bytes }
        }
        error if done > 0 => FetchError::Broken { url: url.clone(), done, bytes, reason: said(&error) },
        error => FetchError::Unreachable { url: url.clone(), reason: said(&error) },
    };
    // The bytes of the archive as they are.
    let request = |done: u64| {
        let request = agent.get(address).header("Accept-Encoding", "identity");
        let request = if done > 0 { request.header("Range", format!("bytes={done}-")) } else { request };
        request.call().map_err(|error| failed(error, done))
    };
    let mut response = request(done)?;
    if done > 0 {
        let goes_on = response.status() == 206 && range_start(&response) == Some(done);
        if !goes_on {
            if response.status() != 200 {
                response = request(0)?;
            }
            progress.note(&format!("`{url}` cannot resume after {done} bytes and sends the file from its start"));
            done = 0;
            file.set_len(0).map_err(Error::file("write", path))?;
        }
    }
    if ![200, 206].contains(&response.status().as_u16()) {
        return Err(FetchError::Status { url: url.clone(), status: response.status().as_u16() });
    }
    let size = |found: u64| FetchError::Size { url: url.clone(), found, expected: bytes };
    if let Some(announced) = response.body().content_length()
        && announced + done != bytes
    {
        return Err(size(announced + done));
    }
    progress.begin(&format!("downloading {url}"), bytes, done);
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = body.read(&mut buffer).map_err(|error| match ureq::Error::from(error) {
            error @ ureq::Error::Timeout(_) => failed(error, done),
            error => FetchError::Broken { url: url.clone(), done, bytes, reason: said(&error) },
        })?;
        if count == 0 {
            break;
        }
        done += count as u64;
        if done > bytes {
            // What came before is of no use either.
            file.set_len(0).map_err(Error::file("write", path))?;
            return Err(size(done));
        }
        file.write_all(&buffer[..count]).map_err(Error::file("write", path))?;
        progress.advance(count as u64);
    }
    progress.end();
    match done == bytes {
        true => Ok(()),
        false => Err(FetchError::Broken { url: url.clone(), done, bytes, reason: "it was closed".into() }),
    }
}

/// The first byte that a partial answer holds.
fn range_start(response: &ureq::http::Response<ureq::Body>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

#[cfg(test)]
#[path = "../../../tests/support/server.rs"]
mod server;

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use litesnn_framework::data::{CHECKSUMS, published_checksums};
    use tar::{Builder, EntryType, Header};
    use tempfile::TempDir;

    use super::checksum::{Hashing, Verdict, verify};
    use super::server::{Answer, Server};
    use super::*;

    fn sha256(bytes: &[u8]) -> &'static str {
        let mut sum = Hashing::new(std::io::sink());
        sum.write_all(bytes).unwrap();
        sum.finish().1.leak()
    }

    fn entry(tar: &mut Builder<GzEncoder<Vec<u8>>>, kind: EntryType, path: &str, content: &[u8]) {
        let mut header = Header::new_gnu();
        // `set_path` refuses what a hostile archive would hold.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if kind == EntryType::Symlink {
            header.set_link_name("/etc").unwrap();
        }
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }

    /// An archive of files below `pictures`, and more.
    fn archive(more: &[(EntryType, &str)]) -> Vec<u8> {
        let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        entry(&mut tar, EntryType::Directory, "pictures/", b"");
        entry(&mut tar, EntryType::Regular, "./pictures/one.bin", &[1; 5000]);
        // Bytes that gzip cannot make shorter.
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(100_000)
        .collect();
        entry(&mut tar, EntryType::Regular, "pictures/inner/two.bin", &noise);
        for (kind, path) in more {
            entry(&mut tar, *kind, path, b"");
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn source(bytes: &[u8]) -> Source {
        Source {
            name: "pictures",
            title: "Pictures",
            folder: "pictures-bin",
            licence: "-",
            citation: "-",
            page: "-",
            archives: Box::leak(Box::new([Archive {
                url: "http://127.0.0.1:9/files/pictures.tar.gz",
                bytes: bytes.len() as u64,
                sha256: sha256(bytes),
                form: Form::TarGz { root: "pictures" },
            }])),
            files: &[],
        }
    }

    fn try_fetch(source: &Source, home: &TempDir, from: Option<&str>) -> Result<PathBuf, FetchError> {
        let options = Options { from, timeout: Duration::from_secs(1) };
        fetch(source, home.path(), &options, &Progress::new(true))
    }

    /// What lies in the folder for data, hidden files too.
    fn names(home: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(home.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn assert_whole(source: &Source, home: &TempDir) {
        assert_eq!(names(home), ["pictures-bin"], "nothing is left beside the folder");
        let folder = home.path().join("pictures-bin");
        assert_eq!(fs::read(folder.join("one.bin")).unwrap(), [1; 5000]);
        assert_eq!(fs::metadata(folder.join("inner/two.bin")).unwrap().len(), 100_000);
        assert_eq!(verify(source, &folder, &Progress::new(true)).unwrap(), Verdict::Right(2));
    }

    #[test]
    fn a_folder_appears_whole_and_is_verified() {
        let (bytes, home) = (archive(&[]), TempDir::new().unwrap());
        let source = source(&bytes);
        let server = Server::of(&bytes, &[Answer::Good]);
        let folder = try_fetch(&source, &home, Some(&server.url)).unwrap();
        assert_eq!(folder, home.path().join("pictures-bin"));
        let requests = server.requests();
        assert!(requests[0].starts_with("get /pictures.tar.gz http/1.1"), "{requests:?}");
        assert!(!requests[0].contains("range:"), "{requests:?}");
        assert_whole(&source, &home);

        fs::write(folder.join("one.bin"), [2; 5000]).unwrap();
        fs::remove_file(folder.join("inner/two.bin")).unwrap();
        let Verdict::Wrong(wrong) = verify(&source, &folder, &Progress::new(true)).unwrap() else {
            panic!("it is wrong")
        };
        assert!(wrong.len() == 2 && wrong[0].contains("inner/two.bin` is missing"), "{wrong:?}");
        assert!(wrong[1].contains("one.bin` has SHA-256") && wrong[1].contains(sha256(&[1; 5000])), "{wrong:?}");
        // The folder says which archive it comes from; another one of the same form would not do.
        assert_eq!(published_checksums(&folder, &source).unwrap().unwrap().len(), 2);
        let other = Source { archives: self::source(b"another version").archives, ..source };
        assert_eq!(published_checksums(&folder, &other).unwrap(), None);
        fs::write(folder.join(CHECKSUMS), format!("{}  ../outside\n", sha256(b""))).unwrap();
        let error = verify(&source, &folder, &Progress::new(true)).unwrap_err().to_string();
        assert!(error.contains("checksums.sha256` is damaged in line 1"), "{error}");
    }

    #[test]
    fn a_broken_download_goes_on_where_it_ended() {
        let (bytes, home) = (archive(&[]), TempDir::new().unwrap());
        let source = source(&bytes);
        let server = Server::of(&bytes, &[Answer::CutAfter(40_000), Answer::CutAfter(10_000), Answer::Good]);
        let error = try_fetch(&source, &home, Some(&server.url)).unwrap_err();
        assert!(error.to_string().contains(&format!("broke after 40000 of {} bytes", bytes.len())), "{error}");
        assert!(error.hint().unwrap().contains("run the same command to resume"), "{error:?}");
        assert_eq!(names(&home), [".fetching-pictures-bin"]);
        let error = try_fetch(&source, &home, Some(&server.url)).unwrap_err();
        assert!(error.to_string().contains("broke after 50000 of"), "{error}");
        try_fetch(&source, &home, Some(&server.url)).unwrap();
        let requests = server.requests();
        assert!(
            requests[1].contains("range: bytes=40000-") && requests[2].contains("range: bytes=50000-"),
            "{requests:?}"
        );
        assert_whole(&source, &home);
    }

    #[test]
    fn a_server_without_ranges_sends_the_file_again() {
        let (bytes, home) = (archive(&[]), TempDir::new().unwrap());
        let source = source(&bytes);
        let server = Server::of(&bytes, &[Answer::CutAfter(40_000), Answer::NoRanges]);
        try_fetch(&source, &home, Some(&server.url)).unwrap_err();
        try_fetch(&source, &home, Some(&server.url)).unwrap();
        assert!(server.requests()[1].contains("range: bytes=40000-"));
        assert_whole(&source, &home);
        // One that refuses the range is asked for the whole.
        let home = TempDir::new().unwrap();
        let server = Server::of(&bytes, &[Answer::CutAfter(40_000), Answer::Status(416), Answer::Good]);
        try_fetch(&source, &home, Some(&server.url)).unwrap_err();
        try_fetch(&source, &home, Some(&server.url)).unwrap();
        assert!(!server.requests()[2].contains("range:"));
        assert_whole(&source, &home);
    }

    #[test]
    fn what_has_another_checksum_is_removed_and_fetched_anew() {
        let (bytes, home) = (archive(&[]), TempDir::new().unwrap());
        let source = source(&bytes);
        let mut changed = bytes.clone();
        changed[50_000] ^= 1;
        let server = Server::of(&changed, &[Answer::Good]);
        let error = try_fetch(&source, &home, Some(&server.url)).unwrap_err();
        for part in [sha256(&changed), sha256(&bytes), "the download was removed", &server.url] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(!home.path().join(".fetching-pictures-bin/pictures.tar.gz.partial").exists());
        let server = Server::of(&bytes, &[Answer::Good]);
        try_fetch(&source, &home, Some(&server.url)).unwrap();
        assert!(!server.requests()[0].contains("range:"));
        assert_whole(&source, &home);
    }

    #[test]
    fn a_file_of_another_size_is_refused_before_it_is_downloaded() {
        let (bytes, home) = (archive(&[]), TempDir::new().unwrap());
        let page = b"<html>sign in first</html>";
        let server = Server::of(page, &[Answer::Good]);
        let error = try_fetch(&source(&bytes), &home, Some(&server.url)).unwrap_err();
        assert!(error.to_string().contains(&format!("it has 26 bytes, expected {}", bytes.len())), "{error}");
    }

    #[test]
    fn silence_ends_with_an_error_and_what_came_is_kept() {
        let (bytes, home) = (archive(&[]), TempDir::new().unwrap());
        let source = source(&bytes);
        let server = Server::of(&bytes, &[Answer::StallAfter(30_000), Answer::Good]);
        let begin = std::time::Instant::now();
        let error = try_fetch(&source, &home, Some(&server.url)).unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
        assert!(error.to_string().contains("for 1 s, after 30000 of"), "{error}");
        assert!(error.hint().unwrap().contains("run the same command to resume"), "{error:?}");
        try_fetch(&source, &home, Some(&server.url)).unwrap();
        assert_whole(&source, &home);
    }

    #[test]
    fn addresses_that_do_not_answer_are_named() {
        let (bytes, home) = (archive(&[]), TempDir::new().unwrap());
        let source = source(&bytes);
        let server = Server::of(&bytes, &[Answer::Status(404)]);
        let error = try_fetch(&source, &home, Some(&format!("{}other.tar.gz", server.url))).unwrap_err().to_string();
        assert!(error.contains("other.tar.gz` answers with status 404: there is no such file"), "{error}");
        // Nobody listens at the port of the source's own address.
        let error = try_fetch(&source, &home, None).unwrap_err();
        assert!(error.to_string().contains("`http://127.0.0.1:9/files/pictures.tar.gz` cannot be reached"), "{error}");
        assert!(error.hint().unwrap().contains("--from URL"), "{error:?}");
    }

    #[test]
    fn an_archive_cannot_reach_outside_of_its_folder() {
        for (kind, path, expected) in [
            (EntryType::Regular, "pictures/../../escaped", "would be written outside of its folder"),
            (EntryType::Regular, "/tmp/escaped", "would be written outside of its folder"),
            (EntryType::Symlink, "pictures/link", "is a link or a device"),
            (EntryType::Link, "pictures/hard", "is a link or a device"),
            (EntryType::Regular, "other/file", "which is not in `pictures`"),
        ] {
            let (bytes, home) = (archive(&[(kind, path)]), TempDir::new().unwrap());
            let server = Server::of(&bytes, &[Answer::Good]);
            let error = try_fetch(&source(&bytes), &home, Some(&server.url)).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("pictures.tar.gz"), "{path}: {error}");
            assert_eq!(names(&home), [".fetching-pictures-bin"], "the folder does not appear");
            assert!(!home.path().join("escaped").exists() && !home.path().parent().unwrap().join("escaped").exists());
        }
    }

    #[test]
    fn files_that_are_no_archive_are_put_into_the_folder() {
        let (content, home) = (b"some text".as_slice(), TempDir::new().unwrap());
        let file = |url| Archive { url, bytes: 9, sha256: sha256(content), form: Form::File };
        let source = Source {
            archives: Box::leak(Box::new([file("http://127.0.0.1:9/one"), file("http://127.0.0.1:9/two")])),
            ..source(content)
        };
        let error = try_fetch(&source, &home, Some("http://127.0.0.1:9/one")).unwrap_err().to_string();
        assert!(error.contains("names one file, and the data set has 2"), "{error}");
        let server = Server::of(content, &[Answer::Good, Answer::Good]);
        let folder = try_fetch(&source, &home, Some(&server.url)).unwrap();
        let requests = server.requests();
        assert!(requests[0].starts_with("get /one ") && requests[1].starts_with("get /two "), "{requests:?}");
        assert_eq!(fs::read(folder.join("two")).unwrap(), content);
        assert_eq!(verify(&source, &folder, &Progress::new(true)).unwrap(), Verdict::Right(2));
    }

    #[test]
    fn two_processes_do_not_fetch_the_same() {
        let (bytes, home) = (archive(&[]), TempDir::new().unwrap());
        let staging = home.path().join(".fetching-pictures-bin");
        fs::create_dir(&staging).unwrap();
        let held = File::create(staging.join("lock")).unwrap();
        held.lock().unwrap();
        let error = try_fetch(&source(&bytes), &home, None).unwrap_err();
        assert!(matches!(error, FetchError::Locked(_)), "{error}");
    }
}
