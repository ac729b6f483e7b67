//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use litesnn_framework::manifest;
use litesnn_framework::plugin::DataStore;

/// Searches, retrains and measures lightweight spiking neural networks as a manifest describes.
#[derive(Debug, Parser)]
#[command(
    name = "litesnn",
    version,
    after_help = "Examples:\n  litesnn plan experiments/quickstart.toml\n  litesnn run experiments/quickstart.toml\n  \
                  litesnn run experiments/quickstart.toml --set retrain.epochs=30\n  litesnn report runs/quickstart"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the trials of manifests; finished ones are not run again, interrupted ones go on.
    Run(Run),
    /// Show the trials of a manifest without running them.
    Plan(Plan),
    /// Show every setting, which layer set it, and what it overrode.
    Explain(Explain),
    /// Turn finished trials into tables, figures and a page.
    Report(Report),
    /// List the plugins, or describe one.
    Plugins(Plugins),
    /// Check libtorch, the device, threads and data.
    Doctor(Doctor),
}

/// What selects and changes a manifest.
#[derive(Debug, Args)]
pub struct Layers {
    /// Use the manifest's [profile.NAME].
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Change a setting; VALUE is TOML, and a bare word is a string.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Layers {
    /// The request for one manifest, with the environment as it is.
    pub fn request(&self, manifest: PathBuf) -> manifest::Request {
        // Variables that are not Unicode cannot be settings.
        let environment =
            std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        manifest::Request {
            manifest,
            profile: self.profile.clone(),
            set: self.set.clone(),
            environment: environment.collect(),
        }
    }
}

#[derive(Debug, Args)]
pub struct Run {
    /// Manifests.
    #[arg(required = true, value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub layers: Layers,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of libtorch; all cores without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Folder of trials.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// Say nothing but results and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// The manifest.
    pub manifest: PathBuf,
    #[command(flatten)]
    pub layers: Layers,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The manifest.
    pub manifest: PathBuf,
    /// A key or a section, such as `search.epochs` or `compressor`.
    pub key: Option<String>,
    #[command(flatten)]
    pub layers: Layers,
}

#[derive(Debug, Args)]
pub struct Report {
    /// A folder of trials: all, one experiment's, or one trial.
    #[arg(default_value = "runs")]
    pub runs: PathBuf,
    /// Where the page, tables and figures go.
    #[arg(long, default_value = "report")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Plugins {
    /// Describe this one.
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

/// Where data sets are looked for: `LITESNN_DATA`, then the bundled data.
pub fn data_store() -> DataStore {
    let mut folders: Vec<PathBuf> = std::env::var_os("LITESNN_DATA").map(PathBuf::from).into_iter().collect();
    folders.push(PathBuf::from("experiments/data"));
    folders.push(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/data")));
    DataStore::new(folders)
}
