//! Trials as array jobs of a Slurm cluster.
//!
//! Source: Yoo et al., SLURM: Simple Linux Utility for Resource Management (JSSPP 2003);
//! `sbatch(1)`, `squeue(1)`, `scontrol(1)`.
//!
//! - A run is one array job (`--array=0-N%K`), split where the cluster's `MaxArraySize` or a limit
//!   of submissions asks for it. A task of it is a chain: a trial and those that take its design or
//!   that it teaches, or `pack` such chains.
//! - What is submitted is written down first, under a name of its own. When `sbatch` fails, that
//!   name is looked for before anything is submitted again: it may have timed out and have
//!   submitted all the same.
//! - All options stand on the command line of `sbatch`, which goes before `SBATCH_*` in the user's
//!   environment and before the lines of a script. Variables that would change what the commands of
//!   Slurm do or show are not handed to them. Those that say which cluster it is, and `SBATCH_ACCOUNT`,
//!   `_PARTITION`, `_QOS`, `_RESERVATION` and `_WCKEY`, hold where the manifest says nothing else.
//! - The batch script becomes `litesnn work`, which starts each trial as an attempt in a folder of
//!   its own and passes on USR2, which Slurm sends before the end of the time and before
//!   preemption, and TERM. The trial checkpoints, and the task is requeued.
//! - The truth is in the trials' folders. `squeue` is asked once a cycle for all jobs, and less
//!   often while it does not answer. A task that is gone without a result counts as lost after
//!   `grace` seconds, and its trials are submitted again.
//!
//! `litesnn run` submits and returns, or waits with `--wait`. The same command again finds
//! everything on disk, and submits what has no result and is not in the queue. The runs folder, the
//! data and the program have to be reachable from every node.

mod array_job;
mod array_launch;
mod cluster;
mod option;
mod settings;
mod supervisor;
mod trial_state;

use std::collections::BTreeMap;

use litesnn_framework::launch::{Launch, Launcher, Record, Standing};
use litesnn_framework::{Result, register};

use array_job::{array_jobs, mark_cancelled};
use array_launch::ArrayLaunch;
use cluster::{Cluster, Entry, Refusal};

pub use settings::Slurm;

register! {
    kind: Launcher,
    name: "slurm",
    settings: Slurm,
    version: 1,
    summary: "trials as array jobs of a Slurm cluster",
    paper: "Yoo et al., SLURM, JSSPP 2003",
    examples: [
        "[launcher.slurm]\ntime = \"8:00:00\"\nmemory = \"4G\"\ncores = 4",
        "[launcher.slurm]\ntime = \"1-00:00:00\"\ngres = \"gpu:1\"\npartition = \"long\"\nat_once = 8\noptions = [\"--qos=low\"]",
    ],
    file: "slurm.rs",
}

#[typetag::serde(name = "slurm")]
impl Launcher for Slurm {
    fn elsewhere(&self) -> bool {
        true
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        ArrayLaunch::new(self, launch).until_all_is_done()
    }

    fn work(&self, record: &Record, arguments: &[String]) -> Result<()> {
        supervisor::work(self, record, arguments)
    }

    fn standings(&self, record: &Record) -> Result<BTreeMap<usize, Standing>> {
        let queue = Cluster::queue().map_err(Refusal::into_error)?;
        let mut all = BTreeMap::new();
        for job in array_jobs(record)? {
            all.extend(job.standings(&queue));
        }
        Ok(all)
    }

    fn cancel(&self, record: &Record) -> Result<usize> {
        // First, so that a task which is told to end knows why.
        mark_cancelled(record)?;
        let queue = Cluster::queue().map_err(Refusal::into_error)?;
        let concerned = array_jobs(record)?.iter().map(|job| job.standings(&queue).len()).sum();
        for job in array_jobs(record)? {
            Cluster::cancel(&job.name).map_err(Refusal::into_error)?;
            let renamed = |entry: &Entry| job.is(entry) && entry.name != job.name;
            if let Some(number) = job.number.as_deref().filter(|_| queue.iter().any(renamed)) {
                Cluster::cancel_number(number).map_err(Refusal::into_error)?;
            }
        }
        Ok(concerned)
    }
}
