//! `litesnn cost`: what a design costs, by layer and in all, without training it.

use std::path::{Path, PathBuf};

use litesnn_framework::data::{DataInfo, Dataset, Edition};
use litesnn_framework::ground::file::read_text;
use litesnn_framework::ground::{Build, Parameters};
use litesnn_framework::manifest::{self, Trial};
use litesnn_framework::network::design::Accounting;
use litesnn_framework::network::{
    Activity, Compressor, Design, DesignNetwork, LayerShape, Network, SearchSpace, SynapseLayer, Ticket, running,
};
use litesnn_framework::record::{self, ExitRow, LayerRow, Outcome, files};
use litesnn_framework::run::layer_costs::{self, Totals};
use litesnn_framework::run::survey;
use litesnn_framework::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};
use tch::{Device, Tensor};

use crate::arguments::{Cost, data_store};
use crate::display;
use crate::exit::{Exit, Failure};
use crate::output::out;

/// A network and what it costs.
#[derive(Serialize)]
struct Account {
    /// The design or the variant.
    name: String,
    dataset: String,
    timesteps: i64,
    #[serde(flatten)]
    totals: Totals,
    /// Additions an image: SynOps.
    additions: Option<f64>,
    energy_mj: Option<f64>,
    layers: Vec<LayerRow>,
    #[serde(skip)]
    notes: Vec<String>,
}

/// What is needed to build a network.
struct Blueprint {
    name: String,
    design: Design,
    space: Box<dyn SearchSpace>,
    compressors: Vec<Box<dyn Compressor>>,
    info: DataInfo,
    /// Layers of a run with their firing rates.
    measured: Vec<LayerRow>,
    /// The run of this very network, whose masks and counts are those of the network, too.
    own_run: Option<Outcome>,
    /// Fraction of images that run each timestep, where that run had early exit.
    running: Option<Vec<f64>>,
    notes: Vec<String>,
    /// Its masks, where an optimizer has written them, and the file of their design.
    ticket: Option<(Ticket, PathBuf)>,
}

pub fn cost(options: &Cost) -> Result<Exit, Failure> {
    let blueprints = blueprints(options)?;
    let accounts = blueprints.iter().map(|blueprint| account(blueprint, options)).collect::<Result<Vec<_>>>()?;
    if options.json {
        let text = match accounts.as_slice() {
            [one] => serde_json::to_string_pretty(&document(one)),
            all => serde_json::to_string_pretty(&all.iter().map(document).collect::<Vec<_>>()),
        };
        out!("{}", text.map_err(|error| Failure::internal(&error.to_string()))?);
    } else {
        for (index, account) in accounts.iter().enumerate() {
            if index > 0 {
                out!();
            }
            print(account);
        }
    }
    Ok(Exit::Done)
}

/// As JSON; what is not known is null.
fn document(account: &Account) -> Value {
    let mut value = json!(account);
    if account.additions.is_none() {
        for unknown in ["syn_ops", "bit_syn_ops"] {
            value[unknown] = Value::Null;
        }
    }
    value
}

fn blueprints(options: &Cost) -> Result<Vec<Blueprint>> {
    let target = &options.target;
    let unchangeable = |what: &str| match options.layers.arguments().as_slice() {
        [] => Ok(()),
        [option, ..] => Err(Error::Content {
            path: target.clone(),
            message: format!("is {what}, and `{option}` changes manifests"),
            hint: "name the manifest".into(),
        }),
    };
    if target.is_dir() {
        unchangeable("the folder of a trial")?;
        return Ok(vec![of_trial(target, options)?]);
    }
    let text = read_text(target).map_err(Error::file("read", target))?;
    if Design::is_told_by(&text) {
        unchangeable("a design")?;
        let design = Design::parse(&text, target)?;
        return Ok(vec![of_design(design, target, options)?]);
    }
    of_manifest(options)
}

fn of_design(design: Design, path: &Path, options: &Cost) -> Result<Blueprint> {
    let Some(network) = design.network.clone() else {
        return Err(Error::Content {
            path: path.to_owned(),
            message: "has no [network] section, which says how wide the network is".into(),
            hint: "give a manifest whose [design] names this file, or add [network] as in experiments/designs".into(),
        });
    };
    let wrong = |what: &str| {
        let (path, what) = (path.to_owned(), what.to_owned());
        move |error: serde_json::Error| Error::Content {
            path,
            message: format!("has a wrong {what} in [network]: {error}"),
            hint: "[network] holds the sections of a manifest".into(),
        }
    };
    let DesignNetwork { input, classes, space, compressor } = network;
    let info = DataInfo {
        shape: input,
        classes: (0..classes).map(|class| class.to_string()).collect(),
        digest: String::new(),
        title: format!("{}x{}x{}, {classes} classes", input[0], input[1], input[2]),
        edition: Edition::Other,
    };
    Ok(Blueprint {
        name: path.display().to_string(),
        ticket: design.ticket_beside(path)?.map(|ticket| (ticket, path.to_owned())),
        space: serde_json::from_value(space).map_err(wrong("space"))?,
        compressors: serde_json::from_value(Value::Array(compressor)).map_err(wrong("compressor"))?,
        info: other_data(options)?.unwrap_or(info),
        design,
        measured: measured(options.rates.as_deref())?,
        own_run: None,
        running: None,
        notes: Vec::new(),
    })
}

fn of_trial(folder: &Path, options: &Cost) -> Result<Blueprint> {
    let path = folder.join(files::DESIGN);
    let mut blueprint = of_design(Design::read(&path)?, &path, options)?;
    if options.rates.is_none() && folder.join(files::LAYERS).exists() {
        blueprint.measured = measured(Some(folder))?;
        blueprint.own_run = record::result(folder);
        blueprint.running = running_in(folder)?;
    }
    Ok(blueprint)
}

/// The networks of a manifest, each variant and point of a sweep once: those of designs in files
/// and of spaces with one architecture alone, and those that trials under `--runs` have found, with the firing rates of their runs. What is
/// still to be searched has no network yet.
fn of_manifest(options: &Cost) -> Result<Vec<Blueprint>> {
    let plan = manifest::load(&options.layers.request(options.target.clone()))?;
    let mut all: Vec<Blueprint> = Vec::new();
    let mut open = Vec::new();
    let surveyed = survey(&plan, &options.runs, &data_store(), Device::Cpu);
    for (trial, looked) in plan.trials.iter().zip(surveyed) {
        let name = trial.row();
        if all.iter().any(|other| other.name == name) {
            continue;
        }
        // A trial says what it ran even where a file says the same: it has firing rates.
        let folder = looked.ok().map(|looked| looked.task.folder).filter(|folder| folder.join(files::DESIGN).exists());
        let file = trial.manifest.design.as_ref().and_then(|design| design.file.clone());
        match (folder, file) {
            (Some(folder), _) => {
                let file = folder.join(files::DESIGN);
                all.push(of_variant(name, trial, (Design::read(&file)?, Some(&file)), Some(&folder), options)?)
            }
            (None, Some(file)) => {
                all.push(of_variant(name, trial, (Design::read(&file)?, Some(&file)), None, options)?)
            }
            (None, None) => match trial.manifest.written_design() {
                Some(design) => all.push(of_variant(name, trial, (design, None), None, options)?),
                None => open.push(name),
            },
        }
    }
    open.retain(|name| all.iter().all(|found| found.name != *name));
    open.dedup();
    if all.is_empty() {
        return Err(Error::Content {
            path: options.target.clone(),
            message: format!(
                "has no variant with a known design: {} still to be searched, and nothing is found under `{}`",
                if open.len() == 1 { "its network is" } else { "its networks are" },
                options.runs.display()
            ),
            hint: "`litesnn run` finds designs; `--runs` names the folder of trials".into(),
        });
    }
    if let (Some(last), false) = (all.last_mut(), open.is_empty()) {
        last.notes.push(format!("not searched yet, and so not counted: {}", open.join(", ")));
    }
    Ok(all)
}

/// `file` is that of the design, if there is one, and `run` the folder of a trial that ran it.
fn of_variant(
    name: String,
    trial: &Trial,
    (design, file): (Design, Option<&Path>),
    run: Option<&Path>,
    options: &Cost,
) -> Result<Blueprint> {
    let read = |section: &str| trial.settings[section].clone();
    let unreadable = |error: serde_json::Error| Error::Record(error.to_string());
    let info = match other_data(options)? {
        Some(info) => info,
        None => known_form(trial.manifest.dataset.as_ref())?,
    };
    let rates = run.filter(|folder| folder.join(files::LAYERS).exists());
    Ok(Blueprint {
        name,
        ticket: match file {
            Some(file) => design.ticket_beside(file)?.map(|ticket| (ticket, file.to_owned())),
            None => None,
        },
        design,
        space: serde_json::from_value(read("space")).map_err(unreadable)?,
        compressors: serde_json::from_value(read("compressor")).map_err(unreadable)?,
        info,
        measured: measured(options.rates.as_deref().or(rates))?,
        own_run: rates.filter(|_| options.rates.is_none()).and_then(record::result),
        running: rates.filter(|_| options.rates.is_none()).map(running_in).transpose()?.flatten(),
        notes: Vec::new(),
    })
}

/// The form of the data set that `--dataset` names.
fn other_data(options: &Cost) -> Result<Option<DataInfo>> {
    let Some(name) = &options.dataset else { return Ok(None) };
    known_form(manifest::dataset(name, json!({}), &[])?.as_ref()).map(Some)
}

fn known_form(dataset: &dyn Dataset) -> Result<DataInfo> {
    let (shape, classes) = dataset.form();
    let name = dataset.typetag_name();
    Ok(DataInfo {
        shape,
        classes: (0..classes).map(|class| class.to_string()).collect(),
        digest: String::new(),
        title: format!("{name} ({}x{}x{}, {classes} classes)", shape[0], shape[1], shape[2]),
        edition: Edition::Other,
    })
}

fn measured(folder: Option<&Path>) -> Result<Vec<LayerRow>> {
    folder.map_or(Ok(Vec::new()), |folder: &Path| record::read(&folder.join(files::LAYERS)))
}

/// Fraction of images that ran each timestep in a trial with early exit.
fn running_in(folder: &Path) -> Result<Option<Vec<f64>>> {
    let path = folder.join(files::EXITS);
    let rows: Vec<ExitRow> = if path.exists() { record::read(&path)? } else { Vec::new() };
    Ok(rows.iter().find(|row| row.result == 1).map(|row| running(&row.stopped)))
}

fn account(blueprint: &Blueprint, options: &Cost) -> Result<Account> {
    let Blueprint { design, info, .. } = blueprint;
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 0, Device::Cpu);
    let compressors: Vec<(&str, &dyn Compressor)> =
        blueprint.compressors.iter().map(|compressor| (compressor.typetag_name(), compressor.as_ref())).collect();
    let architecture = design.architecture();
    let network = blueprint.space.network(&architecture, &design.compression, false, info, &compressors, &mut build)?;
    if let Some((ticket, design)) = &blueprint.ticket {
        ticket.give(network.as_ref(), design)?;
    }

    let accounting = design.accounting.clone().unwrap_or_default();
    let mut notes = blueprint.notes.clone();
    let activity = activity(network.as_ref(), blueprint, options, &accounting, &mut notes)?;
    let known_activity = activity.as_deref().unwrap_or_default();
    let mut rows = match &blueprint.running {
        Some(running) if options.spikes.is_none() => {
            notes.push("images stop as in the run, with early exit".into());
            layer_costs::running_layers(network.as_ref(), known_activity, running)
        }
        _ => layer_costs::layers(network.as_ref(), known_activity, design.timesteps),
    };
    notes.push(count_by_run(&mut rows, blueprint, options));
    let mut totals = layer_costs::totals(&rows, network.as_ref());
    // An older schema counts what training alone needs.
    if let Some(run) = blueprint.own_run.as_ref().filter(|run| run.file_bytes.is_finite()) {
        totals.stored_bytes = run.stored_bytes;
    }
    if let Some(timesteps) = accounting.multiplication_timesteps.filter(|timesteps| *timesteps != design.timesteps) {
        let run = totals.multiplications;
        totals.multiplications *= timesteps as f64 / design.timesteps as f64;
        notes.push(format!(
            "multiplications are counted over {timesteps} timesteps, as the design's [accounting] says; its {} timesteps do {:.2} M",
            design.timesteps,
            run / 1e6
        ));
    }
    if let Some(density) = accounting.density {
        totals.ann_operations = layer_costs::ann_operations(&rows, |_| density);
        notes.push(format!(
            "ANN operations are counted with {density} of the weights, as the design's [accounting] says"
        ));
    }
    let known = activity.is_some();
    let energy = litesnn_framework::network::cost::energy_mj(totals.syn_ops, totals.multiplications);
    Ok(Account {
        name: blueprint.name.clone(),
        dataset: info.title.clone(),
        timesteps: design.timesteps,
        additions: known.then_some(totals.syn_ops),
        energy_mj: known.then_some(energy),
        totals,
        layers: rows,
        notes,
    })
}

/// Gives `rows` the masks and the counted operations of the run, where it is that of this network;
/// a record of an older schema has none. The note says what they are.
fn count_by_run(rows: &mut [LayerRow], blueprint: &Blueprint, options: &Cost) -> String {
    let of_run = |row: &LayerRow| blueprint.measured.iter().find(|run| run.layer == row.layer);
    let own = blueprint.own_run.is_some()
        && rows.iter().all(|row| of_run(row).is_some_and(|run| run.stored_bytes.is_finite()));
    if !own {
        return "masks are those of a new network; counted operations take spikes as spread evenly over each map"
            .into();
    }
    for row in rows {
        let Some(run) = blueprint.measured.iter().find(|run| run.layer == row.layer) else { continue };
        row.mask_coding.clone_from(&run.mask_coding);
        (row.mask_bits, row.stored_bytes) = (run.mask_bits, run.stored_bytes);
        if options.spikes.is_none() {
            (row.syn_ops_counted, row.bit_syn_ops_counted) = (run.syn_ops_counted, run.bit_syn_ops_counted);
            row.multiplications_counted = run.multiplications_counted;
        }
    }
    match options.spikes {
        None => "masks and counted operations are those of the run".into(),
        Some(_) => "masks are those of the run; counted operations take spikes as spread evenly over each map".into(),
    }
}

/// What each layer's input neurons do; `None` where nothing is known. Spikes are spread evenly over
/// the maps.
fn activity(
    network: &dyn Network,
    blueprint: &Blueprint,
    options: &Cost,
    accounting: &Accounting,
    notes: &mut Vec<String>,
) -> Result<Option<Vec<Activity>>> {
    let timesteps = blueprint.design.timesteps;
    let layers = network.layers();
    let shapes = layers.iter().map(|layer| layer.shape);
    if !blueprint.measured.is_empty() && options.spikes.is_none() {
        let zeros = vec![0.0; timesteps as usize];
        let rates = shapes.map(|LayerShape { name, .. }| {
            let row = blueprint.measured.iter().find(|row| row.layer == *name).ok_or_else(|| {
                Error::Record(format!("the run has no layer `{name}`: its firing rates are those of another network"))
            })?;
            Ok(Tensor::from_slice(if row.firing_rate.is_empty() { &zeros } else { &row.firing_rate }))
        });
        notes.push("firing rates were measured in the run".into());
        let rates = rates.collect::<Result<Vec<_>>>()?;
        return Ok(Some(spread(&layers, rates)));
    }
    let Some(spikes) = options.spikes.or(accounting.spikes) else {
        notes.push("no firing rates are known: `--rates TRIAL` or `--spikes N` gives SynOps and energy".into());
        return Ok(None);
    };
    notes.push(format!("every neuron spikes {spikes} times an image on average"));
    let rate = Tensor::from_slice(&vec![spikes / timesteps as f64; timesteps as usize]);
    let rates = layers.iter().map(|_| rate.shallow_clone()).collect();
    Ok(Some(spread(&layers, rates)))
}

/// Layers whose input neurons all fire at the layer's rate.
fn spread(layers: &[SynapseLayer], rates: Vec<Tensor>) -> Vec<Activity> {
    let uniform = |(layer, rate): (&SynapseLayer, _)| Activity::uniform(rate, layer.shape.input_neurons());
    layers.iter().zip(rates).map(uniform).collect()
}

fn print(account: &Account) {
    let million = |value: f64| format!("{:.2} M", value / 1e6);
    let millijoule = |value: f64| format!("{value:.3} mJ");
    out!("{}, {}, T = {}", account.name, account.dataset, account.timesteps);
    let mut table =
        display::table(["layer", "weights", "kept", "bits", "kbit", "mask kbit", "MACs", "SynOps", "Bit-SynOps"]);
    let known = account.additions.is_some();
    let spiking = |value: f64| if known { million(value) } else { "-".into() };
    for row in &account.layers {
        table.add_row([
            row.layer.clone(),
            row.weights.to_string(),
            row.kept_weights.to_string(),
            format!("{:.2}", row.bits),
            format!("{:.1}", row.memory_bits / 1e3),
            format!("{:.1}", row.mask_bits / 1e3),
            million(row.macs),
            spiking(row.syn_ops),
            spiking(row.bit_syn_ops),
        ]);
    }
    out!("{table}\n");
    let totals = &account.totals;
    let mut table = display::table(["in all", ""]);
    for (name, value) in [
        ("parameters", totals.parameters.to_string()),
        ("kept weights", format!("{} of {}", totals.kept_weights, totals.weights)),
        ("model size, as published: without masks", format!("{:.3} MB", totals.model_size_bytes / 1e6)),
        ("stored size, with masks", format!("{:.3} MB", totals.stored_bytes / 1e6)),
        ("dense MACs", million(totals.macs)),
        ("ANN operations", million(totals.ann_operations)),
        ("multiplications", million(totals.multiplications)),
        ("additions (SynOps)", account.additions.map_or("-".into(), million)),
        ("Bit-SynOps", spiking(totals.bit_syn_ops)),
        ("energy", account.energy_mj.map_or("-".into(), millijoule)),
        ("counted multiplications", million(totals.multiplications_counted)),
        ("counted additions", spiking(totals.syn_ops_counted)),
        ("counted Bit-SynOps", spiking(totals.bit_syn_ops_counted)),
        ("energy of counted operations", if known { millijoule(totals.energy_counted_mj) } else { "-".into() }),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    out!("{table}");
    for note in &account.notes {
        out!("  {note}");
    }
}
