//! A part in a process of its own.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::seconds;
use crate::arguments::{GpuCheck, GpuPart};

/// A part that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(300);

/// The line of a part. A process that ends without one has a line that says how it ended.
pub fn run(part: GpuPart, options: &GpuCheck) -> Value {
    let begin = Instant::now();
    let failed =
        |message: String| json!({ "part": part.name(), "ok": false, "seconds": seconds(begin), "message": message });
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(error.to_string()),
    };
    let mut command = Command::new(program);
    command.args(["gpu-check", "--here", "--part", part.name(), "--device", &options.device]);
    if options.quick {
        command.arg("--quick");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(error.to_string()),
    };
    // Both pipes are read while the process works: a full one would stop it.
    let readers = [child.stdout.take().map(reader), child.stderr.take().map(reader)];
    let ended = wait(&mut child, begin);
    let [printed, said] = readers.map(|reader| reader.and_then(|reader| reader.join().ok()).unwrap_or_default());
    let mut lines = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    if let Some(line) = lines.find(|line| line["part"] == part.name()) {
        return line;
    }
    let last: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(6).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join(" ");
    failed(format!("{}: {last}", how(ended)))
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the process; `None` where it took too long and was ended.
fn wait(child: &mut Child, begin: Instant) -> Option<ExitStatus> {
    while begin.elapsed() < LIMIT {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(10)),
            Ok(ended) => return ended,
            Err(_) => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn how(ended: Option<ExitStatus>) -> String {
    match ended {
        None => format!("it took longer than {} s", LIMIT.as_secs()),
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal} ended its process"),
            (None, code) => format!("its process ended with exit code {}", code.unwrap_or(-1)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_by_its_signal_or_its_code() {
        assert_eq!(how(Some(ExitStatus::from_raw(11))), "signal 11 ended its process");
        assert_eq!(how(Some(ExitStatus::from_raw(2 << 8))), "its process ended with exit code 2");
        assert!(how(None).contains("longer than"));
    }
}
