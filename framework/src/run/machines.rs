//! Finished results of other machines: what a run says of them.
//!
//! Another device, processor, number of threads or version of libtorch rounds otherwise, so that the
//! same work has other bits there. A run keeps a recorded result whatever it was measured on, and
//! says so where it would use something else itself.

use super::Agenda;
use crate::ground::{Machine, counted};
use crate::record::{Event, Observer, Outcome};

/// What the trials of a run use; `None`: that is not known here, or was not asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The device; `cuda` stands for any GPU.
    pub device: Option<String>,
    /// Model of the processor or of the GPU.
    pub hardware: Option<String>,
    /// Threads of libtorch.
    pub threads: Option<i64>,
    /// Version of libtorch.
    pub libtorch: Option<String>,
}

impl From<Machine> for Asked {
    fn from(machine: Machine) -> Asked {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        Asked {
            device: known(machine.device),
            hardware: known(machine.hardware),
            threads: Some(machine.threads),
            libtorch: known(machine.libtorch),
        }
    }
}

impl Asked {
    /// What is asked for and differs from what a result was measured on, in words. What a result of
    /// an older program does not say is taken to be the same.
    fn differences(&self, measured: &Machine) -> Vec<String> {
        // GPUs of one model round alike, whatever their number.
        let kind = |device: &str| device.split(':').next().unwrap_or_default().to_owned();
        let device = self.device.as_deref().map(kind).filter(|asked| *asked != kind(&measured.device));
        let other = |asked: &Option<String>, measured: &str| {
            asked.clone().filter(|asked| !measured.is_empty() && asked != measured)
        };
        let hardware = match &device {
            // Its model is another one anyway.
            Some(_) => None,
            None => other(&self.hardware, &measured.hardware),
        };
        let threads = self.threads.filter(|asked| *asked != measured.threads);
        let threads = threads.and_then(|threads| usize::try_from(threads).ok());
        let libtorch = other(&self.libtorch, &measured.libtorch);
        let all = [
            device.map(|device| format!("device `{device}`")),
            hardware.map(|hardware| format!("`{hardware}`")),
            threads.map(|threads| counted(threads, "thread")),
            libtorch.map(|version| format!("libtorch {version}")),
        ];
        all.into_iter().flatten().collect()
    }
}

fn measured_on(outcome: &Outcome) -> Machine {
    Machine {
        device: outcome.device.clone(),
        hardware: outcome.hardware.clone(),
        threads: outcome.threads,
        libtorch: outcome.libtorch.clone(),
    }
}

impl Agenda<'_> {
    /// Tells of finished results that were measured on something else than the run uses, once for
    /// all trials that differ alike.
    pub fn tell_other_machines(&self, asked: &Asked, observer: &dyn Observer) {
        let mut told: Vec<(Machine, Vec<String>, Vec<&str>)> = Vec::new();
        for task in &self.tasks {
            let Some(machine) = task.result().as_ref().map(measured_on) else { continue };
            let differences = asked.differences(&machine);
            if differences.is_empty() {
                continue;
            }
            match told.iter_mut().find(|(other, same, _)| *other == machine && *same == differences) {
                Some((_, _, titles)) => titles.push(&task.title),
                None => told.push((machine, differences, vec![&task.title])),
            }
        }
        for (machine, differences, titles) in told {
            let (what, was, result, it) = match titles[..] {
                [title] => (title.to_owned(), "was", "its recorded result is", "it"),
                _ => (counted(titles.len(), "finished trial"), "were", "their recorded results are", "them"),
            };
            let differences = differences.join(", ");
            let text = format!(
                "{what} {was} measured on {machine}, and this run uses {differences}: {result} kept; `--again` runs {it} anew"
            );
            observer.event(&Event::Note { trial: None, text: &text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(device: &str, hardware: &str, threads: i64, libtorch: &str) -> Machine {
        Machine { device: device.into(), hardware: hardware.into(), threads, libtorch: libtorch.into() }
    }

    #[test]
    fn only_what_differs_and_is_known_is_named() {
        let asked = Asked::from(machine("cpu", "A", 2, "2.13.0"));
        let differences = |measured: Machine| asked.differences(&measured);
        assert!(differences(machine("cpu", "A", 2, "2.13.0")).is_empty());
        assert_eq!(differences(machine("cpu", "A", 1, "2.13.0")), ["2 threads"]);
        assert_eq!(differences(machine("cpu", "B", 0, "2.12.1")), ["`A`", "2 threads", "libtorch 2.13.0"]);
        assert_eq!(differences(machine("cuda:0", "H", 2, "2.13.0")), ["device `cpu`"]);
        // A record of an older program.
        assert!(differences(machine("cpu", "", 2, "")).is_empty());
        assert!(Asked::default().differences(&machine("cpu", "A", 1, "2.13.0")).is_empty());
        let gpu = Asked { device: Some("cuda".into()), ..Asked::default() };
        assert!(gpu.differences(&machine("cuda:3", "H", 2, "2.13.0")).is_empty());
    }
}
