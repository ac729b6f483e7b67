//! The command line.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser, ValueParser};
use clap::{Args, Parser, Subcommand};
use litesnn_framework::data::DataStore;
use litesnn_framework::manifest;

use crate::bundled;

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
    /// Run the trials of manifests. Finished trials are kept; interrupted trials resume.
    Run(RunOptions),
    /// List the trials of a manifest: state, parameters, memory and, with --time, run time.
    Plan(PlanOptions),
    /// Print the resolved manifest, or everything known about one setting.
    Explain(Explain),
    /// Print the cost of a design, by layer and in total: size, operations, energy.
    Cost(Cost),
    /// Write the trained network of a trial or a design to a file that runs without libtorch.
    Export(Export),
    /// Run a packed network on a data set, on a picture or on a sound.
    Infer(Infer),
    /// Time a training step against its convolutions alone, on random images.
    Bench(Bench),
    /// Render finished trials as tables, figures and one HTML page.
    Report(Report),
    /// List the plugins, describe one plugin, or start a new one.
    Plugins(Plugins),
    /// List, fetch and verify data sets.
    Data(Data),
    /// Print the JSON schema of manifests with every plugin, for editors.
    Schema,
    /// Check libtorch, the device, the threads and the folders, and how large these are.
    Doctor(Doctor),
    /// Check a GPU: its numbers against the CPU's, repeatability, blocking copies, speed.
    GpuCheck(GpuCheck),
    /// List trials, remove trials, free disk space.
    Runs(Runs),
    /// Stop launched trials. The same `litesnn run` resumes the stopped trials.
    Cancel(Cancel),
    /// Do the work that a launcher started this process for.
    #[command(hide = true)]
    Work(WorkOptions),
    /// Run one trial of a launch.
    #[command(hide = true)]
    Trial(TrialOptions),
    /// Print a completion script for a shell.
    Completions(Completions),
}

/// What selects and changes a manifest.
#[derive(Debug, Args)]
pub struct Layers {
    /// Use the manifest's [profile.NAME].
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Change a setting. VALUE is TOML; a bare word is a string, and text that looks like a number
    /// stands in quotes: --set 'KEY="8"'.
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
            held: &[],
            bundled: Some(bundled::find),
            publications: litesnn_reports::published::names(),
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn run experiments/quickstart.toml\n  \
                        litesnn run experiments/quickstart.toml --profile smoke --threads 2\n  \
                        litesnn run experiments/quickstart.toml --jobs 2\n  \
                        litesnn run experiments/quickstart.toml --set 'experiment.seeds=[0, 1, 2]' --set retrain.epochs=30")]
pub struct RunOptions {
    /// Manifests: files, or names of the paper's and the quick start's, such as `table4`.
    #[arg(required = true, value_name = "MANIFEST", value_parser = file(bundled::manifest))]
    pub manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub layers: Layers,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of libtorch for each trial [default: the cores that other programs leave free, divided
    /// among concurrent trials; a trial that is resumed has as many as before].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Run N trials at a time on this machine, each in its own process; overrides [launcher].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// With a launcher that runs trials on other machines: return when all trials are finished, not
    /// when all trials are submitted.
    #[arg(long)]
    pub wait: bool,
    /// Run finished trials anew. Their results are set aside, and results of the same work elsewhere
    /// are not taken. After an interruption, the same command without --again resumes.
    #[arg(long)]
    pub again: bool,
    /// Run more seeds of the rows that [[compare]] pairs, until the 95 % interval of each difference
    /// of test accuracy is at most this many percentage points wide on either side, or --max-seeds
    /// is reached.
    #[arg(long, value_name = "POINTS", conflicts_with = "again", value_parser = positive)]
    pub until_interval: Option<f64>,
    /// With --until-interval: the most seeds of a row.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "until_interval", value_parser = clap::value_parser!(u16).range(3..))]
    pub max_seeds: u16,
    /// Folder of trials.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// Run trials whose estimated memory exceeds the memory of the device.
    #[arg(long)]
    pub force: bool,
    /// Print only results and errors.
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
    /// Remove what finished trials no longer need: checkpoints, attempts, launch records.
    Gc(RunsGc),
}

#[derive(Debug, Args)]
pub struct RunsRm {
    /// Folders of trials or of experiments.
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
    /// Also remove running trials, and trials whose design another trial takes over.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct RunsGc {
    /// Folder of trials.
    #[arg(default_value = "runs")]
    pub runs: PathBuf,
    /// Print what would be removed without removing anything.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn cancel\n  litesnn cancel quickstart-0123456789ab --runs /data/runs")]
pub struct Cancel {
    /// Names of launches, as `litesnn runs` lists them [default: all launches].
    pub launches: Vec<String>,
    /// Folder of trials.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
}

#[derive(Debug, Args)]
pub struct WorkOptions {
    /// Folder of the launch.
    pub launch: PathBuf,
    /// For the launcher.
    pub arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub struct TrialOptions {
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
    /// Threads of libtorch, whatever the trial had before.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Threads of libtorch for a trial that begins.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub share: Option<u16>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn plan experiments/quickstart.toml\n  \
                        litesnn plan experiments/quickstart.toml --profile smoke --time")]
pub struct PlanOptions {
    /// The manifest: a file or a name, such as `table4`.
    #[arg(value_parser = file(bundled::manifest))]
    pub manifest: PathBuf,
    #[command(flatten)]
    pub layers: Layers,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of libtorch [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Folder of trials.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// Estimate the run time of each trial from a few real steps; takes seconds.
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
    /// The manifest: a file or a name, such as `table4`.
    #[arg(value_parser = file(bundled::manifest))]
    pub manifest: PathBuf,
    /// A key or a section, such as `search.epochs` or `compressor`.
    pub key: Option<String>,
    #[command(flatten)]
    pub layers: Layers,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn report\n  litesnn report runs/quickstart --out page")]
pub struct Report {
    /// The folder of all trials, of one experiment, or of one trial.
    #[arg(default_value = "runs")]
    pub runs: PathBuf,
    /// Output folder of the page, the tables and the figures.
    #[arg(long, default_value = "report")]
    pub out: PathBuf,
    /// Compare results at the paper's settings with the published numbers. Exit code 3: a result is
    /// outside its tolerance. Exit code 4: there is nothing to compare.
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn plugins\n  litesnn plugins score-prune")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Plugins {
    /// The plugin to describe: documentation, formula, settings, an example.
    pub name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<PluginsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// Write the file of a new plugin into the enclosing clone, declare its module and list it.
    New(New),
}

#[derive(Debug, Args)]
pub struct New {
    /// Kind of the plugin.
    #[arg(value_parser = ["dataset", "space", "compressor", "timesteps", "optimizer", "launcher"])]
    pub kind: String,
    /// Name of the plugin in manifests, such as `magnitude-prune`.
    pub name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Without a command: lists every known data set and where its files are.")]
pub struct Data {
    #[command(subcommand)]
    pub action: Option<DataAction>,
}

#[derive(Debug, Subcommand)]
pub enum DataAction {
    /// Download, check and unpack a data set. An interrupted download resumes.
    Fetch(DataFetch),
    /// Check the files of data sets against their checksums.
    Verify(DataVerify),
}

#[derive(Debug, Args)]
pub struct DataFetch {
    /// The data set, as `litesnn data` lists it.
    pub name: String,
    /// Folder for data [default: LITESNN_DATA, else the cache folder of litesnn].
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Download from this address instead: a file, or a folder if the address ends with `/`. The
    /// checksum has to be the published one.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Give up after SECONDS without data.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Print only the result and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct DataVerify {
    /// The data set to verify; its files have to exist [default: every data set found].
    pub name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn doctor\n  litesnn doctor --device cuda")]
pub struct Doctor {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Folder of trials.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn gpu-check\n  litesnn gpu-check --quick --out gpu.jsonl\n  \
                        compute-sanitizer litesnn gpu-check --here --part nodes --part weights")]
pub struct GpuCheck {
    /// Run this part; give several to run several [default: all].
    #[arg(long = "part", value_name = "NAME", value_enum)]
    pub parts: Vec<GpuPart>,
    /// Smaller networks and fewer shapes.
    #[arg(long)]
    pub quick: bool,
    /// Write the lines of JSON to FILE, and a summary of each to stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// `cuda` or `cuda:N`.
    #[arg(long, default_value = "cuda")]
    pub device: String,
    /// Run the parts in this process, one after another, for a debugger or compute-sanitizer.
    /// Otherwise each part has a process of its own, and a crash ends one part.
    #[arg(long)]
    pub here: bool,
}

/// A part of `litesnn gpu-check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GpuPart {
    /// The device and the versions of all that computes on it.
    Device,
    /// f32 is f32, TF32 and bf16 are what they promise, the same sums twice.
    Numerics,
    /// Layers of neurons against the CPU and f64.
    Neurons,
    /// Nodes with their normalisation against the CPU and f64.
    Nodes,
    /// Compressed weights against the CPU.
    Weights,
    /// Loss and gradients of a search step against the CPU.
    SearchStep,
    /// Loss and gradients of a retraining step against the CPU.
    RetrainStep,
    /// Twenty steps twice.
    Repeatability,
    /// Copies and reads for which the host waits.
    BlockingCopies,
    /// Copies and products at their fastest.
    Ceilings,
    /// Times of nodes and neurons.
    NodeTimes,
    /// Times of steps beside their convolutions.
    StepTimes,
    /// Times of convolutions in both layouts.
    ConvolutionTimes,
}

impl GpuPart {
    /// Every part, in the order in which they run.
    pub const ALL: [GpuPart; 13] = [
        GpuPart::Device,
        GpuPart::Numerics,
        GpuPart::Neurons,
        GpuPart::Nodes,
        GpuPart::Weights,
        GpuPart::SearchStep,
        GpuPart::RetrainStep,
        GpuPart::Repeatability,
        GpuPart::BlockingCopies,
        GpuPart::Ceilings,
        GpuPart::NodeTimes,
        GpuPart::StepTimes,
        GpuPart::ConvolutionTimes,
    ];

    /// Its name on the command line and in the lines of JSON.
    pub fn name(self) -> &'static str {
        match self {
            GpuPart::Device => "device",
            GpuPart::Numerics => "numerics",
            GpuPart::Neurons => "neurons",
            GpuPart::Nodes => "nodes",
            GpuPart::Weights => "weights",
            GpuPart::SearchStep => "search-step",
            GpuPart::RetrainStep => "retrain-step",
            GpuPart::Repeatability => "repeatability",
            GpuPart::BlockingCopies => "blocking-copies",
            GpuPart::Ceilings => "ceilings",
            GpuPart::NodeTimes => "node-times",
            GpuPart::StepTimes => "step-times",
            GpuPart::ConvolutionTimes => "convolution-times",
        }
    }
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
    /// A design, a manifest (variants with a design file, and variants that have run), or the folder
    /// of a trial.
    #[arg(value_name = "DESIGN|MANIFEST|TRIAL", value_parser = file(bundled::manifest_or_design))]
    pub target: PathBuf,
    #[command(flatten)]
    pub layers: Layers,
    /// Compute the cost for the image shape and the classes of this data set.
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Folder of trials, which holds the designs that the searches of a manifest have found.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// Take the firing rates from the folder of this trial.
    #[arg(long, value_name = "TRIAL", conflicts_with = "spikes")]
    pub rates: Option<PathBuf>,
    /// Assume N spikes per neuron and image, summed over all timesteps, in every layer.
    #[arg(long, value_name = "N", value_parser = spikes)]
    pub spikes: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn export runs/quickstart/lite-snn-s0-0123456789abcdef\n  \
                  litesnn export runs/quickstart/lite-snn-s0-0123456789abcdef --format onnx --out network.onnx\n  \
                  litesnn export runs/quickstart/lite-snn-s0-0123456789abcdef --format onnx --width int4\n  \
                  litesnn export runs/quickstart/lite-snn-s0-0123456789abcdef --format nir\n  \
                  litesnn export found.toml --runs runs")]
pub struct Export {
    /// The folder of a finished trial, or a design that one finished trial below `--runs` trained.
    #[arg(value_name = "TRIAL|DESIGN", value_parser = file(bundled::trial_or_design))]
    pub target: PathBuf,
    /// The form of the file.
    #[arg(long, value_enum, default_value = "packed")]
    pub format: Format,
    /// The file [default: `network.FORMAT` in the folder of the trial].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Folder of trials, where that of a design is looked for.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// With `onnx` and `nir`: write a network that stops early nevertheless; the file answers at the
    /// last timestep.
    #[arg(long)]
    pub past_exit: bool,
    /// With `onnx`: how levels are held [default: int8]. A layer whose levels do not fit gets the next
    /// width that holds them.
    #[arg(long, value_enum)]
    pub width: Option<Width>,
    /// With `onnx`: the spikes of every map of neurons are outputs, too.
    #[arg(long)]
    pub spikes: bool,
    /// With `nir`: r = 1 in every neuron, and weights times 1 / (1 - decay), for readers that ignore
    /// r.
    #[arg(long)]
    pub unit_resistance: bool,
}

/// How an ONNX file holds levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Width {
    /// -128 to 127, opset 21.
    Int8,
    /// -8 to 7, opset 25.
    Int4,
    /// -2 to 1, opset 25.
    Int2,
    /// f32, for runtimes without DequantizeLinear, opset 21.
    Float,
}

/// The form of an exported network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For `litesnn infer`, the page of a report, and the engine's crate.
    Packed,
    /// For ONNX runtimes.
    Onnx,
    /// For snnTorch, SpikingJelly and other readers of NIR.
    Nir,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn infer network.packed --dataset fashion-mnist\n  \
                  litesnn infer network.packed --dataset fashion-mnist --limit 100 --layers\n  \
                  litesnn infer network.packed --dataset fashion-mnist --logits logits.safetensors\n  \
                  litesnn infer network.packed --dataset cifar10 --set dataset.cifar10.test=1000\n  \
                  litesnn infer network.packed --image shoe.png\n  \
                  litesnn infer network.packed --sound yes.wav")]
#[command(group = clap::ArgGroup::new("input").required(true).args(["dataset", "image", "sound"]))]
pub struct Infer {
    /// A packed network.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The data set.
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Change a setting of the data set, as in a manifest: --set dataset.cifar10.test=1000. A packed
    /// file has no settings of a data set of pictures.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with_all = ["image", "sound"])]
    pub set: Vec<String>,
    /// Which of its images.
    #[arg(long, value_enum, default_value = "test", conflicts_with_all = ["image", "sound"])]
    pub split: Part,
    /// So many images at most.
    #[arg(long, value_name = "N", conflicts_with_all = ["image", "sound"], value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Write the logits of every image and timestep, with the labels, as safetensors.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "sound"])]
    pub logits: Option<PathBuf>,
    /// A picture, PNG or JPEG.
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// A sound, WAV, for a network that was trained on sounds.
    #[arg(long, value_name = "FILE")]
    pub sound: Option<PathBuf>,
    /// Threads over the channels of a layer [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Show the time, firing rate and operations of every layer.
    #[arg(long)]
    pub layers: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// What is trained on.
    Train,
    /// What is watched during training.
    Validation,
    /// What is measured once, at the end.
    Test,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  litesnn bench --threads 1\n  \
                  litesnn bench search-step --set timesteps.compressive.max=3 --set space.spike-dhs.nodes=3\n  \
                  litesnn bench search-step experiments/quickstart.toml --batch 50\n  \
                  litesnn bench retrain-step --design experiments/designs/lite-snn-small.toml --timesteps 3 --json\n  \
                  litesnn bench evaluate --threads 1 --repeats 9\n  \
                  litesnn bench lif --channels 64\n  \
                  litesnn bench growth --over 'batch=[1, 2, 4, 8]' --over 'space.spike-dhs.nodes=[2, 3, 4]'")]
pub struct Bench {
    /// What to time [default: the first four, one after another].
    #[arg(value_enum)]
    pub work: Option<BenchWork>,
    /// The manifest [default: the paper's medium network for CIFAR-10].
    #[arg(value_parser = file(bundled::manifest))]
    pub manifest: Option<PathBuf>,
    #[command(flatten)]
    pub layers: Layers,
    /// Variant of the manifest [default: the first variant that does the work].
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Design to retrain or evaluate [default: the design of the variant]. With a design, `growth`
    /// times steps of retraining.
    #[arg(long, value_name = "FILE", value_parser = file(bundled::design))]
    pub design: Option<PathBuf>,
    /// Timesteps of the design, or of `lif` [default: those of the design, 6 for `lif`]. The
    /// timesteps of a search are a setting of the manifest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub timesteps: Option<i64>,
    /// Images of a step [default: 4, 32 for `lif`].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub batch: Option<i64>,
    /// Height and width of the images [default: those of the data set, 32 for `lif`].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub size: Option<i64>,
    /// Channels of `lif` [default: 48].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub channels: Option<i64>,
    /// On a GPU, run the steps one operation at a time, and not as one graph.
    #[arg(long)]
    pub no_graph: bool,
    /// Measured turns, after three turns that warm up.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(i64).range(1..))]
    pub repeats: i64,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of libtorch [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Write a network of the design, a batch and its logits as safetensors, to compare with
    /// another implementation.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Size that grows in `growth`, repeatable. KEY is the path of a setting, or `batch`, `size` or
    /// `timesteps` (of a design); a list among the values counts by its length [default: `batch`
    /// and `size`, `batch` and `timesteps` for a design].
    #[arg(long, value_name = "KEY=[V1, V2, ...]")]
    pub over: Vec<String>,
    /// Draw the figure of `growth` into this file: PNG if the name ends with `.png`, else SVG.
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
    /// Steps of many sizes: how time and memory grow with each size.
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

/// Reads a width in percentage points.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number of percentage points above 0, such as `1.0`".into()),
    }
}

/// Reads a number of spikes.
fn spikes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number of spikes, 0 or more, such as `0.5`".into()),
    }
}

/// Reads a path that can be the name of a bundled file.
fn file(meant: fn(PathBuf) -> Result<PathBuf, String>) -> ValueParser {
    PathBufValueParser::new().try_map(meant).into()
}

/// Where data sets are looked for: `LITESNN_DATA`, then the bundled data, then what
/// `litesnn data fetch` brought.
pub fn data_store() -> DataStore {
    let mut folders: Vec<PathBuf> = std::env::var_os("LITESNN_DATA").map(PathBuf::from).into_iter().collect();
    folders.push(PathBuf::from("experiments/data"));
    folders.push(bundled::folder().join("data"));
    let home = data_home();
    if !folders.contains(&home) {
        folders.push(home);
    }
    let store = DataStore::new(folders);
    match cache() {
        Some(folder) => store.with_cache(folder.join("summaries")),
        None => store,
    }
}

/// The folder of what can be had again: `LITESNN_CACHE`, else `litesnn` in the user's cache;
/// `experiments/setup-libtorch` uses it too.
pub fn cache() -> Option<PathBuf> {
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
