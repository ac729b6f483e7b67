//! From variants and the sweep to trials, in the order in which trials can run.

use std::collections::HashMap;

use serde_json::Value;
use tch::Device;

use super::device;
use super::file::Mark;
use super::layers::Request;
use super::marks::{AsWritten, Marks};
use super::overrides::lost_overrides;
use super::resolve::{Resolved, resolve};
use super::spelling::{did_you_mean, listed};
use super::stack::Stack;
use super::sweep::{Swept, typed};
use super::tree::{lookup, path, split_path};
use super::trial::Trial;
use super::typed::{DesignSource, Experiment, Manifest};
use super::variants::Variant;
use crate::Error;
use crate::data::DataInfo;
use crate::ground::file::text;
use crate::ground::{ConfigLayer, Problem, Role, guarded, threads};
use crate::network::{Design, Misfit, SearchSpace};
use crate::plugin::Kind;
use crate::record::Point;
use crate::train::{OpenDecisions, decision};

/// More trials than this are a mistake in a sweep.
const MOST_TRIALS: usize = 100_000;

pub(super) struct Planner<'a> {
    base: &'a Stack,
    request: &'a Request,
    written: AsWritten,
    variants: &'a [Variant],
    sweep: &'a [Swept],
    /// What the trials run on, where that is known.
    device: Option<Device>,
    trials: Vec<Trial>,
    /// Where each trial is, by its variant, its seed and the index of the value of each swept key;
    /// `None` where the key does not concern the trial.
    places: HashMap<(usize, u64, Vec<Option<usize>>), usize>,
    /// Problems with the variant that they were found in.
    found: Vec<(usize, Problem)>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        base: &'a Stack,
        request: &'a Request,
        variants: &'a [Variant],
        sweep: &'a [Swept],
        device: Option<Device>,
    ) -> Planner<'a> {
        let written = AsWritten::of(request, base);
        let (trials, places, found) = Default::default();
        Planner { base, request, written, variants, sweep, device, trials, places, found }
    }

    /// The trials, and the problems with the index of the variant that they were found in.
    pub(super) fn into_trials(self) -> (Vec<Trial>, Vec<(usize, Problem)>) {
        (self.trials, self.found)
    }

    pub(super) fn plan(&mut self, problems: &mut Vec<Problem>) {
        let own: Vec<Vec<bool>> = self
            .variants
            .iter()
            .map(|variant| self.sweep.iter().map(|swept| swept.concerns(variant)).collect())
            .collect();
        for (index, swept) in self.sweep.iter().enumerate() {
            if !self.variants.is_empty() && !own.iter().any(|concerned| concerned[index]) {
                problems.push(swept.idle(self.base, self.variants));
            }
        }
        problems.extend(lost_overrides(self.base, self.variants, self.sweep));
        let sources: Vec<Option<usize>> = (0..self.variants.len()).map(|index| self.source(index)).collect();
        for variant in running_order(&sources) {
            let of_source = sources[variant].map(|source| own[source].as_slice());
            self.variant(variant, &own[variant], sources[variant].zip(of_source));
            if self.trials.len() > MOST_TRIALS {
                problems.push(self.too_many());
                return;
            }
        }
    }

    /// The variant whose design a variant takes.
    fn source(&mut self, index: usize) -> Option<usize> {
        let variants = self.variants;
        let variant = &variants[index];
        let from = variant.from.as_ref()?;
        let names: Vec<String> = variants
            .iter()
            .filter(|other| other.name != variant.name && !other.takes_design())
            .map(|other| other.name.clone())
            .collect();
        let at = path(["design", "from"]);
        let source = variants.iter().position(|other| other.name == *from);
        let message = match source {
            Some(source) if source == index => format!("variant `{from}` takes its own design"),
            Some(source) if variants[source].takes_design() => {
                format!("variant `{from}` does not search: it takes a design itself")
            }
            Some(source) => return Some(source),
            None => format!("no variant is named `{from}`{}", did_you_mean(from, &names)),
        };
        let help = format!("variants that search: {}", listed(&names));
        self.found.push((index, variant.stack.problem(&at, Mark::Value, message, Some(help))));
        None
    }

    /// The trials of one variant. `source` is the variant whose design it takes, with the swept
    /// keys that concern that one: they are part of this variant's points too.
    fn variant(&mut self, index: usize, own: &[bool], source: Option<(usize, &[bool])>) {
        let variant = &self.variants[index];
        let of_source = |key: usize| source.is_some_and(|(_, concerned)| concerned[key]);
        let counts: Vec<usize> = (0..own.len())
            .map(|key| if own[key] || of_source(key) { self.sweep[key].values.len() } else { 0 })
            .collect();
        if counts.iter().fold(1usize, |total, count| total.saturating_mul((*count).max(1))) > MOST_TRIALS {
            self.found.push((index, self.too_many()));
            return;
        }
        // By their settings: which point was the first to have them.
        let mut seen: HashMap<blake3::Hash, Vec<Option<usize>>> = HashMap::new();
        // No trial has these, and a long sweep would be copied for each of its points.
        let mut bare = variant.stack.clone();
        for section in ["sweep", "variant", "compare"] {
            bare.remove(&path([section]));
        }
        for choice in points(&counts) {
            let chosen = |key: usize| Some((key, &self.sweep[key].values[choice[key]?]));
            let mut stack = bare.clone();
            let of_variant = (0..own.len()).filter(|key| own[*key]).filter_map(chosen);
            stack.push(of_variant.map(|(_, (_, overlay))| overlay.clone()).collect());
            let resolved = resolve(&stack);
            let keys = (0..choice.len()).filter_map(chosen);
            let values = keys.map(|(key, (value, _))| {
                let Swept { key, path, .. } = &self.sweep[key];
                (key.clone(), typed(value, lookup(&resolved.settings, path)))
            });
            let point = Point::of(values.collect());
            let settings = blake3::hash(Value::from(resolved.settings.clone()).to_string().as_bytes());
            let first = seen.entry(settings).or_insert_with(|| choice.clone());
            let differs = |key: &usize| own[*key] && choice[*key] != first[*key];
            if let Some(key) = (0..own.len()).find(differs).filter(|_| resolved.problems.is_empty()) {
                let (one, other) = (choice[key].unwrap_or_default(), first[key].unwrap_or_default());
                self.found.push((index, self.sweep[key].twice(self.base, one, other)));
                return;
            }
            self.point(index, stack, resolved, point, choice, source);
        }
    }

    /// The trials of one point of the sweep: one for each seed.
    fn point(
        &mut self,
        variant: usize,
        stack: Stack,
        mut resolved: Resolved,
        point: Point,
        choice: Vec<Option<usize>>,
        source: Option<(usize, &[bool])>,
    ) {
        let mut problems: Vec<Problem> =
            resolved.problems.iter().cloned().chain(self.design_problem(&stack, &resolved)).collect();
        if problems.is_empty() {
            problems.extend(work_problems(&stack, &resolved));
            problems.extend(self.device.into_iter().flat_map(|device| device::problems(&stack, &resolved, device)));
        }
        let failed = !problems.is_empty();
        self.found.extend(problems.into_iter().map(|problem| (variant, problem)));
        let experiment: Option<Experiment> = resolved.section("experiment");
        resolved.forget_seeds();
        for seed in experiment.filter(|_| !failed).map(|experiment| experiment.seeds).unwrap_or_default() {
            if self.trials.len() > MOST_TRIALS {
                return;
            }
            let depends_on = source.and_then(|(source, concerned)| {
                let of_source = (0..choice.len()).map(|key| choice[key].filter(|_| concerned[key])).collect();
                let found = self.places.get(&(source, seed, of_source)).copied();
                if found.is_none() {
                    self.no_source(variant, source, seed, &stack);
                }
                found
            });
            if let Some(trial) = self.trial(variant, &stack, &resolved, &point, seed, depends_on) {
                self.places.insert((variant, seed, choice.clone()), self.trials.len());
                self.trials.push(trial);
            }
        }
    }

    fn trial(
        &mut self,
        index: usize,
        stack: &Stack,
        resolved: &Resolved,
        point: &Point,
        seed: u64,
        depends_on: Option<usize>,
    ) -> Option<Trial> {
        // Plugins cannot be cloned, so that each trial reads its own.
        let mut manifest = resolved.manifest()?;
        manifest.experiment.seeds = vec![seed];
        // It is said of the settings of one file as they stand there: not of a file that extends
        // it, and, in the manifest that the trial keeps and that runs without a profile, not of
        // settings that were changed.
        let at = path(["experiment", "reproduces"]);
        let extended = stack.origin(&at).is_some_and(|overlay| matches!(overlay.layer, ConfigLayer::Extends(_)));
        let reproduces = manifest.experiment.reproduces.take().filter(|_| !extended);
        if let Some(design) = &mut manifest.design
            && let Some(file) = &mut design.file
        {
            *file = stack.design_file(file);
        }
        let variant = self.variants[index].name.clone();
        let mut settings = match serde_json::to_value(&manifest) {
            Ok(settings) => settings,
            Err(error) => {
                let message = format!("a plugin's settings cannot be written: {error}");
                self.found.push((index, stack.problem(&[], Mark::Value, message, None)));
                return None;
            }
        };
        let Marks { profile, overrides } = self.written.marks(&variant, point, &settings);
        if let Some(name) = reproduces.clone().filter(|_| profile.is_none() && overrides.is_empty()) {
            settings["experiment"]["reproduces"] = name.clone().into();
            manifest.experiment.reproduces = Some(name);
        }
        let point = point.clone();
        Some(Trial { variant, point, seed, profile, reproduces, overrides, manifest, settings, depends_on })
    }

    /// Reports that a trial's source has no trial of the same seed, unless the source itself has a
    /// problem.
    fn no_source(&mut self, index: usize, source: usize, seed: u64, stack: &Stack) {
        if self.found.iter().any(|(variant, _)| *variant == source) {
            return;
        }
        let (taker, giver) = (&self.variants[index].name, &self.variants[source].name);
        let message = format!("variant `{taker}` has seed {seed}, and `{giver}`, whose design it takes, does not");
        let at = path(["experiment", "seeds"]);
        let help = "give both the same seeds".to_owned();
        self.found.push((index, stack.problem(&at, Mark::Value, message, Some(help))));
    }

    /// What is wrong with the design file that a manifest names.
    fn design_problem(&self, stack: &Stack, resolved: &Resolved) -> Option<Problem> {
        let source: DesignSource = resolved.section("design").filter(|source: &DesignSource| source.from.is_none())?;
        let at = path(["design", "file"]);
        let file = stack.design_file(source.file.as_ref()?);
        let text = self.request.read(&file).and_then(text).map_err(Error::file("read", &file));
        match text.and_then(|text| Design::parse(&text, &file)) {
            Err(error) => Some(stack.problem(&at, Mark::Value, error.to_string(), error.hint())),
            Ok(design) => {
                let space: Box<dyn SearchSpace> = resolved.section(Kind::Space.section())?;
                let space = space.typetag_name();
                (design.space != space).then(|| {
                    let message =
                        format!("the design is of space `{}`, and the manifest has [space.{space}]", design.space);
                    stack.problem(&at, Mark::Value, message, None)
                })
            }
        }
    }

    fn too_many(&self) -> Problem {
        let message = format!("the manifest asks for more than {MOST_TRIALS} trials");
        self.base.problem(&path(["sweep"]), Mark::Key, message, None)
    }
}

/// Indices of variants, each after the one whose design it takes. A source takes no design itself.
fn running_order(sources: &[Option<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        for next in source.iter().copied().chain([index]) {
            if !order.contains(&next) {
                order.push(next);
            }
        }
    }
    order
}

/// The cross product: for each key an index below its count, the last key fastest. A count of 0
/// leaves the key out.
fn points(counts: &[usize]) -> impl Iterator<Item = Vec<Option<usize>>> {
    let total = counts.iter().map(|count| (*count).max(1)).product();
    (0..total).map(move |mut number| {
        let mut choice = vec![None; counts.len()];
        for (key, count) in counts.iter().enumerate().rev().filter(|(_, count)| **count > 0) {
            choice[key] = Some(number % count);
            number /= count;
        }
        choice
    })
}

/// What settings that can be read cannot do: a network that does not fit the data, or a decision
/// that nothing makes.
fn work_problems(stack: &Stack, resolved: &Resolved) -> Vec<Problem> {
    let Some(manifest) = resolved.manifest() else { return Vec::new() };
    let info = DataInfo::of_form(manifest.dataset.form());
    let misfits = manifest.space.check(&info);
    if misfits.is_empty() {
        return decision_problem(stack, &manifest, &info).into_iter().collect();
    }
    let table = path([Kind::Space.section(), manifest.space.typetag_name()]);
    let problem = |misfit: Misfit| {
        let below = misfit.key.split('.').filter(|segment| !segment.is_empty()).map(str::to_owned);
        let mark = if misfit.key.is_empty() { Mark::Key } else { Mark::Value };
        let at: Vec<String> = table.iter().cloned().chain(below).collect();
        let key = at.join(".");
        stack.problem(&at, mark, format!("`{key}`: {}", misfit.message), misfit.help)
    };
    misfits.into_iter().map(problem).collect()
}

/// The setting that would leave a decision to chance, or open. What cannot be built is told where
/// it is built.
fn decision_problem(stack: &Stack, manifest: &Manifest, info: &DataInfo) -> Option<Problem> {
    if manifest.design.is_some() {
        return None;
    }
    let (compressors, timesteps) = (manifest.compressors(), manifest.timesteps.as_ref());
    // Without [search] nobody asks how it trains.
    let training = (manifest.search.as_ref().unwrap_or(&manifest.retrain), &manifest.retrain);
    let open = threads::alone(|| {
        guarded(|| OpenDecisions::outline(manifest.space.as_ref(), &compressors, timesteps, info, training))
    })
    .ok()?;
    let Some(optimizer) = &manifest.optimizer else {
        let role = *open.roles.first()?;
        let section = if role == Role::TimestepLogit { Kind::Timesteps } else { Kind::Compressor };
        let message = format!("nothing decides {}: the manifest has no [optimizer.NAME]", decision(role));
        let help = "add [optimizer.NAME] and [search], or leave one candidate".to_owned();
        return Some(stack.problem(&path([section.section()]), Mark::Key, message, Some(help)));
    };
    let refused = open.check(optimizer.as_ref()).err()?;
    Some(stack.problem(&split_path(&refused.key).ok()?, Mark::Value, refused.message, Some(refused.help)))
}
