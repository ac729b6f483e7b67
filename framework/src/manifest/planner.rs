//! From variants and the sweep to trials, in the order in which trials can run.

use std::collections::HashMap;

use serde_json::Value;

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
use super::variants::{DESIGN_FROM, TEACHER_FROM, Variant};
use crate::Error;
use crate::data::DataInfo;
use crate::ground::file::text;
use crate::ground::{ConfigLayer, Problem, Role, guarded, threads};
use crate::network::{Design, Misfit, SearchSpace};
use crate::plugin::Kind;
use crate::record::{Point, files, result};
use crate::train::{OpenDecisions, Teaching, Training, decision, mismatch};

/// More trials than this are a mistake in a sweep.
const MOST_TRIALS: usize = 100_000;

/// The variants that a variant's trials wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sources {
    /// The one whose design it takes.
    design: Option<usize>,
    /// The one whose network teaches its own.
    teacher: Option<usize>,
}

impl Sources {
    fn all(self) -> impl Iterator<Item = usize> {
        self.design.into_iter().chain(self.teacher)
    }
}

/// What the settings of a trial ask for and its surroundings, such as the device, do not have.
pub(super) type Surroundings<'a> = dyn Fn(&Stack, &Resolved) -> Vec<Problem> + 'a;

pub(super) struct Planner<'a> {
    base: &'a Stack,
    request: &'a Request,
    written: AsWritten,
    variants: &'a [Variant],
    sweep: &'a [Swept],
    surroundings: &'a Surroundings<'a>,
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
        surroundings: &'a Surroundings<'a>,
    ) -> Planner<'a> {
        let written = AsWritten::of(request, base);
        let (trials, places, found) = Default::default();
        Planner { base, request, written, variants, sweep, surroundings, trials, places, found }
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
        let mut sources: Vec<Sources> = (0..self.variants.len())
            .map(|index| Sources { design: self.source(index), teacher: self.teacher(index) })
            .collect();
        self.break_circles(&mut sources);
        // With the swept keys that concern a variant's sources: they are part of its own points
        // too.
        let mut concerned = own.clone();
        for variant in running_order(&sources) {
            for source in sources[variant].all() {
                let of_source = concerned[source].clone();
                concerned[variant].iter_mut().zip(of_source).for_each(|(own, of_source)| *own |= of_source);
            }
            self.variant(variant, &own[variant], sources[variant], &concerned);
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
        let at = path(DESIGN_FROM);
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

    /// The variant whose network teaches a variant's own.
    fn teacher(&mut self, index: usize) -> Option<usize> {
        let variants = self.variants;
        let variant = &variants[index];
        let from = variant.teacher.as_ref()?;
        let others = variants.iter().filter(|other| other.name != variant.name);
        let names: Vec<String> = others.map(|other| other.name.clone()).collect();
        let message = match variants.iter().position(|other| other.name == *from) {
            Some(teacher) if teacher == index => format!("variant `{from}` teaches itself"),
            Some(teacher) => return Some(teacher),
            None => format!("no variant is named `{from}`{}", did_you_mean(from, &names)),
        };
        let without = "one that nobody teaches says `remove = [\"retrain.teacher\"]`";
        let help = match names.is_empty() {
            true => {
                "a teacher is another [[variant]] of this manifest, or a finished trial: `trial = \"FOLDER\"`".into()
            }
            false => format!("variants that can teach it: {}; {without}", listed(&names)),
        };
        self.found.push((index, variant.stack.problem(&path(TEACHER_FROM), Mark::Value, message, Some(help))));
        None
    }

    /// Reports variants that wait for each other, and takes the teacher from one of each circle. No
    /// circle is without a teacher: a variant whose design is taken takes none.
    fn break_circles(&mut self, sources: &mut [Sources]) {
        for index in 0..sources.len() {
            let Some(teacher) = sources[index].teacher else { continue };
            let Some(circle) = way(sources, teacher, index) else { continue };
            sources[index].teacher = None;
            let name = |variant: &usize| format!("`{}`", self.variants[*variant].name);
            let waits = circle.iter().chain([&teacher]).map(name).collect::<Vec<_>>().join(" waits for ");
            let message = format!("variants wait for each other: {waits}");
            let help = "a teacher is trained before its student: no way may lead back".to_owned();
            let at = path(TEACHER_FROM);
            let problem = self.variants[index].stack.problem(&at, Mark::Value, message, Some(help));
            self.found.push((index, problem));
        }
    }

    /// The trials of one variant. `concerned` has for each variant the swept keys that concern it
    /// or one that it waits for.
    fn variant(&mut self, index: usize, own: &[bool], sources: Sources, concerned: &[Vec<bool>]) {
        let variant = &self.variants[index];
        let counts: Vec<usize> =
            (0..own.len()).map(|key| if concerned[index][key] { self.sweep[key].values.len() } else { 0 }).collect();
        if counts.iter().fold(1usize, |total, count| total.saturating_mul((*count).max(1))) > MOST_TRIALS {
            self.found.push((index, self.too_many()));
            return;
        }
        // By their settings: which point was the first to have them.
        let mut seen: HashMap<blake3::Hash, Vec<Option<usize>>> = HashMap::new();
        // No trial has these, and a long sweep would be copied for each of its points.
        let mut bare = variant.stack.clone();
        for section in ["sweep", "axis", "variant", "compare"] {
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
            self.point(index, stack, resolved, point, choice, (sources, concerned));
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
        (sources, concerned): (Sources, &[Vec<bool>]),
    ) {
        let mut problems: Vec<Problem> =
            resolved.problems.iter().cloned().chain(self.design_problem(&stack, &resolved)).collect();
        problems.extend(self.teacher_problem(variant, &stack, &resolved));
        if problems.is_empty() {
            problems.extend(work_problems(&stack, &resolved));
            problems.extend((self.surroundings)(&stack, &resolved));
        }
        let failed = !problems.is_empty();
        self.found.extend(problems.into_iter().map(|problem| (variant, problem)));
        let experiment: Option<Experiment> = resolved.section("experiment");
        resolved.forget_seeds();
        for seed in experiment.filter(|_| !failed).map(|experiment| experiment.seeds).unwrap_or_default() {
            if self.trials.len() > MOST_TRIALS {
                return;
            }
            let mut place = |source: usize, whose: &str| {
                let of_source = (0..choice.len()).map(|key| choice[key].filter(|_| concerned[source][key])).collect();
                let found = self.places.get(&(source, seed, of_source)).copied();
                if found.is_none() {
                    self.no_source(variant, (source, whose), seed, &stack);
                }
                found
            };
            let depends_on = sources.design.and_then(|source| place(source, "whose design it takes"));
            let taught_by = sources.teacher.and_then(|source| place(source, "which teaches it"));
            if let Some(teacher) = taught_by {
                self.compare_forms(variant, &stack, &resolved, teacher);
            }
            if let Some(trial) = self.trial(variant, &stack, &resolved, &point, seed) {
                let trial = Trial { depends_on, taught_by, ..trial };
                self.places.insert((variant, seed, choice.clone()), self.trials.len());
                self.trials.push(trial);
            }
        }
    }

    fn trial(&mut self, index: usize, stack: &Stack, resolved: &Resolved, point: &Point, seed: u64) -> Option<Trial> {
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
        if let Some(Teaching { trial: Some(folder), .. }) = &mut manifest.retrain.teacher {
            *folder = stack.teacher_trial(folder);
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
        let (depends_on, taught_by) = (None, None);
        Some(Trial { variant, point, seed, profile, reproduces, overrides, manifest, settings, depends_on, taught_by })
    }

    /// Reports that a trial's source has no trial of the same seed, unless the source itself has a
    /// problem.
    fn no_source(&mut self, index: usize, (source, whose): (usize, &str), seed: u64, stack: &Stack) {
        if self.found.iter().any(|(variant, _)| *variant == source) {
            return;
        }
        let (taker, giver) = (&self.variants[index].name, &self.variants[source].name);
        let message = format!("variant `{taker}` has seed {seed}, and `{giver}`, {whose}, does not");
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

    /// What is wrong with the finished trial that a manifest names as its teacher, and with a
    /// teacher that a sweep changes.
    fn teacher_problem(&self, index: usize, stack: &Stack, resolved: &Resolved) -> Option<Problem> {
        let teaching = resolved.section::<Training>("retrain")?.teacher?;
        if teaching.from != self.variants[index].teacher {
            let message = "a sweep cannot change `retrain.teacher.from`".to_owned();
            return Some(stack.problem(&path(TEACHER_FROM), Mark::Value, message, None));
        }
        let folder = stack.teacher_trial(teaching.trial.as_ref().filter(|_| teaching.from.is_none())?);
        let message = match (result(&folder), Design::read(&folder.join(files::DESIGN))) {
            (None, _) => format!("`{}` is not the folder of a finished trial", folder.display()),
            (Some(_), Err(error)) => error.to_string(),
            (Some(_), Ok(design)) => {
                let manifest = resolved.manifest()?;
                let why = Teaching::misfit(&design, &DataInfo::of_form(manifest.dataset.form()))?;
                format!("`{}` cannot teach this trial: {why}", folder.display())
            }
        };
        let help =
            "a teacher is a finished trial on data of the same form: RUNS/EXPERIMENT/VARIANT-sSEED-HASH".to_owned();
        Some(stack.problem(&path(["retrain", "teacher", "trial"]), Mark::Value, message, Some(help)))
    }

    /// Reports a teacher whose input or classes are others than the student's.
    fn compare_forms(&mut self, variant: usize, stack: &Stack, resolved: &Resolved, teacher: usize) {
        let Some(student) = resolved.manifest() else { return };
        let teacher = &self.trials[teacher];
        if let Some(why) = mismatch(teacher.manifest.dataset.form(), student.dataset.form()) {
            let message = format!("variant `{}` cannot teach this one: {why}", teacher.variant);
            let help = "a teacher and its student have data of the same form".to_owned();
            self.found.push((variant, stack.problem(&path(TEACHER_FROM), Mark::Value, message, Some(help))));
        }
    }

    fn too_many(&self) -> Problem {
        let message = format!("the manifest asks for more than {MOST_TRIALS} trials");
        self.base.problem(&path(["sweep"]), Mark::Key, message, None)
    }
}

/// Indices of variants, each after those that it waits for. None waits for itself.
fn running_order(sources: &[Sources]) -> Vec<usize> {
    fn add(index: usize, sources: &[Sources], order: &mut Vec<usize>) {
        if !order.contains(&index) {
            sources[index].all().for_each(|source| add(source, sources, order));
            order.push(index);
        }
    }
    let mut order = Vec::with_capacity(sources.len());
    (0..sources.len()).for_each(|index| add(index, sources, &mut order));
    order
}

/// The variants on the way from one to another, each of which waits for the next: both ends are on
/// it.
fn way(sources: &[Sources], from: usize, to: usize) -> Option<Vec<usize>> {
    fn walk(sources: &[Sources], to: usize, way: &mut Vec<usize>) -> bool {
        let last = *way.last().expect("a way has a beginning");
        last == to
            || sources[last].all().any(|next| {
                if way.contains(&next) {
                    return false;
                }
                way.push(next);
                walk(sources, to, way) || way.pop().is_none()
            })
    }
    let mut way = vec![from];
    walk(sources, to, &mut way).then_some(way)
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
        return decision_problem(stack, &manifest, &info).into_iter().chain(unread_teacher(stack, &manifest)).collect();
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

/// A teacher of a network that nothing retrains.
fn unread_teacher(stack: &Stack, manifest: &Manifest) -> Option<Problem> {
    let optimizer = manifest.optimizer.as_ref().filter(|optimizer| !optimizer.retrains())?;
    manifest.retrain.teacher.as_ref()?;
    let name = optimizer.typetag_name();
    let message = format!("nothing reads [retrain.teacher]: `{name}` trains the final weights in its own stages");
    let help =
        "take it out; or retrain the design in another variant, `[design] from`, with the teacher there".to_owned();
    Some(stack.problem(&path(["retrain", "teacher"]), Mark::Key, message, Some(help)))
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
