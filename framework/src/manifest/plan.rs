//! The plan: every trial of a manifest, in the order in which trials can run.

use std::path::{Path, PathBuf};

use super::layers::{Overlay, Request, Stack, stack};
use super::names::{did_you_mean, listed};
use super::problem::{Layer, Problem};
use super::resolve::{Sections, resolve};
use super::settings::Manifest;
use super::source::Mark;
use super::text;
use super::variants::{Swept, Variant, sweep, variants};
use crate::design::Design;
use crate::{Error, Result};

/// More trials than this are a mistake in a sweep.
const MOST_TRIALS: usize = 100_000;

/// What a manifest asks for.
#[derive(Debug)]
pub struct Plan {
    /// Name of the experiment.
    pub name: String,
    /// One sentence for the report.
    pub description: String,
    /// The profile that was chosen.
    pub profile: Option<String>,
    /// The manifest.
    pub source: PathBuf,
    /// The trials. A trial comes after the one whose design it takes; apart from that they are in the order of the variants,
    /// then of the points of the sweep, then of the seeds.
    pub trials: Vec<Trial>,
}

/// One search and retraining, or one retraining of a design.
#[derive(Debug)]
pub struct Trial {
    /// Name of the variant; that of the experiment where the manifest has no variants.
    pub variant: String,
    /// The swept keys that concern the trial, each with its value as TOML.
    pub point: Vec<(String, String)>,
    /// The seed.
    pub seed: u64,
    /// The settings, ready to use; `experiment.seeds` holds the seed alone, and the path of a design's file is absolute.
    pub manifest: Manifest,
    /// The same settings as JSON, with every default.
    pub settings: serde_json::Value,
    /// The trial whose design this one takes, as an index into [`Plan::trials`]: same seed, same point of the sweep.
    pub depends_on: Option<usize>,
}

impl Trial {
    /// What the trial is called on a screen: `large seed 0 (search.epochs = 3)`.
    pub fn title(&self) -> String {
        let mut title = format!("{} seed {}", self.variant, self.seed);
        if !self.point.is_empty() {
            let point: Vec<String> = self.point.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            title.push_str(&format!(" ({})", point.join(", ")));
        }
        title
    }

    /// The part of its folder's name that says what it is; safe for a file system.
    pub fn folder_name(&self) -> &str {
        &self.variant
    }

    /// The resolved manifest as TOML, which loads to the same settings. With a `design_file`, `[design]` names that file
    /// instead of the variant or the file that the design came from.
    pub fn manifest_toml(&self, design_file: Option<&Path>) -> String {
        let mut settings = self.settings.clone();
        if let (Some(file), Some(design)) = (design_file, settings.get_mut("design").and_then(|it| it.as_object_mut()))
        {
            design.remove("from");
            design.insert("file".into(), absolute(file).to_string_lossy().into());
        }
        text::document(&settings)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads a manifest with all its layers and lays out its trials; the error lists every problem that was found.
pub fn load(request: &Request) -> Result<Plan> {
    let mut problems = Vec::new();
    let base = stack(request, &mut problems).map_err(Error::Manifest)?;
    let merged = base.merged();
    let variants = variants(&base, &merged, &mut problems);
    let sweep = sweep(&base, &merged, &mut problems);
    let mut planner =
        Planner { base: &base, variants: &variants, sweep: &sweep, drafts: Vec::new(), found: Vec::new() };
    planner.plan(&mut problems);
    let Planner { drafts, found, .. } = planner;
    gather(found, &variants, &mut problems);
    let (name, description) = drafts.first().map_or_else(Default::default, |draft| {
        let experiment = &draft.trial.manifest.experiment;
        (experiment.name.clone(), experiment.description.clone())
    });
    if !problems.is_empty() {
        return Err(Error::Manifest(problems));
    }
    Ok(Plan {
        name,
        description,
        profile: request.profile.clone(),
        source: request.manifest.clone(),
        trials: drafts.into_iter().map(|draft| draft.trial).collect(),
    })
}

/// Adds the problems of the variants, each once. One that does not concern all variants names those that it concerns.
fn gather(found: Vec<(usize, Problem)>, variants: &[Variant], problems: &mut Vec<Problem>) {
    let mut distinct: Vec<(Problem, Vec<usize>)> = Vec::new();
    for (variant, problem) in found {
        match distinct.iter_mut().find(|(other, _)| *other == problem) {
            Some((_, concerned)) if concerned.contains(&variant) => {}
            Some((_, concerned)) => concerned.push(variant),
            None => distinct.push((problem, vec![variant])),
        }
    }
    for (mut problem, concerned) in distinct {
        if concerned.len() < variants.len() && !matches!(problem.layer, Layer::Variant(_)) {
            let names: Vec<&str> = concerned.iter().map(|index| variants[*index].name.as_str()).collect();
            problem.message = format!("in variant {}: {}", listed(&names), problem.message);
        }
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

/// A trial with the indices that it was made from.
struct Draft {
    trial: Trial,
    variant: usize,
    /// Index of the value of each swept key; `None` where the key does not concern the trial.
    choice: Vec<Option<usize>>,
}

struct Planner<'a> {
    base: &'a Stack,
    variants: &'a [Variant],
    sweep: &'a [Swept],
    drafts: Vec<Draft>,
    /// Problems with the variant that they were found in.
    found: Vec<(usize, Problem)>,
}

impl Planner<'_> {
    fn plan(&mut self, problems: &mut Vec<Problem>) {
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
        problems.extend(self.lost_overrides());
        let sources: Vec<Option<usize>> = (0..self.variants.len()).map(|index| self.source(index)).collect();
        for variant in running_order(&sources) {
            let of_source = sources[variant].map(|source| own[source].as_slice());
            self.variant(variant, &own[variant], sources[variant].zip(of_source));
            if self.drafts.len() > MOST_TRIALS {
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
        let at = ["design".to_owned(), "from".to_owned()];
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

    /// The trials of one variant. `source` is the variant whose design it takes, with the swept keys that concern that one:
    /// they are part of this variant's points too.
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
        for choice in points(&counts) {
            let mut stack = variant.stack.clone();
            let chosen = |key: usize| choice[key].map(|value| &self.sweep[key].values[value]);
            let layer: Vec<Overlay> = (0..own.len())
                .filter(|key| own[*key])
                .filter_map(|key| chosen(key).map(|(_, overlay)| overlay.clone()))
                .collect();
            stack.push(layer);
            let point: Vec<(String, String)> = (0..own.len())
                .filter_map(|key| chosen(key).map(|(text, _)| (self.sweep[key].key.clone(), text.clone())))
                .collect();
            let (sections, mut problems) = resolve(&stack);
            problems.extend(design_problems(&stack, &sections));
            let failed = !problems.is_empty();
            self.found.extend(problems.into_iter().map(|problem| (index, problem)));
            let seeds = sections.experiment.as_ref().map(|experiment| experiment.seeds.clone()).unwrap_or_default();
            if failed {
                continue;
            }
            for seed in seeds {
                if self.drafts.len() > MOST_TRIALS {
                    return;
                }
                let depends_on = match source {
                    Some((source, concerned)) => {
                        let found = self.drafts.iter().position(|draft| {
                            let same = |key: usize| !concerned[key] || draft.choice[key] == choice[key];
                            draft.variant == source && draft.trial.seed == seed && (0..choice.len()).all(same)
                        });
                        if found.is_none() {
                            self.no_source(index, source, seed, &stack);
                        }
                        found
                    }
                    None => None,
                };
                let Some(trial) = self.trial(index, &stack, &point, seed, depends_on) else { continue };
                self.drafts.push(Draft { trial, variant: index, choice: choice.clone() });
            }
        }
    }

    fn trial(
        &mut self,
        index: usize,
        stack: &Stack,
        point: &[(String, String)],
        seed: u64,
        depends_on: Option<usize>,
    ) -> Option<Trial> {
        // Plugins cannot be cloned, so that each trial reads its own.
        let mut manifest = resolve(stack).0.into_manifest()?;
        manifest.experiment.seeds = vec![seed];
        if let Some(design) = &mut manifest.design
            && let Some(file) = &mut design.file
        {
            *file = design_path(stack, file);
        }
        let variant = self.variants[index].name.clone();
        match serde_json::to_value(&manifest) {
            Ok(settings) => Some(Trial { variant, point: point.to_vec(), seed, manifest, settings, depends_on }),
            Err(error) => {
                let message = format!("a plugin's settings cannot be written: {error}");
                self.found.push((index, stack.problem(&[], Mark::Value, message, None)));
                None
            }
        }
    }

    /// Reports that a trial's source has no trial of the same seed, unless the source itself has a problem.
    fn no_source(&mut self, index: usize, source: usize, seed: u64, stack: &Stack) {
        if self.found.iter().any(|(variant, _)| *variant == source) {
            return;
        }
        let (taker, giver) = (&self.variants[index].name, &self.variants[source].name);
        let message = format!("variant `{taker}` has seed {seed}, and `{giver}`, whose design it takes, does not");
        let at = ["experiment".to_owned(), "seeds".to_owned()];
        let help = "give both the same seeds".to_owned();
        self.found.push((index, stack.problem(&at, Mark::Value, message, Some(help))));
    }

    fn too_many(&self) -> Problem {
        let message = format!("the manifest asks for more than {MOST_TRIALS} trials");
        self.base.problem(&["sweep".to_owned()], Mark::Key, message, None)
    }

    /// Settings of the command line and the environment that a variant or the sweep would overrule without a word: those
    /// that a variant or the sweep sets as well, and those that no variant keeps.
    fn lost_overrides(&self) -> Vec<Problem> {
        let by_user = |overlay: &&Overlay| matches!(overlay.layer, Layer::Environment(_) | Layer::Set(_));
        let above: Vec<&Overlay> = self
            .variants
            .iter()
            .flat_map(|variant| &variant.sets)
            .chain(self.sweep.iter().flat_map(|swept| &swept.values).map(|(_, overlay)| overlay))
            .collect();
        let mut problems = Vec::new();
        for overlay in self.base.overlays().iter().filter(by_user) {
            for leaf in overlay.leaves() {
                if matches!(leaf[0].as_str(), "variant" | "sweep") {
                    continue;
                }
                let overlaps = |other: &Vec<String>| other.starts_with(&leaf) || leaf.starts_with(other);
                let winner = above.iter().find(|above| above.leaves().iter().any(overlaps));
                let message = match winner {
                    Some(winner) => format!("`{}` is set by the {} as well, which wins", leaf.join("."), winner.layer),
                    None => {
                        let kept = |variant: &Variant| {
                            let layers = variant.stack.overlays();
                            layers.iter().any(|kept| kept.layer == overlay.layer && kept.sets(&leaf))
                        };
                        if self.variants.is_empty() || self.variants.iter().any(kept) {
                            continue;
                        }
                        format!("`{}` has no effect: every variant replaces or removes it", leaf.join("."))
                    }
                };
                let help = "edit the manifest, or choose other variants or sweep points with \
                            `--set 'variant=[...]'` or `--set 'sweep.KEY=[...]'`";
                let problem = overlay.problem(&leaf, Mark::Value, message, Some(help.into()));
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        problems
    }
}

impl Variant {
    fn takes_design(&self) -> bool {
        self.stack.origin(&["design".to_owned()]).is_some()
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

/// The cross product: for each key an index below its count, the last key fastest. A count of 0 leaves the key out.
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

/// The path of a design's file: relative to the file that names it.
fn design_path(stack: &Stack, file: &Path) -> PathBuf {
    let origin = stack.origin(&["design".to_owned(), "file".to_owned()]);
    let main = || stack.overlays().iter().find(|overlay| overlay.layer == Layer::File);
    let folder = origin.and_then(Overlay::folder).or_else(|| main().and_then(Overlay::folder));
    absolute(&folder.unwrap_or(Path::new("")).join(file))
}

/// What is wrong with the design file that a manifest names.
fn design_problems(stack: &Stack, sections: &Sections) -> Option<Problem> {
    let source = sections.design.as_ref()?;
    let path = design_path(stack, source.file.as_ref()?);
    let at = ["design".to_owned(), "file".to_owned()];
    match Design::read(&path) {
        Err(error) => Some(stack.problem(&at, Mark::Value, error.to_string(), error.hint())),
        Ok(design) => {
            let space = sections.space.as_ref()?.typetag_name();
            (design.space != space).then(|| {
                let message =
                    format!("the design is of space `{}`, and the manifest has [space.{space}]", design.space);
                stack.problem(&at, Mark::Value, message, None)
            })
        }
    }
}
