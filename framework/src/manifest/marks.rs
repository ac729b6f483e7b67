//! What a run changed of a trial: the marks of a result that was not measured at the manifest's own
//! settings.
//!
//! A profile or an override that says what the files say anyway changes nothing and leaves no mark.
//! So each trial is compared with the same one (by variant and point of the sweep) of the manifest
//! as its files are, every default filled in.

use std::collections::HashMap;

use serde_json::Value;

use super::layers::Request;
use super::overrides::{is_work, overrides};
use super::plan::load;
use super::sections::Section;
use super::stack::Stack;
use super::tree::{Tree, lookup};
use crate::plugin::Kind;
use crate::record::Point;

/// What a run changed of a trial.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Marks {
    /// The profile, where it changes the trial.
    pub(super) profile: Option<String>,
    /// `key=value` of the settings that the environment or the command line changed.
    pub(super) overrides: Vec<String>,
}

/// The settings of trials by variant and point of the sweep; the seed is no matter.
type Settings = HashMap<(String, String), Value>;

/// The trials of a manifest as its files are. Empty where nothing else was asked for, or where the
/// files alone make no plan.
#[derive(Debug, Default)]
pub(super) struct AsWritten {
    /// Without a profile.
    plain: Settings,
    /// With the profile that was chosen.
    profiled: Settings,
    profile: Option<String>,
    overrides: Vec<(Vec<String>, String)>,
}

impl AsWritten {
    /// What `request` is compared with; `base` are its layers.
    pub(super) fn of(request: &Request, base: &Stack) -> AsWritten {
        let overrides = overrides(base);
        let profile = request.profile.clone();
        if profile.is_none() && overrides.is_empty() {
            return AsWritten::default();
        }
        let trials = |profile: Option<String>| {
            let Request { held, bundled, .. } = *request;
            let request = Request { manifest: request.manifest.clone(), profile, held, bundled, ..Request::default() };
            let trials = load(&request).map(|plan| plan.trials).unwrap_or_default();
            trials.into_iter().map(|trial| ((trial.variant, trial.point.text()), trial.settings)).collect()
        };
        let profiled = match profile.is_some() && !overrides.is_empty() {
            true => trials(profile.clone()),
            false => Settings::default(),
        };
        AsWritten { plain: trials(None), profiled, profile, overrides }
    }

    /// The marks of the trial with these settings.
    pub(super) fn marks(&self, variant: &str, point: &Point, settings: &Value) -> Marks {
        let same = |all| Settings::get(all, &(variant.to_owned(), point.text()));
        let plain = same(&self.plain);
        if plain.is_some_and(|plain| work(plain) == work(settings)) {
            return Marks::default();
        }
        // What the overrides are laid over.
        let below = match (&self.profile, self.overrides.is_empty()) {
            (Some(_), false) => same(&self.profiled),
            (Some(_), true) => Some(settings),
            (None, _) => plain,
        };
        let alike = |a: Option<&Value>, b: Option<&Value>| a.zip(b).is_some_and(|(a, b)| work(a) == work(b));
        let changed = |path: &[String]| match below {
            // They change which trials there are.
            _ if matches!(path[0].as_str(), "axis" | "variant" | "sweep") => true,
            Some(below) => at(below, path) != at(settings, path),
            None => true,
        };
        let texts = |which: &dyn Fn(&[String]) -> bool| -> Vec<String> {
            self.overrides.iter().filter(|(path, _)| which(path)).map(|(_, text)| text.clone()).collect()
        };
        let told = texts(&changed);
        let overrides = match alike(below, Some(settings)) {
            true => Vec::new(),
            // Such as another order of the compressors.
            false if told.is_empty() => texts(&|_| true),
            false => told,
        };
        Marks { profile: self.profile.clone().filter(|_| !alike(plain, below)), overrides }
    }
}

/// The part of resolved settings that says what is computed. Where data lie is no part of it.
fn work(settings: &Value) -> Tree {
    let mut work = settings.as_object().cloned().unwrap_or_default();
    work.retain(|section, _| Section::find(section).is_none_or(|section| section.is_work));
    if let Some(Value::Object(plugins)) = work.get_mut(Kind::Dataset.section()) {
        for settings in plugins.iter_mut().filter_map(|(_, settings)| settings.as_object_mut()) {
            settings.retain(|name, _| is_work(name));
        }
    }
    work
}

/// What resolved settings have at the path of a layer, where a compressor is reached by its name.
fn at<'a>(settings: &'a Value, path: &[String]) -> Option<&'a Value> {
    match path {
        [section, rest @ ..] if section == Kind::Compressor.section() && !rest.is_empty() => {
            settings.get(section)?.as_array()?.iter().find_map(|element| lookup(element.as_object()?, rest))
        }
        path => lookup(settings.as_object()?, path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Desk;

    /// Profile and overrides of the first trial.
    fn marks(desk: Desk) -> (Option<String>, Vec<String>) {
        let trial = desk.plan().trials.remove(0);
        (trial.profile, trial.overrides)
    }

    fn changed(setting: &str) -> (Option<String>, Vec<String>) {
        (None, vec![setting.to_owned()])
    }

    const UNCHANGED: (Option<String>, Vec<String>) = (None, Vec::new());

    /// Guards results at the manifest's own settings against being called changed.
    #[test]
    fn an_override_that_says_what_the_manifest_says_is_no_change() {
        let search = Desk::good("").plan().trials.remove(0).settings["search"].clone();
        let epochs = search["epochs"].as_u64().unwrap();
        assert_eq!(marks(Desk::good("").set(&format!("search.epochs={epochs}"))), UNCHANGED);
        // A default, which the manifest does not spell out.
        let momentum = search["momentum"].as_f64().unwrap();
        assert_eq!(marks(Desk::good("").set(&format!("search.momentum={momentum:e}"))), UNCHANGED);
        let more = format!("search.epochs={}", epochs + 1);
        assert_eq!(marks(Desk::good("").set(&more)), changed(&more));
        // Only what is changed is named.
        let both = Desk::good("").set(&more).set(&format!("search.momentum={momentum}"));
        assert_eq!(marks(both), changed(&more));
        assert_eq!(marks(Desk::good("").set("experiment.seeds=[7]")), UNCHANGED);
    }

    #[test]
    fn an_override_marks_the_variants_that_it_changes() {
        let variants = "[[variant]]\nname = \"a\"\n[[variant]]\nname = \"b\"\nset = { compressor = [] }\n";
        let trials = Desk::good(variants).set("compressor.test-prune.rate=0.125").plan().trials;
        assert_eq!(trials[0].overrides, ["compressor.test-prune.rate=0.125"]);
        assert_eq!(trials[1].overrides, [""; 0]);
    }

    #[test]
    fn a_profile_that_changes_nothing_is_no_mark_and_one_that_does_stays_below_overrides() {
        let epochs = Desk::good("").plan().trials[0].settings["search"]["epochs"].clone();
        let same = format!("[profile.p.search]\nepochs = {epochs}\n[profile.p.experiment]\nseeds = [5]\n");
        assert_eq!(marks(Desk::good(&same).profile("p")), UNCHANGED);
        let other = "[profile.p.search]\nepochs = 77\n";
        let profiled = |overrides: &[&str]| (Some("p".to_owned()), overrides.iter().map(|&it| it.to_owned()).collect());
        assert_eq!(marks(Desk::good(other).profile("p")), profiled(&[]));
        assert_eq!(marks(Desk::good(other).profile("p").set("search.epochs=77")), profiled(&[]));
        assert_eq!(marks(Desk::good(other).profile("p").set("search.epochs=78")), profiled(&["search.epochs=78"]));
        assert_eq!(marks(Desk::good(other).profile("p").set(&format!("search.epochs={epochs}"))), UNCHANGED);
    }

    #[test]
    fn what_chooses_trials_is_a_change_where_the_trial_is_not_in_the_files() {
        let swept = || Desk::good("[sweep]\nsearch.epochs = [1, 2]\n");
        assert_eq!(marks(swept().set("sweep.search.epochs=[2]")), UNCHANGED);
        assert_eq!(marks(swept().set("sweep.search.epochs=[7]")), changed("sweep.search.epochs=[7]"));
    }
}
