//! `litesnn data`: the data sets that are known, where they lie, and how they come there.

mod checksum;
mod connection;
mod fetch;
mod unpack;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use comfy_table::ContentArrangement;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use litesnn_framework::data::{Source, sources};
use litesnn_framework::ground::counted;

use crate::arguments::{Data, DataAction, DataFetch, DataVerify, data_home, data_store};
use crate::display;
use crate::exit::{Exit, Failure};
use crate::output::{out, say};
use checksum::{Verdict, verify};

pub fn data(options: &Data) -> Result<Exit, Failure> {
    match &options.action {
        None => {
            list();
            Ok(Exit::Done)
        }
        Some(DataAction::Fetch(options)) => fetch(options),
        Some(DataAction::Verify(options)) => verify_all(options),
    }
}

fn list() {
    let store = data_store();
    let mut table = display::table(["name", "download", "licence", "page", "where"]);
    // A path or an address in pieces is of no use.
    table.set_content_arrangement(ContentArrangement::Disabled);
    let mut missing = false;
    for source in sources() {
        let place = store.find(source.folder).map(|folder| folder.display().to_string());
        missing |= place.is_none();
        let bytes: u64 = source.archives.iter().map(|archive| archive.bytes).sum();
        table.add_row([
            source.name.to_owned(),
            megabytes(bytes),
            source.licence.to_owned(),
            source.page.to_owned(),
            place.unwrap_or_else(|| "not found".to_owned()),
        ]);
    }
    out!("{table}");
    if missing {
        out!("\nsearched {store}");
        out!("`litesnn data fetch NAME` downloads to `{}`", data_home().display());
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn known(name: &str) -> Result<&'static Source, Failure> {
    sources().into_iter().find(|source| source.name == name).ok_or_else(|| {
        let names: Vec<String> = sources().iter().map(|source| format!("`{}`", source.name)).collect();
        Failure::new(Exit::Usage, format!("unknown data set `{name}`"), Some(format!("known are {}", names.join(", "))))
    })
}

fn fetch(options: &DataFetch) -> Result<Exit, Failure> {
    let source = known(&options.name)?;
    let progress = Progress::new(options.quiet);
    let home = options.to.clone().unwrap_or_else(data_home);
    let there = match &options.to {
        Some(to) => Some(to.join(source.folder)).filter(|folder| folder.exists()),
        None => data_store().find(source.folder),
    };
    if let Some(folder) = there {
        return already(source, &folder, &progress);
    }
    let how = fetch::Options { from: options.from.as_deref(), timeout: Duration::from_secs(options.timeout) };
    let folder = fetch::fetch(source, &home, &how, &progress).map_err(|error| {
        progress.end();
        Failure::new(Exit::Failed, error.to_string(), error.hint())
    })?;
    out!("{} is in {}", source.title, folder.display());
    if data_store().find(source.folder).is_none() {
        progress.note(&format!("set LITESNN_DATA={} so that it is found without `root`", home.display()));
    }
    Ok(Exit::Done)
}

fn already(source: &Source, folder: &Path, progress: &Progress) -> Result<Exit, Failure> {
    match verify(source, folder, progress)? {
        Verdict::Right(files) => {
            let files = counted(files, "file");
            out!("{} is in {} already: {files} as published", source.title, folder.display());
            Ok(Exit::Done)
        }
        Verdict::Unknown => {
            out!("{} is in {} already", source.title, folder.display());
            progress
                .note("`litesnn data fetch` did not download this folder, and no checksums of its files are published");
            Ok(Exit::Done)
        }
        Verdict::Wrong(problems) => {
            let message =
                format!("`{}` exists and differs from the published data:\n{}", folder.display(), problems.join("\n"));
            Err(Failure::new(
                Exit::Failed,
                message,
                Some("move that folder away and run the same command again".into()),
            ))
        }
    }
}

fn verify_all(options: &DataVerify) -> Result<Exit, Failure> {
    let progress = Progress::new(false);
    let store = data_store();
    let chosen = match &options.name {
        Some(name) => vec![known(name)?],
        None => sources(),
    };
    let mut failures = Vec::new();
    for source in chosen {
        let Some(folder) = store.find(source.folder) else {
            if options.name.is_some() {
                let message = format!("there is no folder `{}` in {store}", source.folder);
                return Err(Failure::new(Exit::Failed, message, Some(source.hint())));
            }
            out!("{}: not found", source.name);
            continue;
        };
        match verify(source, &folder, &progress)? {
            Verdict::Right(files) => {
                out!("{}: {} as published in {}", source.name, counted(files, "file"), folder.display());
            }
            Verdict::Wrong(problems) => {
                out!("{}: {} wrong in {}", source.name, counted(problems.len(), "file"), folder.display());
                failures.extend(problems.into_iter().map(|problem| (problem, source.hint())));
            }
            Verdict::Unknown => {
                out!("{}: `litesnn data fetch` did not download {}", source.name, folder.display());
                if options.name.is_some() {
                    let message = format!("`{}` has no list of checksums, and none is published", folder.display());
                    failures.push((message, source.hint()));
                }
            }
        }
    }
    for (message, hint) in &failures {
        let help = format!("move the folder away; {hint}");
        Failure::new(Exit::Failed, message.clone(), Some(help)).print();
    }
    Ok(if failures.is_empty() { Exit::Done } else { Exit::Failed })
}

/// How far a long piece of work is: a bar on a terminal, a line elsewhere.
pub struct Progress {
    bar: ProgressBar,
    live: bool,
    quiet: bool,
}

impl Progress {
    pub fn new(quiet: bool) -> Progress {
        let live = !quiet && std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            None,
            if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        Progress { bar, live, quiet }
    }

    /// Begins a piece of work of so many bytes, of which some are done; 0 bytes: nobody knows how
    /// many.
    pub fn begin(&self, what: &str, bytes: u64, done: u64) {
        let shown = if bytes > 0 { "{bar:24} {bytes} of {total_bytes}, {eta} left" } else { "{bytes}" };
        if let Ok(style) = ProgressStyle::with_template(&format!("{{msg}}  {shown}")) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.reset();
        self.bar.set_length(bytes);
        self.bar.set_position(done);
        self.bar.reset_eta();
        self.bar.set_message(what.to_owned());
        if !self.live {
            let size = if bytes > 0 { format!(", {}", megabytes(bytes)) } else { String::new() };
            let rest = if done > 0 { format!(", resuming after {}", megabytes(done)) } else { String::new() };
            self.note(&format!("{what}{size}{rest}"));
        }
    }

    /// So many more bytes are done.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// A line that stays.
    pub fn note(&self, text: &str) {
        if self.quiet {
        } else if self.live {
            self.bar.suspend(|| say!("{text}"));
        } else {
            say!("{text}");
        }
    }
}
