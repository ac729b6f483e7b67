//! Every manifest under `experiments/` loads, with each of its profiles, and runs.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::manifest::{Plan, Request, load, resolved_toml};
use litesnn_plugins as _;
use support::{run, succeed};
use toml_edit::DocumentMut;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Folders whose TOML files are not manifests.
const NOT_MANIFESTS: [&str; 2] = ["data", "designs"];

datatest_stable::harness! {
    { test = loads, root = "experiments", pattern = r"\.toml$" },
    { test = loads_again_when_it_is_explained, root = "experiments", pattern = r"\.toml$" },
    { test = runs, root = "experiments", pattern = r"\.toml$" },
}

/// The manifest, unless the file is something else: a design, or the base of others.
fn manifest(path: &Path) -> Result<Option<DocumentMut>, Box<dyn std::error::Error>> {
    if path.components().any(|part| NOT_MANIFESTS.iter().any(|folder| part.as_os_str() == *folder)) {
        return Ok(None);
    }
    let document: DocumentMut = std::fs::read_to_string(path)?.parse()?;
    Ok((!document.contains_key("edge")).then_some(document))
}

fn profiles(document: &DocumentMut) -> Vec<String> {
    let table = document.get("profile").and_then(|profile| profile.as_table_like());
    table.map(|table| table.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
}

fn loads(path: &Path) -> Outcome {
    let Some(document) = manifest(path)? else { return Ok(()) };
    let profiles = profiles(&document);
    for profile in [None].into_iter().chain(profiles.iter().map(Some)) {
        let request = Request { manifest: path.into(), profile: profile.cloned(), ..Request::default() };
        let plan = load(&request).map_err(|error| match error {
            litesnn_framework::Error::Manifest(problems) => {
                problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            }
            other => other.to_string(),
        })?;
        assert!(!plan.trials.is_empty(), "no trials with profile {profile:?}");
        assert!(!plan.description.is_empty(), "`experiment.description` says what it is about");
        for trial in &plan.trials {
            let waits_for = trial.depends_on.into_iter().chain(trial.taught_by);
            assert!(waits_for.into_iter().all(|source| source < plan.trials.len()), "{}", trial.title());
            // What a trial keeps as its manifest is a manifest.
            let text: DocumentMut = trial.manifest_toml(None, None).parse()?;
            assert_eq!(text.contains_key("optimizer"), trial.manifest.optimizer.is_some(), "{}", trial.title());
        }
    }
    Ok(())
}

/// What `litesnn explain MANIFEST` prints is a manifest of the same plan, whatever layers it was
/// put together from.
fn loads_again_when_it_is_explained(path: &Path) -> Outcome {
    let Some(document) = manifest(path)? else { return Ok(()) };
    let profiles = profiles(&document);
    let folder = tempfile::tempdir()?;
    let trials = |plan: &Plan| -> Vec<_> {
        let of = |trial: &litesnn_framework::manifest::Trial| (trial.title(), trial.settings.clone(), trial.depends_on);
        plan.trials.iter().map(of).collect()
    };
    for profile in [None].into_iter().chain(profiles.iter().map(Some)) {
        for set in [None, Some("experiment.description=changed")] {
            let request = Request {
                manifest: path.into(),
                profile: profile.cloned(),
                set: set.map(str::to_owned).into_iter().collect(),
                ..Request::default()
            };
            let plan = load(&request)?;
            let text = resolved_toml(&request)?;
            // In another folder, so that nothing is relative to the first one.
            let copy = folder.path().join("copy.toml");
            std::fs::write(&copy, &text)?;
            let again = load(&Request { manifest: copy, ..Request::default() })
                .map_err(|error| format!("{error:?}\n{text}"))?;
            assert_eq!(trials(&again), trials(&plan), "{profile:?} {set:?}\n{text}");
            assert!(set.is_none() || text.contains("# `--set experiment.description=changed`; instead of "), "{text}");
        }
    }
    Ok(())
}

/// One pass over a few images, so that a manifest that cannot run fails here and not after hours.
fn runs(path: &Path) -> Outcome {
    let Some(document) = manifest(path)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let mut command = run(path, folder.path());
    let mut sets = Vec::new();
    if profiles(&document).iter().any(|name| name == "smoke") {
        command.args(["--profile", "smoke"]);
    }
    // A manifest of the paper has a smoke profile that is small enough as it is, and so has one that
    // extends it.
    let base = document.get("extends").and_then(|base| base.as_str()).map(Path::new);
    let of_paper = |path: &Path| path.components().any(|part| part.as_os_str() == "paper");
    if !of_paper(path) && !base.is_some_and(of_paper) {
        sets.extend(["retrain.epochs=1", "retrain.batch_size=10"]);
        if document.contains_key("search") {
            // One epoch after the warm-up of the timesteps.
            sets.extend(["search.epochs=2", "search.batch_size=10"]);
        }
        if document.get("dataset").is_some_and(|dataset| dataset.get("fashion-mnist").is_some()) {
            sets.push("dataset.fashion-mnist={ train = 20, validation = 20, test = 20 }");
        }
    }
    for set in sets {
        command.args(["--set", set]);
    }
    succeed(&mut command);
    Ok(())
}
