//! What a part found.

use litesnn_framework::ground::kernel;
use serde_json::{Map, Value, json};

use super::Setting;
use crate::arguments::GpuPart;

/// Figures, and what is wrong.
#[derive(Debug, Default)]
pub struct Finding {
    figures: Map<String, Value>,
    wrong: Vec<String>,
    notes: Vec<String>,
    /// Why the part cannot say whether all is right.
    open: bool,
}

/// The most faults that a line names; it counts the others.
const NAMED: usize = 5;

impl Finding {
    /// A part that did not come to its end.
    pub fn wrong(message: &str) -> Finding {
        // A message of libtorch goes on with where in libtorch it was thrown.
        let whole = message.replace("\\n", "\n");
        let text = whole.lines().take_while(|line| !line.contains("frame #")).collect::<Vec<_>>().join(" ");
        Finding { wrong: vec![text], ..Finding::default() }
    }

    /// Adds a figure.
    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// Something has to be right; `what` says what is wrong.
    pub fn expect(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.wrong.push(what());
        }
    }

    /// Something that a reader should know and that is not wrong.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Whether all is right cannot be said here.
    pub fn leave_open(&mut self, why: impl Into<String>) {
        self.open = true;
        self.note(why);
    }

    /// Without hardware, figures of speed mean nothing.
    pub fn of_speed(&mut self, setting: &Setting) {
        if !setting.is_hardware() {
            let name = if setting.model.is_empty() { "a device without a driver" } else { &setting.model };
            self.leave_open(format!("needs a GPU: the times are those of {name}, and mean nothing"));
        }
    }

    /// Without kernels, what is right is right of tensor operations.
    pub fn of_kernels(&mut self, setting: &Setting) {
        let why = kernel::missing(setting.device);
        self.figure("kernels", why.is_none());
        if let Some(why) = why {
            self.leave_open(format!("no kernel has run, and tensor operations were checked: {why}"));
        }
    }

    /// The line of JSON.
    pub fn line(self, part: GpuPart, seconds: f64, setting: &Setting) -> Value {
        let ok = match (self.wrong.is_empty(), self.open) {
            (false, _) => Some(false),
            (true, true) => None,
            (true, false) => Some(true),
        };
        let mut said: Vec<String> = self.wrong.iter().take(NAMED).cloned().collect();
        if self.wrong.len() > NAMED {
            said.push(format!("and {} more", self.wrong.len() - NAMED));
        }
        said.extend(self.notes);
        let mut line = json!({ "part": part.name(), "ok": ok, "seconds": seconds, "gpu": setting.model });
        if let Some(object) = line.as_object_mut() {
            object.extend(self.figures);
            object.insert("message".to_owned(), said.join("; ").into());
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(model: &str) -> Setting {
        Setting { device: tch::Device::Cuda(0), model: model.to_owned(), quick: true }
    }

    #[test]
    fn what_is_wrong_outweighs_what_cannot_be_told() {
        let mut finding = Finding::default();
        finding.leave_open("no clock");
        assert_eq!(finding.line(GpuPart::Ceilings, 0.0, &setting("H100"))["ok"], Value::Null);
        let mut finding = Finding::default();
        finding.leave_open("no clock");
        finding.expect(false, || "2 and not 1".to_owned());
        let line = finding.line(GpuPart::Ceilings, 0.0, &setting("H100"));
        assert_eq!(line["ok"], false);
        assert_eq!(line["message"], "2 and not 1; no clock");
    }

    #[test]
    fn times_of_a_pretended_device_are_not_told_as_right() {
        for (model, ok) in [("NVIDIA H100", json!(true)), ("pretended GPU", Value::Null), ("", Value::Null)] {
            let (mut finding, setting) = (Finding::default(), setting(model));
            finding.of_speed(&setting);
            assert_eq!(finding.line(GpuPart::Ceilings, 0.0, &setting)["ok"], ok, "{model}");
        }
    }

    #[test]
    fn a_panic_of_libtorch_is_one_line_without_its_frames() {
        let line = Finding::wrong("Torch(\"no kernel\\nException raised\\nframe #0: x\")").line(
            GpuPart::Nodes,
            0.0,
            &setting(""),
        );
        assert_eq!(line["message"], "Torch(\"no kernel Exception raised");
    }
}
