//! Results go to stdout, everything else to stderr, and colours nowhere that they are not wanted.

#[path = "support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::process::{Command, Stdio};

use support::{litesnn, manifest, run, stderr, stdout, succeed};

#[test]
fn results_are_on_stdout_and_the_rest_is_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let done = succeed(run(&manifest("tiny.toml"), folder.path()).args(["--set", "retrain.epochs=1"]));
    let (results, rest) = (stdout(&done), stderr(&done));
    let lines: Vec<&str> = results.lines().collect();
    assert_eq!(lines.len(), 4, "a header, a rule, two trials: {results}");
    assert!(lines[0].contains("test accuracy") && lines[2].contains("lite-snn seed 0"), "{results}");
    assert!(rest.contains("device: cpu") && rest.contains("search") && rest.contains("litesnn report"), "{rest}");
    let quiet = succeed(run(&manifest("tiny.toml"), folder.path()).args(["--set", "retrain.epochs=1", "--quiet"]));
    assert_eq!(stderr(&quiet), "");
    assert!(stdout(&quiet).contains("finished before"));

    let page = folder.path().join("page");
    let reported = succeed(litesnn().arg("report").arg(folder.path()).arg("--out").arg(&page));
    assert_eq!(stdout(&reported).trim(), page.join("index.html").to_str().unwrap());
    let failed = litesnn().args(["explain", "nowhere.toml"]).output().unwrap();
    assert_eq!((stdout(&failed).as_str(), failed.status.code()), ("", Some(2)));
    assert!(stderr(&failed).contains("nowhere.toml"));
    for line in [["plugins", "joint"], ["doctor", "--device=cpu"], ["completions", "bash"]] {
        let output = succeed(litesnn().args(line));
        assert!(!stdout(&output).is_empty() && stderr(&output).is_empty(), "{line:?}: {}", stderr(&output));
    }
}

/// What a command writes to a terminal, both streams; `None` where this machine has no `script` to
/// make one.
fn on_a_terminal(no_color: bool, arguments: &str) -> Option<String> {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_litesnn"));
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env("LITESNN_CACHE", env!("CARGO_TARGET_TMPDIR"));
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a text sets a colour: `ESC [ ... m` with a number of 30 or more.
fn is_coloured(text: &str) -> bool {
    text.split("\u{1b}[").skip(1).any(|sequence| {
        let numbers = sequence.split_once('m').map_or("", |(numbers, _)| numbers);
        numbers.split(';').any(|number| number.parse::<u32>().is_ok_and(|number| number >= 30))
    })
}

#[test]
fn no_color_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let run = format!(
        "run {} --runs {} --device cpu --threads 1 --set retrain.epochs=1",
        manifest("tiny.toml").display(),
        folder.path().display()
    );
    let plan = format!("plan {}", manifest("tiny.toml").display());
    let wrong = format!("plan {} --set retrain.epochs=many", manifest("tiny.toml").display());
    // With colours first: a terminal is really there, and errors use it.
    let Some(coloured) = on_a_terminal(false, &wrong) else {
        // Not `eprintln!`, which the harness keeps to itself.
        #[allow(clippy::explicit_write)]
        writeln!(io::stderr(), "test skipped: there is no `script` to make a terminal").unwrap();
        return;
    };
    assert!(is_coloured(&coloured), "{coloured:?}");
    for arguments in [&run, &plan, &wrong, "ruin", "--help", "plugins"] {
        let text = on_a_terminal(true, arguments).unwrap();
        assert!(!text.is_empty() && !is_coloured(&text), "{arguments}: {text:?}");
    }
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&succeed(litesnn().args(["completions", shell])));
        for word in ["litesnn", "explain", "completions", "profile", "threads"] {
            assert!(script.contains(word), "{word} is not in the script for {shell}");
        }
    }
    // The script is one that its shell accepts.
    let script = stdout(&succeed(litesnn().args(["completions", "bash"])));
    let check = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(check.status.success(), "{}", stderr(&check));
}
