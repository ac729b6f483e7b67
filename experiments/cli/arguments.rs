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
    /// Show the trials of a manifest, what is done, and what the rest needs.
    Plan(Plan),
    /// Show the resolved manifest, or all that is known of one setting.
    Explain(Explain),
    /// Show what a design costs, by layer and in all: size, operations, energy.
    Cost(Cost),
    /// Time a step beside its convolutions alone, on random images.
    Bench(Bench),
    /// Turn finished trials into tables, figures and a page.
    Report(Report),
    /// List the plugins, describe one, or begin a new one.
    Plugins(Plugins),
    /// List, fetch and verify data sets.
    Data(Data),
    /// Print the JSON schema of manifests with every plugin, for editors.
    Schema,
    /// Check libtorch, the device, threads and data.
    Doctor(Doctor),
    /// List trials, remove them, free space.
    Runs(Runs),
    /// End the work on trials that were launched; the same `litesnn run` goes on with them.
    Cancel(Cancel),
    /// Do what a launcher has started this process for.
    #[command(hide = true)]
    Work(Work),
    /// Run one trial of a launch.
    #[command(hide = true)]
    Trial(Trial),
    /// Print a script that completes commands and options in a shell.
    Completions(Completions),
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
    /// The options that make these.
    pub fn arguments(&self) -> Vec<String> {
        let profile = self.profile.iter().flat_map(|name| ["--profile".to_owned(), name.clone()]);
        profile.chain(self.set.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()])).collect()
    }

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
#[command(after_help = "Examples:\n  litesnn run experiments/quickstart.toml\n  \
                        litesnn run experiments/quickstart.toml --profile smoke --threads 2\n  \
                        litesnn run experiments/quickstart.toml --jobs 2\n  \
                        litesnn run experiments/quickstart.toml --set 'experiment.seeds=[0, 1, 2]' --set retrain.epochs=30")]
pub struct Run {
    /// Manifests.
    #[arg(required = true, value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub layers: Layers,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of libtorch for a trial; without it all cores, divided among the trials that run at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Run so many trials side by side here, each in a process of its own, whatever [launcher] says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// With a launcher whose trials run elsewhere: return when all are finished, not when all are submitted.
    #[arg(long)]
    pub wait: bool,
    /// Folder of trials.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// Run even what is not expected to fit the memory of the device.
    #[arg(long)]
    pub force: bool,
    /// Say nothing but results and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  litesnn runs\n  litesnn runs rm runs/quickstart/lite-snn-s0-0123456789abcdef\n  litesnn runs gc --dry-run"
)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Runs {
    /// Folder of trials.
    #[arg(default_value = "runs")]
    pub runs: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Remove trials, or all trials of an experiment.
    Rm(RunsRm),
    /// Remove what finished trials need no more: checkpoints, attempts, records of launches.
    Gc(RunsGc),
}

#[derive(Debug, Args)]
pub struct RunsRm {
    /// Folders of trials or of experiments.
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
    /// Remove even what is worked on, and what other trials take their design from.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct RunsGc {
    /// Folder of trials.
    #[arg(default_value = "runs")]
    pub runs: PathBuf,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn cancel\n  litesnn cancel quickstart-0123456789ab --runs /data/runs")]
pub struct Cancel {
    /// Names of launches, as `litesnn runs` lists them; all without one.
    pub launches: Vec<String>,
    /// Folder of trials.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
}

#[derive(Debug, Args)]
pub struct Work {
    /// Folder of the launch.
    pub launch: PathBuf,
    /// For the launcher.
    pub arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Trial {
    /// File of the task.
    pub task: PathBuf,
    /// Names the file that says how this process ended.
    #[arg(long)]
    pub token: String,
    /// Work in a folder of its own, as one attempt among others.
    #[arg(long)]
    pub attempt: bool,
    #[arg(long, default_value = "auto")]
    pub device: String,
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn plan experiments/quickstart.toml\n  \
                        litesnn plan experiments/quickstart.toml --profile smoke --time")]
pub struct Plan {
    /// The manifest.
    pub manifest: PathBuf,
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
    /// Run a few steps of each trial to estimate its time; takes seconds.
    #[arg(long)]
    pub time: bool,
    /// Print the trials as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn explain experiments/quickstart.toml --profile smoke\n  \
                        litesnn explain experiments/quickstart.toml search.epochs --profile smoke\n  \
                        litesnn explain experiments/quickstart.toml compressor")]
pub struct Explain {
    /// The manifest.
    pub manifest: PathBuf,
    /// A key or a section, such as `search.epochs` or `compressor`.
    pub key: Option<String>,
    #[command(flatten)]
    pub layers: Layers,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn report\n  litesnn report runs/quickstart --out page")]
pub struct Report {
    /// A folder of trials: all, one experiment's, or one trial.
    #[arg(default_value = "runs")]
    pub runs: PathBuf,
    /// Where the page, tables and figures go.
    #[arg(long, default_value = "report")]
    pub out: PathBuf,
    /// Compare results at the paper's settings with the published numbers; exit code 3 when one is outside of its
    /// tolerance, 4 when there is nothing to compare.
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn plugins\n  litesnn plugins score-prune")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Plugins {
    /// Describe this one: documentation, formula, settings, an example.
    pub name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<PluginsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// Write the file of a new plugin into the clone around the working directory, and list it.
    New(New),
}

#[derive(Debug, Args)]
pub struct New {
    /// Its kind.
    #[arg(value_parser = ["dataset", "space", "compressor", "timesteps", "optimizer", "launcher"])]
    pub kind: String,
    /// Its name in manifests, such as `magnitude-prune`.
    pub name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Without a command: every data set that is known, and where it lies.")]
pub struct Data {
    #[command(subcommand)]
    pub action: Option<DataAction>,
}

#[derive(Debug, Subcommand)]
pub enum DataAction {
    /// Download, check and unpack a data set; an interrupted download goes on.
    Fetch(DataFetch),
    /// Check the files of data sets against their checksums.
    Verify(DataVerify),
}

#[derive(Debug, Args)]
pub struct DataFetch {
    /// The data set, as `litesnn data` lists it.
    pub name: String,
    /// Folder for data; without it LITESNN_DATA, else litesnn's cache folder.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Another address of the same file, or, ending with `/`, of the folder that has it; its checksum has to be the published one.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Give up when nothing comes for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Say nothing but the result and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct DataVerify {
    /// Only this one, which has to be there; without it all that are.
    pub name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn doctor\n  litesnn doctor --device cuda")]
pub struct Doctor {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  litesnn completions bash > ~/.local/share/bash-completion/completions/litesnn\n  \
                        litesnn completions zsh > ~/.zfunc/_litesnn\n  \
                        litesnn completions fish > ~/.config/fish/completions/litesnn.fish"
)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn cost experiments/designs/lite-snn-medium.toml\n  \
                  litesnn cost experiments/designs/lite-snn-medium.toml --dataset cifar100 --json\n  \
                  litesnn cost runs/quickstart/lite-snn-s0-0123456789abcdef")]
pub struct Cost {
    /// A design, a manifest (variants with designs in files, and those that have run), or the folder of a trial.
    #[arg(value_name = "DESIGN|MANIFEST|TRIAL")]
    pub target: PathBuf,
    #[command(flatten)]
    pub layers: Layers,
    /// Count for the images and classes of this data set.
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Folder of trials, in which the designs that a manifest's searches found are looked for.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// Take the firing rates of this trial's folder.
    #[arg(long, value_name = "TRIAL", conflicts_with = "spikes")]
    pub rates: Option<PathBuf>,
    /// Mean spikes of a neuron over all timesteps, the same in every layer.
    #[arg(long, value_name = "N")]
    pub spikes: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn bench search-step --channels 12 --timesteps 6 --batch 4\n  \
                  litesnn bench retrain-step --design experiments/designs/lite-snn-medium.toml --json\n  \
                  litesnn bench evaluate --threads 1 --repeats 9\n  \
                  litesnn bench search-step experiments/quickstart.toml --batch 50\n  \
                  litesnn bench lif")]
pub struct Bench {
    /// What is timed; without it the first four, one after another.
    #[arg(value_enum)]
    pub work: Option<BenchWork>,
    /// A manifest; without it, the paper's medium network for CIFAR-10.
    pub manifest: Option<PathBuf>,
    #[command(flatten)]
    pub layers: Layers,
    /// The variant of the manifest; without it, the first one.
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// The design that is retrained or evaluated; without it, the variant's.
    #[arg(long, value_name = "FILE")]
    pub design: Option<PathBuf>,
    /// Timesteps; of a search, the largest number of them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub timesteps: Option<i64>,
    /// Images of a step; without it 4, of `lif` 32.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub batch: Option<i64>,
    /// Channels of a node; of `lif` all, without it 48.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub channels: Option<i64>,
    /// Cells, spread over three resolutions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub cells: Option<i64>,
    /// Nodes of a cell.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub nodes: Option<i64>,
    /// Height and width of the images; without it, the data set's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub size: Option<i64>,
    /// Turns that are measured, after two that warm up.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(i64).range(1..))]
    pub repeats: i64,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of libtorch; all cores without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Write a network of the design, a batch and its logits as safetensors, for a comparison with another implementation.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Where `growth` draws its figure: SVG, or PNG by the name's ending.
    #[arg(long, value_name = "FILE")]
    pub figure: Option<PathBuf>,
}

/// What `bench` times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BenchWork {
    /// A step of the search.
    SearchStep,
    /// A step of retraining.
    RetrainStep,
    /// A batch of an evaluation.
    Evaluate,
    /// A layer of neurons, forward and backward.
    Lif,
    /// Steps of the search of many sizes: how time and memory grow with timesteps, batch, channels and cells.
    Growth,
}

impl BenchWork {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BenchWork::SearchStep => "search-step",
            BenchWork::RetrainStep => "retrain-step",
            BenchWork::Evaluate => "evaluate",
            BenchWork::Lif => "lif",
            BenchWork::Growth => "growth",
        }
    }
}

/// Where data sets are looked for: `LITESNN_DATA`, then the bundled data, then what `litesnn data fetch` brought.
pub fn data_store() -> DataStore {
    let mut folders: Vec<PathBuf> = std::env::var_os("LITESNN_DATA").map(PathBuf::from).into_iter().collect();
    folders.push(PathBuf::from("experiments/data"));
    folders.push(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/data")));
    let home = data_home();
    if !folders.contains(&home) {
        folders.push(home);
    }
    let store = DataStore::new(folders);
    match cache() {
        Some(folder) => store.with_cache(folder.join("facts")),
        None => store,
    }
}

/// The folder of what can be had again: `LITESNN_CACHE`, else `litesnn` in the user's cache; `experiments/setup-libtorch` uses it
/// too.
fn cache() -> Option<PathBuf> {
    let user = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable("LITESNN_CACHE").or_else(|| Some(user()?.join("litesnn")))
}

/// Where fetched data go: `LITESNN_DATA`, else `data` in the cache folder.
pub fn data_home() -> PathBuf {
    let cached = || cache().map(|cache| cache.join("data"));
    variable("LITESNN_DATA").or_else(cached).unwrap_or_else(|| PathBuf::from("experiments/data"))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
