//! Sweeps that lose tasks, nodes and the controller, and no result.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command};
use std::sync::OnceLock;
use std::time::Duration;

use crate::cluster::{Cluster, start};
use crate::support::{
    Numbers, all_numbers, assert_all_same, litesnn, manifest, read_until, run, stderr, stdout, succeed,
};

/// Twelve trials: six seeds of a searching variant and of one that takes its design.
fn settings(epochs: usize) -> [String; 4] {
    [
        "--set".to_owned(),
        "experiment.seeds=[0, 1, 2, 3, 4, 5]".to_owned(),
        "--set".to_owned(),
        format!("search.epochs={epochs}"),
    ]
}

/// Epochs of a search that takes some seconds.
const LONG: usize = 25;

/// `litesnn run` of the sweep on a cluster.
fn sweep(cluster: &Cluster, runs: &Path, epochs: usize, more: &[&str]) -> Command {
    let mut command = litesnn();
    cluster.dress(&mut command);
    command.arg("run").arg(manifest("tiny.toml")).arg("--runs").arg(runs).args(["--device", "cpu"]);
    command.args(settings(epochs));
    for setting in ["time=\"10\"", "memory=\"200M\"", "poll=1", "grace=4", "warning=5"].iter().chain(more) {
        command.arg("--set").arg(format!("launcher.slurm.{setting}"));
    }
    command
}

fn waiting(cluster: &Cluster, runs: &Path, epochs: usize, more: &[&str]) -> Child {
    sweep(cluster, runs, epochs, more).arg("--wait").spawn().unwrap()
}

/// The numbers of the same sweep on this machine, one trial after another.
fn expected() -> &'static BTreeMap<String, Numbers> {
    static NUMBERS: OnceLock<BTreeMap<String, Numbers>> = OnceLock::new();
    NUMBERS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        succeed(run(&manifest("tiny.toml"), folder.path()).args(settings(LONG)));
        all_numbers(folder.path(), "tiny")
    })
}

fn results(runs: &Path) -> usize {
    let trials = fs::read_dir(runs.join("tiny")).into_iter().flatten().flatten();
    trials.filter(|trial| trial.path().join("result.parquet").exists()).count()
}

/// Waits for the end of a waiting run, and compares every number with that of the same sweep
/// without a cluster.
fn ends_with_every_result(cluster: &Cluster, mut child: Child, runs: &Path) -> String {
    let lines = BufReader::new(child.stderr.take().unwrap());
    goes_on_to_every_result(cluster, child, lines, String::new(), runs)
}

/// The same for a run of which a part of what it says was read already.
fn goes_on_to_every_result(
    cluster: &Cluster,
    child: Child,
    mut lines: BufReader<ChildStderr>,
    mut said: String,
    runs: &Path,
) -> String {
    lines.read_to_string(&mut said).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{said}\n{}\n{}", stdout(&output), cluster.logs());
    assert_all_same(&all_numbers(runs, "tiny"), expected());
    assert_eq!(results(runs), 12);
    // A process says how it ended when its result is there.
    cluster.wait_until("every process has ended", || cluster.trials("n").is_empty());
    said
}

/// How the processes of all launches ended, by kind.
fn ends(runs: &Path) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for (name, text) in files(&runs.join(".launches")) {
        if name.contains("/ends/") {
            let text = String::from_utf8(text).unwrap();
            let how = text.lines().find_map(|line| line.strip_prefix("how = ")).unwrap().trim_matches('"').to_owned();
            *all.entry(how).or_default() += 1;
        }
    }
    all
}

/// Files below a folder that is changed all the while, by relative path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for path in fs::read_dir(&next).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                all.insert(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned(), bytes);
            }
        }
    }
    all
}

fn count(test: &str, runs: &Path, what: &str) {
    eprintln!(
        "slurm: {test}: {what}; {} of 12 results, the same to the bit; ends of processes: {:?}",
        results(runs),
        ends(runs)
    );
}

/// Attempts of each trial that has some.
fn attempts(runs: &Path) -> BTreeMap<String, usize> {
    let mut attempts: BTreeMap<String, usize> = BTreeMap::new();
    for name in
        files(&runs.join("tiny")).into_keys().filter(|name| name.contains("/attempts/") && name.ends_with("/lock"))
    {
        *attempts.entry(name.split('/').next().unwrap().to_owned()).or_default() += 1;
    }
    attempts
}

fn signal(processes: &[String], name: &str) {
    assert!(!processes.is_empty());
    let _ = Command::new("kill").arg(format!("-{name}")).args(processes).status();
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    (folder, runs)
}

#[test]
fn a_task_and_both_node_daemons_are_killed() {
    let Some(cluster) = start("") else { return };
    let (_folder, runs) = folder();
    let child = waiting(&cluster, &runs, LONG, &[]);
    cluster.wait_until("a trial is at work", || !cluster.trials("n").is_empty());
    signal(&cluster.trials("n")[..1], "KILL");
    cluster.wait_until("a first result", || results(&runs) > 0);
    for node in ["n1", "n2"] {
        cluster.kill(node);
        std::thread::sleep(Duration::from_millis(300));
        cluster.node(node);
    }
    let said = ends_with_every_result(&cluster, child, &runs);
    let ends = ends(&runs);
    assert!(ends["finished"] == 12 && ends["killed"] >= 1, "{ends:?}\n{said}");
    assert!(said.contains("are gone from the queue without a result, and are submitted again"), "{said}");
    count("a task and both node daemons killed", &runs, "1 trial and 2 slurmd killed by signal 9");
}

#[test]
fn the_controller_is_killed_and_the_command_ends_and_comes_back() {
    let Some(cluster) = start("") else { return };
    let (_folder, runs) = folder();
    // Submits and returns.
    let first = succeed(&mut sweep(&cluster, &runs, LONG, &[]));
    let said = stderr(&first);
    assert!(said.contains("6 tasks were submitted as `tiny-"), "{said}");
    assert!(said.contains("open trials are worked on elsewhere"), "{said}");
    let listed = stdout(&succeed(&mut listing(&cluster, &runs)));
    assert_eq!(listed.matches(" queued ").count() + listed.matches(" running ").count(), 12, "{listed}");
    // The same again submits nothing.
    let again = stderr(&succeed(&mut sweep(&cluster, &runs, LONG, &[])));
    assert!(!again.contains("were submitted"), "{again}");
    cluster.wait_until("a trial is at work", || !cluster.trials("n").is_empty());
    cluster.wait_until_saved();
    cluster.kill("slurmctld");
    // Nobody answers: that is no failure, and nothing is submitted twice.
    let mut child = waiting(&cluster, &runs, LONG, &[]);
    let (mut lines, mut said) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    assert!(read_until(&mut lines, "the cluster does not answer, and is asked again later", &mut said), "{said}");
    cluster.controller();
    let said = goes_on_to_every_result(&cluster, child, lines, said, &runs);
    assert!(!said.contains("were submitted"), "{said}");
    assert_eq!(ends(&runs), BTreeMap::from([("finished".to_owned(), 12)]));
    // Once more: all is there.
    let last = stderr(&succeed(sweep(&cluster, &runs, LONG, &[]).arg("--wait")));
    assert!(last.contains("12 trials: 0 done, 12 finished before, 0 failed, 0 open"), "{last}");
    count(
        "controller killed, the command run four times",
        &runs,
        "slurmctld killed by signal 9 once, 6 tasks submitted once",
    );
}

fn listing(cluster: &Cluster, runs: &Path) -> Command {
    let mut command = litesnn();
    cluster.dress(&mut command);
    command.arg("runs").arg(runs);
    command
}

#[test]
fn a_node_is_lost_and_lives_so_that_trials_run_twice() {
    let Some(cluster) = start("") else { return };
    let (_folder, runs) = folder();
    let child = waiting(&cluster, &runs, LONG, &[]);
    // Each has its folder, so that a second one is seen.
    cluster.wait_until("both nodes work", || attempts(&runs).len() == 4);
    // The daemon dies, and its trials stand still for as long as it takes the controller to give
    // the node up.
    cluster.kill("n2");
    let lost = cluster.trials("n2");
    signal(&lost, "STOP");
    cluster.wait_until("a trial is at work a second time", || attempts(&runs).values().any(|count| *count > 1));
    signal(&lost, "CONT");
    let said = ends_with_every_result(&cluster, child, &runs);
    let ends = ends(&runs);
    assert!(ends["finished"] >= 12 && !ends.contains_key("failed"), "{ends:?}\n{said}");
    count(
        "a node given up that lives",
        &runs,
        &format!("{} trials of it went on while the same ones ran elsewhere", lost.len()),
    );
}

#[test]
fn urgent_work_preempts_trials_which_checkpoint_and_go_on() {
    let Some(cluster) = start("") else { return };
    let (_folder, runs) = folder();
    let child = waiting(&cluster, &runs, LONG, &[]);
    cluster.wait_until("both nodes work", || attempts(&runs).len() == 4);
    let urgent = ["-p", "urgent", "-N2", "--exclusive", "-J", "urgent", "--wrap", "sleep 2", "-o", "/dev/null"];
    cluster.slurm("sbatch", &urgent);
    let said = ends_with_every_result(&cluster, child, &runs);
    let ends = ends(&runs);
    assert!(ends["finished"] == 12 && ends.get("preempted").is_some_and(|count| *count >= 1), "{ends:?}\n{said}");
    assert!(!ends.contains_key("timed-out") && !ends.contains_key("failed"), "{ends:?}");
    count("preemption", &runs, "one urgent job on both nodes");
}

#[test]
fn arrays_are_split_at_the_limit_and_cancelled_work_goes_on() {
    let Some(cluster) = start("MaxArraySize=3") else { return };
    let (_folder, runs) = folder();
    let first = stderr(&succeed(&mut sweep(&cluster, &runs, LONG, &["at_once=2"])));
    assert_eq!(first.matches("3 tasks were submitted as `tiny-").count(), 2, "{first}");
    cluster.wait_until("a trial is at work", || !cluster.trials("n").is_empty());
    let mut cancel = litesnn();
    cluster.dress(&mut cancel);
    let cancelled = succeed(cancel.arg("cancel").arg("--runs").arg(&runs));
    assert!(
        stdout(&cancelled).contains("12 trials") || stdout(&cancelled).contains(" trials"),
        "{}",
        stdout(&cancelled)
    );
    cluster.wait_until("the queue is empty", || cluster.queue().is_empty());
    // All in one task each for three chains: two tasks.
    let child = waiting(&cluster, &runs, LONG, &["pack=3"]);
    let said = ends_with_every_result(&cluster, child, &runs);
    assert!(said.contains("2 tasks were submitted as `tiny-"), "{said}");
    count("arrays past the limit, cancelled, packed", &runs, "2 arrays of 3 tasks, then 1 of 2");
}

#[test]
fn what_sbatch_submitted_before_it_failed_is_not_submitted_again() {
    let Some(cluster) = start("MaxArraySize=2") else { return };
    let (_folder, runs) = folder();
    // Three arrays: submitted and timed out, submitted and silent, not submitted at all.
    cluster.replace(
        "sbatch",
        "late='sbatch: error: Batch job submission failed: Socket timed out on send/recv operation'
        if [ $call != 3 ]; then \"$real\" \"$@\" > $at/said; cat $at/said >> $at/jobs; fi
        case $call in
            1 | 3) echo \"$late\" >&2; exit 1 ;;
            2) exit 1 ;;
            *) cat $at/said ;;
        esac",
    );
    let said = ends_with_every_result(&cluster, waiting(&cluster, &runs, LONG, &[]), &runs);
    assert_eq!(said.matches("2 tasks were submitted as `tiny-").count(), 3, "{said}");
    assert_eq!((cluster.noted("sbatch.calls").len(), cluster.noted("jobs").len()), (4, 3), "{said}");
    assert_eq!(ends(&runs), BTreeMap::from([("finished".to_owned(), 12)]));
    count("sbatch fails", &runs, "3 times for 3 arrays, twice of them after it submitted; 3 arrays submitted");
}

#[test]
fn a_task_that_cannot_be_requeued_is_submitted_again() {
    let Some(cluster) = start("") else { return };
    let (_folder, runs) = folder();
    cluster.replace(
        "scontrol",
        "[ \"$1\" = requeue ] || exec \"$real\" \"$@\"
        echo \"$2\" >> $at/requeues
        echo 'slurm_requeue error: Access/permission denied' >&2
        exit 1",
    );
    let child = waiting(&cluster, &runs, LONG, &[]);
    cluster.wait_until("both nodes work", || attempts(&runs).len() == 4);
    let urgent = ["-p", "urgent", "-N2", "--exclusive", "-J", "urgent", "--wrap", "sleep 2", "-o", "/dev/null"];
    cluster.slurm("sbatch", &urgent);
    let said = ends_with_every_result(&cluster, child, &runs);
    assert!(said.contains("are gone from the queue without a result, and are submitted again"), "{said}");
    let (ends, refused) = (ends(&runs), cluster.noted("requeues").len());
    assert!(ends["finished"] == 12 && ends["preempted"] >= 1 && refused >= 1, "{ends:?}\n{said}");
    assert!(!ends.contains_key("failed"), "{ends:?}");
    let logs: String = files(&runs.join(".launches")).values().map(|text| String::from_utf8_lossy(text)).collect();
    assert_eq!(logs.matches("slurm_requeue error: Access/permission denied").count(), refused);
    count("requeueing not allowed", &runs, &format!("{refused} of {refused} tasks not requeued"));
}

#[test]
fn tasks_that_run_into_their_time_limit_go_on_in_the_next_ones() {
    let Some(cluster) = start("") else { return };
    let (_folder, runs) = folder();
    let child = waiting(&cluster, &runs, LONG, &["time=\"1\"", "warning=50"]);
    cluster.wait_until("both nodes work", || attempts(&runs).len() == 4);
    // The controller looks at limits every 30 seconds. Until then they stand still, as very slow
    // trials.
    let slow = cluster.trials("n");
    signal(&slow, "STOP");
    cluster.wait_until("every trial at work is asked to stop", || slow.iter().all(|trial| is_asked_to_stop(trial)));
    signal(&slow, "CONT");
    let said = ends_with_every_result(&cluster, child, &runs);
    let ends = ends(&runs);
    assert!(ends["finished"] == 12 && ends["timed-out"] >= slow.len(), "{ends:?}\n{said}");
    assert_eq!(ends.len(), 2, "{ends:?}");
    count("time limits", &runs, &format!("{} trials at work at the limit of a minute", slow.len()));
}

/// Whether a process that stands still was sent TERM.
fn is_asked_to_stop(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).map(str::trim);
    pending.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 1 << 14 != 0)
}

#[test]
fn a_limit_of_submissions_is_waited_for() {
    let Some(cluster) = start("JobSubmitPlugins=lua") else { return };
    let (_folder, runs) = folder();
    cluster.replace("sbatch", "exec \"$real\" \"$@\"");
    let said = ends_with_every_result(&cluster, waiting(&cluster, &runs, LONG, &[]), &runs);
    assert!(said.contains("the cluster takes no 6 tasks at once now: sbatch: error: AssocMaxSubmitJobLimit"), "{said}");
    assert!(said.contains("the cluster takes no more tasks now: sbatch: error: AssocMaxSubmitJobLimit"), "{said}");
    let submitted: usize = said
        .lines()
        .filter_map(|line| line.split_once(" tasks were submitted")?.0.rsplit(' ').next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(submitted, 6, "{said}");
    assert_eq!(ends(&runs), BTreeMap::from([("finished".to_owned(), 12)]));
    let (asked, refused) = (cluster.noted("sbatch.calls").len(), said.matches("the cluster takes no ").count());
    assert_eq!(asked, refused + said.matches(" were submitted as ").count(), "{said}");
    count("a limit of 4 tasks for 6", &runs, &format!("sbatch called {asked} times, refused {refused} times"));
}

#[test]
fn a_sweep_that_runs_again_sets_its_results_aside_and_submits_every_trial() {
    let Some(cluster) = start("") else { return };
    let (_folder, runs) = folder();
    ends_with_every_result(&cluster, waiting(&cluster, &runs, LONG, &[]), &runs);
    let child = sweep(&cluster, &runs, LONG, &[]).args(["--wait", "--again"]).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{}", stderr(&output), cluster.logs());
    assert!(stdout(&output).matches("finished before").count() == 0, "{}", stdout(&output));
    let aside = runs.join("tiny/.earlier");
    assert_eq!(fs::read_dir(&aside).unwrap().count(), 12);
    fs::rename(&aside, runs.join("earlier")).unwrap();
    assert_all_same(&all_numbers(&runs, "tiny"), expected());
    count("again", &runs, "12 results set aside and measured anew");
}
