//! Rules for launchers.
//!
//! Instead of trials, a shell script is launched that takes no time: it notes which task it was
//! given, and leaves a result, or fails where the task says so. Launchers whose trials run on other
//! machines need those; what they owe is tested with them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::subject::Subject;
use crate::workbench::works;
use crate::{Kept, Law, Stop, require};
use litesnn_framework::launch::{Launch, Launched, Launcher, ProcessSettings, Task};
use litesnn_framework::record::{self, Event, Observer, Outcome, Point, RowNames, files};
use litesnn_framework::{Error, Result};

/// The rules.
pub const LAWS: &[Law] = &[
    Law {
        name: "every-trial",
        says: "every trial runs once, after those that it waits for; launched again, only what has no result runs",
        check: every_trial,
    },
    Law {
        name: "failure",
        says: "a trial that fails harms none but those that take its design and those that it teaches",
        check: failure,
    },
];

/// What a launch did.
struct Done {
    /// Titles of the trials that ran, in order.
    ran: Vec<String>,
    /// Titles of those with a result.
    finished: Vec<String>,
}

struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
}

/// Four trials; the second takes the first one's design, and the second teaches the fourth. The
/// trial `failing` fails.
fn launch(launcher: &dyn Launcher, runs: &Path, failing: &str) -> Result<Done> {
    let write = |path: &Path, text: &str| std::fs::write(path, text).map_err(Error::file("write", path));
    let (script, told, result) = (runs.join("program"), runs.join("ran"), runs.join("result"));
    record::write(&result, &[Outcome::default()])?;
    write(&told, "")?;
    let title = |task: &str| format!("$(sed -n 's/^title = \"\\(.*\\)\"$/\\1/p' {task})");
    let text = format!(
        "#!/bin/sh\necho \"{}\" >>'{}'\n[ \"{}\" != '{failing}' ] || exit 1\n\
         folder=$(sed -n 's/^folder = \"\\(.*\\)\"$/\\1/p' \"$2\")\nmkdir -p \"$folder\" && cp '{}' \"$folder/{}\"\n",
        title("\"$2\""),
        told.display(),
        title("\"$2\""),
        result.display(),
        files::RESULT
    );
    write(&script, &text)?;
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).map_err(Error::file("write", &script))?;
    // A trial without work.
    let task = |title: &str, after, taught_by: Option<usize>| Task {
        version: Task::VERSION,
        title: title.to_owned(),
        index: 0,
        count: 1,
        experiment: "conformance".into(),
        variant: title.to_owned(),
        seed: 0,
        point: Point::default(),
        overrides: Vec::new(),
        profile: None,
        reproduces: None,
        compared_with: RowNames::default(),
        hash: title.to_owned(),
        recipe: String::new(),
        data_digest: String::new(),
        folder: runs.join("conformance").join(title),
        design_file: None,
        after,
        teacher: taught_by.map(|_| runs.join("conformance/second")),
        taught_by,
        epochs: 1,
        manifest: String::new(),
    };
    let tasks = vec![
        task("first", None, None),
        task("second", Some(0), None),
        task("third", None, None),
        task("fourth", None, Some(1)),
    ];
    let settings = ProcessSettings { program: script, device: "cpu".into(), threads: Some(1) };
    let stop = AtomicBool::new(false);
    let launch = Launch {
        record: Launched::create(runs, None, settings, &tasks)?.record,
        tasks: &tasks,
        wait: true,
        stop: &stop,
        observer: &Silent,
    };
    launcher.launch(&launch)?;
    let ran = std::fs::read_to_string(&told).map_err(Error::file("read", &told))?;
    let finished = (0..launch.tasks.len()).filter(|index| launch.finished(*index));
    Ok(Done {
        ran: ran.lines().map(str::to_owned).collect(),
        finished: finished.map(|index| launch.tasks[index].title.clone()).collect(),
    })
}

fn launched(subject: &Subject, failing: &[&str]) -> Kept<Vec<(String, Vec<Done>)>> {
    let mut all = Vec::new();
    for made in subject.examples::<Box<dyn Launcher>>()? {
        if made.plugin.elsewhere() {
            return Err(Stop::Skipped("its trials run on other machines; tests/slurm and its like have them".into()));
        }
        let folder = works(tempfile::tempdir().map_err(Error::file("create", Path::new("/tmp"))), "a folder")?;
        let run = |failing: &&str| {
            works(launch(made.plugin.as_ref(), folder.path(), failing), format!("with {} it launches", made.shown))
        };
        all.push((made.shown.clone(), failing.iter().map(run).collect::<Kept<Vec<_>>>()?));
    }
    Ok(all)
}

fn every_trial(subject: &Subject) -> Kept {
    for (shown, done) in launched(subject, &["none", "none"])? {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        done[0].ran.iter().for_each(|title| *counts.entry(title).or_default() += 1);
        let once = counts.len() == 4 && counts.values().all(|count| *count == 1);
        require(once, format!("with {shown}, four trials, each once"), format!("{:?}", done[0].ran))?;
        let place = |title: &str| done[0].ran.iter().position(|ran| ran == title);
        require(
            place("first") < place("second") && place("second") < place("fourth"),
            format!(
                "with {shown}, `second` after `first`, whose design it takes, and `fourth` after its teacher, `second`"
            ),
            format!("{:?}", done[0].ran),
        )?;
        require(done[1].ran.is_empty(), format!("with {shown}, nothing runs again"), format!("{:?}", done[1].ran))?;
    }
    Ok(())
}

fn failure(subject: &Subject) -> Kept {
    for (shown, done) in launched(subject, &["first", "none"])? {
        let expected = format!("with {shown}, `third` alone has a result when `first` fails, and all when it does not");
        require(done[0].finished == ["third"], &*expected, format!("{:?}", done[0].finished))?;
        require(done[1].finished.len() == 4, &*expected, format!("{:?}", done[1].finished))?;
    }
    Ok(())
}
