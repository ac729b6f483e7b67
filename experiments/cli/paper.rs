//! The manifests of the paper's tables, and of systems in them, which the command holds itself:
//! `litesnn report` tells from them whether a result has the paper's settings, wherever the command
//! is installed.

use std::path::Path;

use litesnn_framework::Error;
use litesnn_framework::manifest::{Request, Trial, load};
use litesnn_framework::network::Design;
use litesnn_reports::paper::{PaperManifest, PaperRow};

/// Names and texts of files, as they lie in the repository, below `/`.
macro_rules! held {
    ($($name:literal),* $(,)?) => {
        [$((concat!("/experiments/", $name), include_str!(concat!("../", $name)))),*]
    };
}

const MANIFESTS: usize = 13;

/// The manifests, and behind them the designs that they name.
const HELD: [(&str, &str); MANIFESTS + 4] = held![
    "paper/table2-cifar10.toml",
    "paper/table2-cifar100.toml",
    "paper/table3-gsc.toml",
    "paper/table4-joint-vs-sequential.toml",
    "paper/table5-energy.toml",
    "paper/figure2c-weights.toml",
    "paper/figure3-lambda.toml",
    "compared/admm.toml",
    "compared/binary-connect.toml",
    "compared/esl-snn.toml",
    "compared/grad-r.toml",
    "compared/lottery-ticket.toml",
    "compared/stds.toml",
    "designs/lite-snn-large.toml",
    "designs/lite-snn-medium.toml",
    "designs/lite-snn-small.toml",
    "designs/spike-dhs.toml",
];

/// All manifests with their rows. Neither a profile nor the environment changes them.
pub fn manifests() -> Vec<PaperManifest> {
    let one = |(path, _): &(&str, &str)| PaperManifest {
        path: path.trim_start_matches('/').to_owned(),
        rows: rows(path).map_err(|error| match error {
            Error::Manifest(problems) => problems.first().map_or_else(String::new, |problem| problem.message.clone()),
            other => other.to_string(),
        }),
    };
    HELD[..MANIFESTS].iter().map(one).collect()
}

/// A request for a manifest that the command holds, such as `paper/table2-cifar10.toml`.
pub fn request(name: &str) -> Request {
    Request { manifest: format!("/experiments/{name}").into(), held: &HELD, ..Request::default() }
}

/// A design that the command holds, such as `designs/lite-snn-small.toml`.
pub fn design(name: &str) -> Result<Design, Error> {
    let path = format!("/experiments/{name}");
    let held = HELD.iter().find(|(held, _)| *held == path);
    let (_, text) = held.ok_or_else(|| Error::design(format!("the command holds no design `{name}`")))?;
    Design::parse(text, Path::new(&path))
}

/// The trials of one seed.
fn rows(path: &str) -> Result<Vec<PaperRow>, Error> {
    let plan = load(&Request { manifest: path.into(), held: &HELD, ..Request::default() })?;
    let seed = plan.trials.first().map(|trial| trial.seed);
    plan.trials.iter().filter(|trial| Some(trial.seed) == seed).map(row).collect()
}

fn row(trial: &Trial) -> Result<PaperRow, Error> {
    let file = trial.manifest.design.as_ref().and_then(|design| design.file.as_deref());
    let name = file.and_then(Path::file_name);
    let text = HELD.iter().find(|(path, _)| name.is_some() && Path::new(path).file_name() == name);
    let design = text.map(|(path, text)| Design::parse(text, Path::new(path))).transpose()?;
    Ok(PaperRow { variant: trial.variant.clone(), settings: trial.settings.clone(), design })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    use litesnn_framework::manifest::Plan;
    use litesnn_framework::record::{self, EpochRow, LayerRow, Outcome, files};
    use litesnn_plugins as _;
    use litesnn_reports::published;
    use litesnn_reports::trials::find;

    #[test]
    fn every_manifest_and_design_of_the_paper_is_held() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut there: Vec<String> = Vec::new();
        for folder in ["paper", "compared", "designs"] {
            let entries = std::fs::read_dir(root.join("experiments").join(folder)).unwrap();
            let files = entries.map(|entry| entry.unwrap().path());
            let files = files.filter(|file| file.extension().is_some_and(|end| end == "toml"));
            // A compared system that no published table has is compared with nothing.
            let is_held = |file: &PathBuf| {
                folder != "compared" || std::fs::read_to_string(file).unwrap().contains("\nreproduces = ")
            };
            let name = |file: PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
            there.extend(files.filter(is_held).map(|file| format!("/experiments/{folder}/{}", name(file))));
        }
        let mut held: Vec<&str> = HELD.iter().map(|(path, _)| *path).collect();
        held.sort_unstable();
        there.sort_unstable();
        assert_eq!(held, there);
    }

    #[test]
    fn every_published_table_has_a_manifest_whose_rows_are_resolved() {
        let all = manifests();
        for publication in published::all() {
            for part in &publication.parts {
                let rows_of = |path: &str| {
                    let manifest = all.iter().find(|manifest| manifest.path == path);
                    manifest.unwrap_or_else(|| panic!("{path}")).rows.as_ref().unwrap()
                };
                for elsewhere in publication.rows.iter().filter_map(|row| row.elsewhere(part)) {
                    let found = rows_of(&elsewhere.manifest).iter().any(|row| row.variant == elsewhere.variant);
                    assert!(found, "{}: {}", elsewhere.manifest, elsewhere.variant);
                }
                let rows = rows_of(&part.manifest);
                let variants =
                    publication.rows.iter().filter(|row| row.values(part).is_some()).flat_map(|row| &row.variant);
                for variant in variants {
                    assert!(rows.iter().any(|row| row.variant == *variant), "{}: {variant}", part.manifest);
                }
                for row in rows {
                    // Every default is there, and every design that a file holds.
                    assert!(row.settings["retrain"]["epochs"].is_u64(), "{}", row.variant);
                    let file = row.settings["design"]["file"].is_string();
                    assert_eq!(row.design.is_some(), file, "{}: {}", part.manifest, row.variant);
                }
            }
        }
    }

    /// Writes a finished trial with the manifest that `litesnn run` would keep.
    fn write(runs: &Path, plan: &Plan, index: usize, rows: &[PaperRow]) {
        let folder = |index: usize| format!("{index}-{}", plan.trials[index].variant);
        let trial = &plan.trials[index];
        let place = runs.join(&plan.name).join(folder(index));
        std::fs::create_dir_all(&place).unwrap();
        let file = trial.depends_on.map(|source| Path::new("..").join(folder(source)).join(files::DESIGN));
        std::fs::write(place.join(files::MANIFEST), trial.manifest_toml(file.as_deref(), None)).unwrap();
        let any = Design::parse(HELD[MANIFESTS].1, Path::new(HELD[MANIFESTS].0)).unwrap();
        let of_variant = rows.iter().find(|row| row.variant == trial.variant).and_then(|row| row.design.clone());
        std::fs::write(place.join(files::DESIGN), of_variant.unwrap_or(any).to_toml()).unwrap();
        let outcome = Outcome {
            experiment: plan.name.clone(),
            variant: trial.variant.clone(),
            recipe: index.to_string(),
            reproduces: trial.reproduces.clone().unwrap_or_default(),
            data_edition: "official".into(),
            ..Outcome::default()
        };
        record::write::<EpochRow>(&place.join(files::HISTORY), &[]).unwrap();
        record::write::<LayerRow>(&place.join(files::LAYERS), &[]).unwrap();
        record::write(&place.join(files::RESULT), &[outcome]).unwrap();
    }

    /// What `litesnn run` keeps of the paper's manifests is at the paper's settings, and of their
    /// profiles it is not.
    #[test]
    fn the_trials_of_the_papers_manifests_are_comparable_and_those_of_their_profiles_are_not() {
        let all = manifests();
        for manifest in &all {
            for profile in [None, Some("smoke"), Some("bench")] {
                let request = Request {
                    manifest: format!("/{}", manifest.path).into(),
                    profile: profile.map(str::to_owned),
                    held: &HELD,
                    ..Request::default()
                };
                let plan = load(&request).unwrap();
                let runs = tempfile::tempdir().unwrap();
                for index in 0..plan.trials.len() {
                    write(runs.path(), &plan, index, manifest.rows.as_ref().unwrap());
                }
                let found = find(runs.path(), &all).unwrap();
                assert!(found.unfinished.is_empty(), "{:?}", found.unfinished);
                for group in &found.experiments[0].groups {
                    let departures = &group.departures;
                    assert_eq!(
                        departures.is_empty(),
                        profile.is_none(),
                        "{} {profile:?}: {departures:?}",
                        manifest.path
                    );
                }
            }
        }
    }
}
