//! A throw-away Slurm cluster: munged, slurmctld and two slurmd on 127.0.0.1, in a folder of their
//! own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::support::hear_signals;

/// One cluster at a time: its processes share two cores, and its tests wait for times.
static ALONE: Mutex<()> = Mutex::new(());

/// With `JobSubmitPlugins=lua`: the controller takes four tasks, and answers as it does at
/// `MaxSubmitJobs`, which needs a database.
const LIMIT: &str = r#"
local limit, recent = 4, {}
function slurm_job_submit(job, partitions, user)
  local last = string.match(job.array_inx or "", "^0%-(%d+)")
  local own, tasks = (tonumber(last) or 0) + 1, 0
  for _, other in pairs(slurm.jobs) do
    if other.job_state <= 2 then
      tasks = tasks + math.max(other.array_task_cnt or 1, 1)
    end
  end
  -- What came in the last two seconds may be missing there.
  for _, other in ipairs(recent) do
    tasks = tasks + (os.time() - other.second < 2 and other.tasks or 0)
  end
  if tasks + own > limit then
    slurm.log_user("AssocMaxSubmitJobLimit")
    return slurm.ESLURM_ACCOUNTING_POLICY
  end
  table.insert(recent, { second = os.time(), tasks = own })
  return slurm.SUCCESS
end
function slurm_job_modify()
  return slurm.SUCCESS
end
return slurm.SUCCESS
"#;

const DAEMONS: [&str; 3] = ["munged", "slurmctld", "slurmd"];
pub const NODES: [&str; 2] = ["n1", "n2"];

pub struct Cluster {
    folder: PathBuf,
    _folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Starts a cluster, or says why not. `settings` are more lines of its configuration.
pub fn start(settings: &str) -> Option<Cluster> {
    let path = std::env::var("PATH").unwrap_or_default();
    let there = |program: &str| {
        std::env::split_paths(&format!("{path}:/usr/sbin:/sbin")).any(|folder| folder.join(program).is_file())
    };
    let missing: Vec<&str> = DAEMONS.into_iter().chain(["sbatch"]).filter(|program| !there(program)).collect();
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !missing.is_empty() || !root {
        let why = match missing.is_empty() {
            true => "a cluster of its own needs root".to_owned(),
            false => format!("Slurm is not installed: {} missing", missing.join(", ")),
        };
        // Not `eprintln!`, which the harness keeps to itself.
        #[allow(clippy::explicit_write)]
        writeln!(io::stderr(), "test skipped: {why}").unwrap();
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::Builder::new().prefix("slurm-").tempdir().unwrap();
    let cluster = Cluster { folder: folder.path().to_owned(), _folder: folder, _alone: alone };
    cluster.configure(settings);
    cluster.munge();
    cluster.controller();
    for node in NODES {
        cluster.node(node);
    }
    cluster.wait_until("both nodes are idle", || {
        let idle = cluster.slurm("sinfo", &["-h", "-p", "main", "-t", "idle", "-o", "%D"]);
        idle.trim() == "2"
    });
    Some(cluster)
}

impl Cluster {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn configure(&self, settings: &str) {
        use std::os::unix::fs::PermissionsExt;
        for part in ["state", "spool", "log", "munge", "bin"] {
            fs::create_dir_all(self.file(part)).unwrap();
        }
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(self.file("munge"), fs::Permissions::from_mode(0o711)).unwrap();
        let key: Vec<u8> = (0..128u8).map(|byte| byte.wrapping_mul(37)).collect();
        fs::write(self.file("munge/key"), key).unwrap();
        fs::set_permissions(self.file("munge/key"), fs::Permissions::from_mode(0o600)).unwrap();
        // Ports of this process' own, so that another cluster on the machine is no harm.
        let port = 20_000 + std::process::id() % 20_000;
        let (first, last) = (port + 1, port + 2);
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let host = name.trim().split('.').next().unwrap();
        let at = self.folder.display();
        let text = format!(
            "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={port}\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/munge\nAuthInfo=socket={at}/munge/socket,cred_expire=5\nCredType=cred/munge\n\
             StateSaveLocation={at}/state\nSlurmdSpoolDir={at}/spool/%n\n\
             SlurmctldPidFile={at}/slurmctld.pid\nSlurmdPidFile={at}/%n.pid\n\
             SlurmctldLogFile={at}/log/slurmctld\nSlurmdLogFile={at}/log/%n\n\
             SlurmctldParameters=preempt_send_user_signal\nSlurmdParameters=config_overrides\nMpiDefault=none\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
             AccountingStorageType=accounting_storage/none\nJobCompType=jobcomp/none\n\
             SchedulerType=sched/backfill\nSchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core_Memory\n\
             PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\n\
             CommunicationParameters=NoInAddrAny,NoCtldInAddrAny\n\
             MaxJobCount=1000\nMinJobAge=2\nKillWait=3\nSlurmdTimeout=5\nMessageTimeout=3\nReturnToService=2\nJobRequeue=1\n\
             DefMemPerCPU=100\n{settings}\n\
             NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=2 RealMemory=1000 State=UNKNOWN\n\
             PartitionName=main Nodes=ALL Default=YES MaxTime=1-0 PriorityTier=10 GraceTime=20 State=UP\n\
             PartitionName=urgent Nodes=ALL MaxTime=1-0 PriorityTier=100 PreemptMode=OFF State=UP\n"
        );
        fs::write(self.file("slurm.conf"), text).unwrap();
        fs::write(self.file("job_submit.lua"), LIMIT).unwrap();
    }

    fn daemon(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {said}\n{}", self.logs());
    }

    fn munge(&self) {
        let at = |option: &str, name: &str| format!("--{option}={}", self.file(name).display());
        let arguments = [
            at("socket", "munge/socket"),
            at("key-file", "munge/key"),
            at("pid-file", "munged.pid"),
            at("log-file", "log/munged"),
            at("seed-file", "munge/seed"),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.daemon("munged", &[arguments.as_slice(), &["--num-threads=2", "--force"]].concat());
    }

    pub fn controller(&self) {
        self.daemon("slurmctld", &["-f", self.file("slurm.conf").to_str().unwrap()]);
    }

    pub fn node(&self, name: &str) {
        self.daemon("slurmd", &["-f", self.file("slurm.conf").to_str().unwrap(), "-N", name]);
    }

    /// Kills a daemon: `slurmctld` or a node.
    pub fn kill(&self, daemon: &str) {
        let file = self.file(&format!("{daemon}.pid"));
        let number = fs::read_to_string(&file).unwrap();
        assert!(Command::new("kill").args(["-9", number.trim()]).status().unwrap().success());
        wait_for_end(number.trim());
        let _ = fs::remove_file(file);
    }

    /// A command that speaks to this cluster.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.dress(&mut command);
        hear_signals(&mut command);
        command.stdin(Stdio::null());
        command
    }

    pub fn dress(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}:/usr/sbin:/sbin", self.file("bin").display());
        command.env("PATH", path).env("SLURM_CONF", self.file("slurm.conf"));
    }

    /// Puts a script before a command of Slurm, for the launcher and for the tasks. `$real` is the
    /// command, `$at` a folder to note something in, and `$call` counts the calls.
    pub fn replace(&self, program: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::var("PATH").unwrap_or_default();
        let real = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file()).unwrap();
        let at = self.file("bin");
        let text = format!(
            "#!/bin/sh\nreal={}\nat={}\necho \"$*\" >> $at/{program}.calls\ncall=$(wc -l < $at/{program}.calls)\n{script}\n",
            real.display(),
            at.display()
        );
        fs::write(at.join(program), text).unwrap();
        fs::set_permissions(at.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Lines that such a script has noted.
    pub fn noted(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file("bin").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What a command of Slurm says.
    pub fn slurm(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Tasks in the queue: index in the array and node by state.
    pub fn queue(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let mut all: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for line in self.slurm("squeue", &["-h", "-r", "-o", "%T %K %N %j"]).lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            if fields.len() > 3 && fields[3] != "urgent" {
                all.entry(fields[0].to_owned()).or_default().push((fields[1].to_owned(), fields[2].to_owned()));
            }
        }
        all
    }

    /// Processes that work on trials, on one node or on all.
    pub fn trials(&self, node: &str) -> Vec<String> {
        let has = |number: &str, file: &str, words: &str| {
            fs::read(Path::new("/proc").join(number).join(file))
                .is_ok_and(|text| String::from_utf8_lossy(&text).contains(words))
        };
        let mut all = processes_of(&self.folder);
        all.retain(|number| {
            has(number, "cmdline", "\0trial\0") && has(number, "environ", &format!("SLURMD_NODENAME={node}"))
        });
        all
    }

    /// Waits until the controller has written its queue to disk: what changes between that and its
    /// end by signal 9 it forgets.
    pub fn wait_until_saved(&self) {
        let saved = || fs::metadata(self.file("state/job_state")).and_then(|file| file.modified()).ok();
        let before = saved();
        self.wait_until("the controller has saved its queue", || saved() != before);
    }

    pub fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < Duration::from_secs(60), "not after a minute: {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last lines of the daemons' logs.
    pub fn logs(&self) -> String {
        let queue = self.slurm("squeue", &["-r", "-o", "%A %K %T %N %j %r"]);
        let logs = ["slurmctld", "n1", "n2"].map(|name| {
            let text = fs::read_to_string(self.file("log").join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("-- {name}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
        });
        format!("{queue}\n{}", logs.join("\n"))
    }
}

fn wait_for_end(process: &str) {
    // A dead process that nobody waits for stays as a zombie.
    let alive =
        || fs::read_to_string(format!("/proc/{process}/status")).is_ok_and(|status| !status.contains("State:\tZ"));
    for _ in 0..100 {
        if !alive() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for job in processes_of(&self.folder) {
            let _ = Command::new("kill").args(["-9", &job]).stderr(Stdio::null()).status();
        }
    }
}

/// Processes whose environment or command line names the cluster's folder: its daemons and all that
/// they have started.
fn processes_of(folder: &Path) -> Vec<String> {
    let name = folder.to_str().unwrap().as_bytes();
    let names = |file: PathBuf| fs::read(file).is_ok_and(|text| text.windows(name.len()).any(|part| part == name));
    let own = std::process::id().to_string();
    let numbers =
        fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let numbers = numbers.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()) && *number != own);
    numbers
        .filter(|number| {
            let at = Path::new("/proc").join(number);
            names(at.join("environ")) || names(at.join("cmdline"))
        })
        .collect()
}
