//! What the environment of a user and the habits of a site do to the commands of Slurm, with
//! stand-ins for these commands: they queue jobs and never start them.
//!
//! They keep to what Slurm's manuals say of the environment: the variables of `sbatch` go before the
//! lines of a script, and the command line before both; `squeue` and `scancel` filter by theirs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{litesnn, manifest, stderr, stdout, succeed};

const SBATCH: &str = r#"
for word; do script=$word; done
name=$(basename "$script") array=
take() {
    for word; do
        case $word in
            --job-name=*) name=${word#*=} ;;
            --array=*) array=${word#*=} ;;
        esac
    done
}
eval "take $(sed -n 's/^#SBATCH //p' "$script" | tr '\n' ' ')"
name=${SBATCH_JOB_NAME:-$name} array=${SBATCH_ARRAY_INX:-$array}
take "$@"
number=$((1000 + $(wc -l <"$queue")))
echo "$number|$name|$array" >>"$queue"
echo "$number|$name|$array" >>"$here/submissions"
echo 'Welcome to the cluster'
echo "$number;tiny"
"#;

const SQUEUE: &str = r#"
case ${SQUEUE_STATES:-PD} in *PD* | *all*) ;; *) exit ;; esac
while IFS='|' read -r number name array; do
    [ "${SQUEUE_NAMES:-$name}" = "$name" ] || continue
    range=${array%%%*}
    for index in $(seq "${range%-*}" "${range#*-}"); do
        echo "$index|PENDING|Priority|$name|$number"
    done
done <"$queue"
"#;

const SCANCEL: &str = r#"
[ "${SCANCEL_STATE:-PENDING}" = PENDING ] || exit 0
for word; do last=$word; done
grep -v -e "^$last|" -e "|$last|" "$queue" >"$queue.left"
mv "$queue.left" "$queue"
"#;

const SCONTROL: &str = "echo 'MaxArraySize            = 1001'";

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let site = Site { folder };
        fs::create_dir(site.file("bin")).unwrap();
        fs::write(site.file("queue"), "").unwrap();
        for (name, text) in [("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL), ("scontrol", SCONTROL)] {
            let program = site.file("bin").join(name);
            let here = site.folder.path().display();
            fs::write(&program, format!("#!/bin/sh\nhere='{here}' queue='{here}/queue'\n{text}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        site
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lines(&self, name: &str) -> usize {
        fs::read_to_string(self.file(name)).unwrap_or_default().lines().count()
    }

    fn command(&self, word: &str) -> Command {
        let mut command = litesnn();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.file("bin").display()));
        command.arg(word);
        command
    }

    fn run(&self, settings: &[&str]) -> Command {
        let mut command = self.command("run");
        command.arg(manifest("tiny.toml")).arg("--runs").arg(self.file("runs")).args(["--device", "cpu"]);
        for setting in ["time=\"10\"", "memory=\"200M\""].iter().chain(settings) {
            command.arg("--set").arg(format!("launcher.slurm.{setting}"));
        }
        command
    }
}

/// Each of them hid the jobs from the launcher, which submitted the same work again and again, or
/// kept them from being cancelled.
#[test]
fn what_a_user_has_in_the_environment_submits_nothing_twice() {
    for (name, value) in [
        ("SBATCH_JOB_NAME", "thesis"),
        ("SBATCH_ARRAY_INX", "0-3"),
        ("SQUEUE_STATES", "R"),
        ("SQUEUE_NAMES", "thesis"),
        ("SCANCEL_STATE", "RUNNING"),
        ("SLURM_JOB_ID", "7"),
    ] {
        let site = Site::new();
        for _ in 0..3 {
            succeed(site.run(&[]).env(name, value));
        }
        assert_eq!(site.lines("submissions"), 1, "{name}={value}");
        let queued = stdout(&succeed(site.command("runs").arg(site.file("runs")).env(name, value)));
        assert!(queued.contains("queued"), "{name}={value}: {queued}");
        succeed(site.command("cancel").arg("--runs").arg(site.file("runs")).env(name, value));
        assert_eq!(site.lines("queue"), 0, "{name}={value}");
    }
}

#[test]
fn an_option_that_would_lose_jobs_is_refused_where_it_stands() {
    let site = Site::new();
    for (option, why) in [
        ("--job-name=thesis", "the launcher finds its jobs by the name"),
        ("-J thesis", "the launcher finds its jobs by the name"),
        ("--mem=4 G", "has a blank in its value"),
    ] {
        let output = site.run(&[&format!("options=[\"--qos=low\", \"{option}\"]")]).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(why) && told.contains("launcher.slurm.options"), "{told}");
    }
    assert_eq!(site.lines("submissions"), 0);
}
