//! The plan: every trial of a manifest, in the order in which trials can run.

use std::path::{Path, PathBuf};

use super::layers::{Overlay, Request, Stack, stack};
use super::names::{did_you_mean, listed};
use super::problem::{Layer, Problem};
use super::resolve::{Sections, resolve, toml_text};
use super::settings::Manifest;
use super::source::Mark;
use super::text;
use super::variants::{Swept, Variant, sweep, variants};
use crate::design::Design;
use crate::plugin::Kind;
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
    /// What the manifest says it reproduces.
    pub reproduces: Option<String>,
    /// Settings that the environment or the command line changed, `key=value`. Names, seeds, where data lie (`root`) and when
    /// checkpoints are written change no number and are left out.
    pub overrides: Vec<String>,
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
        format!("{} seed {}{}", self.variant, self.seed, self.point_text())
    }

    /// What all seeds of it are called: `large (search.epochs = 3)`.
    pub fn row(&self) -> String {
        format!("{}{}", self.variant, self.point_text())
    }

    /// ` (search.epochs = 3)`; empty outside of a sweep.
    fn point_text(&self) -> String {
        let point: Vec<String> = self.point.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        if point.is_empty() { String::new() } else { format!(" ({})", point.join(", ")) }
    }

    /// The part of its folder's name that says what it is; safe for a file system.
    pub fn folder_name(&self) -> &str {
        &self.variant
    }

    /// The resolved manifest as TOML, which loads to the same settings. With a `design_file`, `[design]` names that file
    /// instead of the variant or the file that the design came from; a relative one is relative to where the text is kept.
    pub fn manifest_toml(&self, design_file: Option<&Path>) -> String {
        let mut settings = self.settings.clone();
        if let (Some(file), Some(design)) = (design_file, settings.get_mut("design").and_then(|it| it.as_object_mut()))
        {
            design.remove("from");
            design.insert("file".into(), file.to_string_lossy().into());
        }
        // How it was launched is not part of it.
        if let Some(sections) = settings.as_object_mut() {
            sections.remove(Kind::Launcher.section());
        }
        // Under its own name the trial has the same folder again. Names of variants need no escaping.
        format!("{}\n[[variant]]\nname = \"{}\"\n", text::document(&settings), self.variant)
    }
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads a manifest with all its layers and lays out its trials; the error lists every problem that was found.
pub fn load(request: &Request) -> Result<Plan> {
    let mut problems = Vec::new();
    let base = stack(request, &mut problems).map_err(Error::Manifest)?;
    let merged = base.merged();
    let variants = variants(&base, &merged, &mut problems);
    let sweep = sweep(&base, &merged, &mut problems);
    let mut planner = Planner {
        base: &base,
        profile: request.profile.as_deref(),
        variants: &variants,
        sweep: &sweep,
        drafts: Vec::new(),
        found: Vec::new(),
    };
    planner.plan(&mut problems);
    let Planner { drafts, found, .. } = planner;
    gather(found, &variants, &mut problems);
    let (name, description) = drafts.first().map_or_else(Default::default, |draft| {
        let experiment = &draft.trial.manifest.experiment;
        (experiment.name.clone(), experiment.description.clone())
    });
    if !problems.is_empty() {
        // In the order of the files; what has no place comes last.
        problems.sort_by_key(|problem| {
            problem.location.as_ref().map_or((true, PathBuf::new(), 0), |at| (false, at.path.clone(), at.offset))
        });
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

/// Adds the problems of the variants, each once. One that depends on the variant names those that it concerns.
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
        if depends_on_variant(&problem, &concerned, variants) {
            let names: Vec<&str> = concerned.iter().map(|index| variants[*index].name.as_str()).collect();
            problem.message = format!("in variant {}: {}", listed(&names), problem.message);
        }
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

/// Whether a problem is not there in every variant that has the same setting.
fn depends_on_variant(problem: &Problem, concerned: &[usize], variants: &[Variant]) -> bool {
    if matches!(problem.layer, Layer::Variant(_) | Layer::Sweep) {
        return false;
    }
    let key: Vec<String> = problem.key.iter().flat_map(|key| key.split('.')).map(str::to_owned).collect();
    let setter = |variant: &Variant| variant.stack.origin(&key).map(|overlay| overlay.layer.clone());
    let is_set = concerned.iter().any(|index| setter(&variants[*index]).is_some());
    let alike = |variant: &&Variant| !is_set || setter(variant).as_ref() == Some(&problem.layer);
    concerned.len() < variants.iter().filter(alike).count()
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
    profile: Option<&'a str>,
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
        let overrides = self.overrides();
        // It is said of the settings of one file as they stand there: not of a file that extends it, and, in the manifest that
        // the trial keeps and that runs without a profile, not of settings that were changed.
        let at = ["experiment".to_owned(), "reproduces".to_owned()];
        let extended = stack.origin(&at).is_some_and(|overlay| matches!(overlay.layer, Layer::Extends(_)));
        let reproduces = manifest.experiment.reproduces.take().filter(|_| !extended);
        if self.profile.is_none() && overrides.is_empty() {
            manifest.experiment.reproduces.clone_from(&reproduces);
        }
        if let Some(design) = &mut manifest.design
            && let Some(file) = &mut design.file
        {
            *file = design_path(stack, file);
        }
        let variant = self.variants[index].name.clone();
        match serde_json::to_value(&manifest) {
            Ok(settings) => {
                let point = point.to_vec();
                Some(Trial { variant, point, seed, reproduces, overrides, manifest, settings, depends_on })
            }
            Err(error) => {
                let message = format!("a plugin's settings cannot be written: {error}");
                self.found.push((index, stack.problem(&[], Mark::Value, message, None)));
                None
            }
        }
    }

    /// What the environment and the command line changed that can change a number.
    fn overrides(&self) -> Vec<String> {
        let mut all = Vec::new();
        for overlay in self.base.overlays().iter().filter(|overlay| by_user(overlay)) {
            let idle = |section: &str| ["experiment", "checkpoint", Kind::Launcher.section()].contains(&section);
            let counts = |leaf: &Vec<String>| !idle(&leaf[0]) && leaf.last().is_none_or(|name| name != "root");
            for leaf in overlay.leaves().into_iter().filter(counts) {
                let value = overlay.get(&leaf).map(toml_text).unwrap_or_default();
                all.push(format!("{}={value}", leaf.join(".")));
            }
        }
        all
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
        let above: Vec<&Overlay> = self
            .variants
            .iter()
            .flat_map(|variant| &variant.sets)
            .chain(self.sweep.iter().flat_map(|swept| &swept.values).map(|(_, overlay)| overlay))
            .collect();
        let mut problems = Vec::new();
        for overlay in self.base.overlays().iter().filter(|overlay| by_user(overlay)) {
            for leaf in overlay.leaves() {
                if matches!(leaf[0].as_str(), "variant" | "sweep") {
                    continue;
                }
                let overlaps = |above: &&&Overlay| {
                    let same = |other: &Vec<String>| other.starts_with(&leaf) || leaf.starts_with(other);
                    // A variant without compressors sets none of their keys.
                    above.leaves().iter().any(|other| same(other) && !above.is_empty_table(other))
                };
                let winner = above.iter().find(overlaps);
                let message = match winner {
                    Some(winner) => format!("`{}` is set by {} as well, which wins", leaf.join("."), winner.layer),
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

/// Whether a layer comes from the command line or the environment.
fn by_user(overlay: &Overlay) -> bool {
    matches!(overlay.layer, Layer::Environment(_) | Layer::Set(_))
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
pub(super) fn design_path(stack: &Stack, file: &Path) -> PathBuf {
    absolute(&stack.folder(&["design".to_owned(), "file".to_owned()]).join(file))
}

/// What is wrong with the design file that a manifest names.
fn design_problems(stack: &Stack, sections: &Sections) -> Option<Problem> {
    let source = sections.design.as_ref().filter(|source| source.from.is_none())?;
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

#[cfg(test)]
mod tests {
    use super::super::sample::{Desk, GOOD};
    use super::*;

    const DESIGN: &str = "version = 1\nspace = \"test-grid\"\ntimesteps = 2\n";

    fn titles(plan: &Plan) -> Vec<String> {
        plan.trials.iter().map(Trial::title).collect()
    }

    #[test]
    fn without_variants_there_is_one_trial_for_each_seed() {
        let plan = Desk::good("").set("experiment.seeds=[3, 1]").plan();
        assert_eq!(titles(&plan), ["good seed 3", "good seed 1"]);
        assert_eq!((plan.name.as_str(), plan.profile.as_deref()), ("good", None));
        assert_eq!(plan.trials[1].manifest.experiment.seeds, [1]);
        assert_eq!(plan.trials[1].settings["search"]["clip"], 5.0);
    }

    const VARIANTS: &str = r#"
[[variant]]
name = "dense"
remove = ["optimizer", "search", "compressor"]
set = { "timesteps" = { test-steady = { steps = 4 } }, design.from = "searched", "design.keep" = ["architecture"] }
[[variant]]
name = "searched"
[[variant]]
name = "large"
[variant.set]
"compressor.test-prune.rate" = 0.5
[sweep]
"optimizer.test-joint.lambda" = [5e-10, 1e-9]
"compressor.test-prune.rate" = [0.1, 0.2]
"#;

    #[test]
    fn variants_and_sweep_are_laid_out_in_running_order() {
        let text = format!("{GOOD}{VARIANTS}").replace("\"compressor.test-prune.rate\" = [0.1, 0.2]\n", "");
        let plan = Desk::new(text).set("experiment.seeds=[0, 1]").plan();
        assert_eq!(
            titles(&plan),
            [
                "searched seed 0 (optimizer.test-joint.lambda = 5e-10)",
                "searched seed 1 (optimizer.test-joint.lambda = 5e-10)",
                "searched seed 0 (optimizer.test-joint.lambda = 1e-9)",
                "searched seed 1 (optimizer.test-joint.lambda = 1e-9)",
                "dense seed 0 (optimizer.test-joint.lambda = 5e-10)",
                "dense seed 1 (optimizer.test-joint.lambda = 5e-10)",
                "dense seed 0 (optimizer.test-joint.lambda = 1e-9)",
                "dense seed 1 (optimizer.test-joint.lambda = 1e-9)",
                "large seed 0 (optimizer.test-joint.lambda = 5e-10)",
                "large seed 1 (optimizer.test-joint.lambda = 5e-10)",
                "large seed 0 (optimizer.test-joint.lambda = 1e-9)",
                "large seed 1 (optimizer.test-joint.lambda = 1e-9)",
            ]
        );
        let depends: Vec<Option<usize>> = plan.trials[3..9].iter().map(|trial| trial.depends_on).collect();
        assert_eq!(depends, [None, Some(0), Some(1), Some(2), Some(3), None]);
        assert!(plan.trials[4].manifest.optimizer.is_none() && plan.trials[4].manifest.compressor.is_empty());
        assert_eq!(plan.trials[2].settings["optimizer"]["test-joint"]["lambda"], 1e-9);
        assert_eq!(plan.trials[8].settings["compressor"][1]["test-prune"]["rate"], 0.5);
    }

    #[test]
    fn a_swept_key_concerns_the_variants_that_have_it() {
        let variants = "[[variant]]\nname = \"small\"\n[[variant]]\nname = \"plain\"\nset = { compressor = [] }\n";
        let plan = Desk::good(&format!("{variants}[sweep]\ncompressor.test-prune.rate = [0.1, 0.2]\n")).plan();
        assert_eq!(
            titles(&plan),
            [
                "small seed 0 (compressor.test-prune.rate = 0.1)",
                "small seed 0 (compressor.test-prune.rate = 0.2)",
                "plain seed 0"
            ]
        );
    }

    #[test]
    fn a_swept_key_has_to_be_read() {
        let sweep = |line: &str| Desk::good(&format!("[sweep]\n{line}\n")).headline();
        assert_eq!(sweep("search.epoch = [1]"), "a.toml:29:8: unknown key `epoch` in [search]; did you mean `epochs`?");
        assert_eq!(
            sweep("\"optimizer.test-joit.lambda\" = [1]"),
            "a.toml:29:1: nothing reads the swept key `optimizer.test-joit.lambda`; did you mean `optimizer.test-joint`?"
        );
        assert_eq!(sweep("serach.epochs = [1]"), "a.toml:29:8: unknown section [serach]; did you mean `search`?");
        assert_eq!(
            sweep("search.epochs = 1"),
            "a.toml:29:17: the sweep over `search.epochs` is not an array of values"
        );
        assert_eq!(sweep("search.epochs = []"), "a.toml:29:17: the sweep over `search.epochs` has no values");
        assert_eq!(sweep("search.epochs = [1, 1]"), "a.toml:29:17: the sweep over `search.epochs` holds value 2 twice");
        assert_eq!(
            sweep("search.epochs = [1, -1]"),
            "a.toml:29:21: `search.epochs` is the integer `-1`, expected an integer of 0 or more"
        );
        assert_eq!(sweep("experiment.seeds = [[1]]"), "a.toml:29:12: a sweep cannot change `experiment.seeds`");
        let many: Vec<String> = (1..1000).map(|n| n.to_string()).collect();
        let many = many.join(", ");
        assert!(
            sweep(&format!("search.epochs = [{many}]\nretrain.epochs = [{many}]")).contains("more than 100000 trials")
        );
    }

    #[test]
    fn mistakes_in_variants_are_named() {
        let variants = r#"
[[variant]]
name = "a"
sett = {}
set = { "search.epoch" = 1, "compressor.test-prne.rate" = 0.1, "experiment.name" = "x" }
[[variant]]
name = "A"
[[variant]]
name = "b/c"
remove = ["design"]
[[variant]]
name = "d"
remove = ["optimizer"]
"#;
        let headlines: Vec<String> = Desk::good(variants)
            .messages()
            .iter()
            .map(|shown| shown.lines().next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(
            headlines,
            [
                "a.toml: in variant `d`: missing section [optimizer.NAME]",
                "a.toml:31:1: unknown key `sett` in [[variant]]; did you mean `set`?",
                "a.toml:32:9: unknown key `epoch` in [search]; did you mean `epochs`?",
                "a.toml:32:29: no [[compressor]] is `test-prne`; did you mean `test-prune`?",
                "a.toml:32:64: a variant cannot change `experiment.name`",
                "a.toml:34:8: two variants are named `A`",
                "a.toml:36:8: variant `b/c` cannot be the name of a folder: only letters, digits, `-`, `_` and `.` are allowed",
                "a.toml:37:11: nothing sets `design`, so that it cannot be removed",
            ]
        );
    }

    #[test]
    fn a_design_comes_from_a_variant_that_searches() {
        let variants = |from: &str, more: &str| {
            format!(
                "[[variant]]\nname = \"one\"\n[[variant]]\nname = \"two\"\nremove = [\"optimizer\", \"search\"]\n\
                 set = {{ design.from = \"{from}\"{more} }}\n"
            )
        };
        let headline = |from: &str, more: &str| Desk::good(&variants(from, more)).headline();
        assert_eq!(Desk::good(&variants("one", "")).plan().trials[1].depends_on, Some(0));
        assert_eq!(headline("on", ""), "a.toml:33:23: no variant is named `on`; did you mean `one`?");
        assert_eq!(headline("two", ""), "a.toml:33:23: variant `two` takes its own design");
        assert!(headline("one", ", design.keep = [\"compression\", \"timesteps\"]").contains("lacks `architecture`"));
        assert!(
            headline("one", ", design.keep = [\"architecture\"]")
                .ends_with("[timesteps.test-open] does not say how many to run")
        );
        assert!(headline("one", ", design.keep = [\"architectur\"]").contains("did you mean `architecture`?"));
        assert!(headline("one", ", design.file = \"d.toml\"").contains("both `from` and `file`"));
        assert_eq!(
            headline("one", ", experiment.seeds = [7]"),
            "a.toml:33:49: variant `two` has seed 7, and `one`, whose design it takes, does not"
        );
    }

    #[test]
    fn a_problem_names_its_variants_only_where_they_matter() {
        let variants = "[[variant]]\nname = \"one\"\n[[variant]]\nname = \"two\"\nset.design.from = \"one\"\n";
        let first = |desk: Desk| desk.messages()[0].lines().next().unwrap_or_default().to_owned();
        assert!(first(Desk::good(variants)).contains("in variant `two`: nothing reads [optimizer]"));
        let variants = format!("{variants}remove = [\"optimizer\", \"search\"]\n");
        let wrong = Desk::new(format!("{GOOD}{variants}").replace("epochs = 3", "epochs = 0"));
        assert_eq!(wrong.headline(), "a.toml:24:10: `search.epochs` is 0, and has to be 1 or more");
    }

    #[test]
    fn a_design_file_is_relative_to_the_file_that_names_it() {
        let text = GOOD
            .replace("[optimizer.test-joint]\nlambda = 5e-10\n", "")
            .replace("[search]\nepochs = 3\n", "[design]\nfile = \"d.toml\"\n");
        let desk = Desk::new(&text).file("d.toml", DESIGN);
        let plan = desk.plan();
        let file = plan.trials[0].manifest.design.as_ref().and_then(|design| design.file.clone());
        assert_eq!(file, Some(desk.path("d.toml")));
        assert!(
            Desk::new(&text).headline().starts_with("a.toml:22:8: cannot read `d.toml`"),
            "{}",
            Desk::new(&text).headline()
        );
        let other = Desk::new(&text).file("d.toml", DESIGN.replace("test-grid", "other")).headline();
        assert_eq!(other, "a.toml:22:8: the design is of space `other`, and the manifest has [space.test-grid]");
    }

    #[test]
    fn a_resolved_manifest_loads_again_to_the_same_settings() {
        let text = format!("{GOOD}{VARIANTS}").replace("\"compressor.test-prune.rate\" = [0.1, 0.2]\n", "");
        for trial in Desk::new(text).plan().trials {
            let design_file = trial.depends_on.map(|_| Path::new("/tmp/nowhere/../d.toml"));
            let mut desk = Desk::new("");
            let folder = desk.path("d.toml");
            desk = desk.file("d.toml", DESIGN);
            let text = trial.manifest_toml(design_file.map(|_| folder.as_path()));
            let again = desk.file("a.toml", &text).plan();
            assert_eq!(again.trials.len(), 1);
            let mut settings = trial.settings.clone();
            if design_file.is_some() {
                settings["design"] = serde_json::json!({"file": folder, "keep": ["architecture"]});
            }
            assert_eq!(again.trials[0].settings, settings, "{text}");
        }
    }

    #[test]
    fn an_override_is_not_lost_silently() {
        let variants =
            "[[variant]]\nname = \"a\"\n[[variant]]\nname = \"b\"\nset = { \"search.epochs\" = 9, compressor = [] }\n";
        let desk = || Desk::good(variants);
        assert!(
            desk()
                .set("search.epochs=1")
                .headline()
                .ends_with("`search.epochs` is set by variant `b` as well, which wins")
        );
        // Variant `a` keeps it.
        assert_eq!(desk().set("compressor.test-prune.rate=0.5").plan().trials.len(), 2);
        let plain = Desk::good("[[variant]]\nname = \"b\"\nset = { compressor = [] }\n");
        let lost = plain.variable("LITESNN_COMPRESSOR__TEST_PRUNE__RATE", "0.5").headline();
        assert!(
            lost.ends_with("`compressor.test-prune.rate` has no effect: every variant replaces or removes it"),
            "{lost}"
        );
        let swept = Desk::good("[sweep]\nsearch.epochs = [1, 2]\n");
        assert!(swept.set("search.epochs=1").headline().contains("is set by the sweep as well"));
        let chosen = Desk::good("[sweep]\nsearch.epochs = [1, 2]\n").set("sweep.search.epochs=[7]").plan();
        assert_eq!(titles(&chosen), ["good seed 0 (search.epochs = 7)"]);
    }
}
