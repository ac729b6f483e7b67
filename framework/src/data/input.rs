//! What makes the network's input of something that a user has, such as a sound: the key `input` of
//! a packed file, so that the file alone is enough.
//!
//! ```text
//! {"dataset": {NAME: settings}, "version": of the plugin, "measured": numbers of the training samples}
//! ```
//!
//! `settings` are those of the trial's manifest with every default, but without `root`, which says
//! where data lie on one machine. `measured` is [`Splits::measured`].

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dataset::{Dataset, Heard, Splits};
use crate::Result;
use crate::plugin::{Kind, find};

/// The data set that a network was trained on, as far as inputs depend on it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The data set with its settings.
    pub dataset: Box<dyn Dataset>,
    version: u32,
    /// What it measured on the training samples.
    pub measured: Value,
}

impl Input {
    /// The text for a packed file; none where the data set makes inputs of its own samples alone.
    pub fn text(dataset: &dyn Dataset, splits: &Splits) -> Result<Option<String>> {
        let Some(measured) = &splits.measured else { return Ok(None) };
        let unwritten = |error: serde_json::Error| crate::Error::Record(error.to_string());
        let name = dataset.typetag_name();
        let mut settings = serde_json::to_value(dataset).map_err(unwritten)?;
        if let Some(settings) = settings.get_mut(name).and_then(Value::as_object_mut) {
            settings.remove("root");
        }
        let version = find(Kind::Dataset, name).map_or(0, |plugin| plugin.version);
        Ok(Some(json!({ "dataset": settings, "version": version, "measured": measured }).to_string()))
    }

    /// What a packed file says.
    ///
    /// # Errors
    ///
    /// Why this program makes no input, as the rest of a sentence that begins with the file: a data set
    /// that it does not know or knows in another version, settings that the data set does not have.
    pub fn parse(text: &str) -> Result<Input, String> {
        let unread = |error: serde_json::Error| format!("does not say what makes its inputs: {error}");
        let told: Value = serde_json::from_str(text).map_err(unread)?;
        let (name, settings) = told["dataset"]
            .as_object()
            .and_then(|table| table.iter().next())
            .ok_or("does not say which data set makes its inputs")?;
        let plugin = find(Kind::Dataset, name)
            .ok_or_else(|| format!("has inputs of the data set `{name}`, which this program does not have"))?;
        if let Some((path, why)) = plugin.out_of_range(settings).first() {
            return Err(format!("has inputs of the data set `{name}`, whose `{}` {why}", path.join(".")));
        }
        let input: Input = serde_json::from_value(told).map_err(unread)?;
        match input.version == plugin.version {
            true => Ok(input),
            false => Err(format!(
                "has inputs of version {} of the data set `{}`, and this program has version {}",
                input.version, plugin.name, plugin.version
            )),
        }
    }

    /// Whether the same was measured on other data, as far as inputs depend on it.
    pub fn fits(&self, splits: &Splits) -> bool {
        // From its text, as the file's: a number that is read again can differ in its last bit.
        let again = |measured: &Value| serde_json::from_str::<Value>(&measured.to_string()).ok();
        splits.measured.as_ref().and_then(again).is_some_and(|measured| measured == self.measured)
    }

    /// The network's input of a sound.
    pub fn of_sound(&self, clip: &Path) -> Result<Heard> {
        self.dataset.hear(clip, &self.measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_that_nobody_wrote_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", "does not say what makes its inputs: EOF"),
            ("[]", "does not say which data set makes its inputs"),
            (r#"{"dataset":{}}"#, "does not say which data set makes its inputs"),
            (r#"{"dataset":{"nobodys":{}},"version":1,"measured":{}}"#, "data set `nobodys`, which this program"),
        ] {
            let error = Input::parse(text).unwrap_err();
            assert!(error.contains(expected), "`{expected}` is not in: {error}");
        }
    }
}
