//! What the pretended device was asked for, as its report tells.

#![allow(dead_code)] // Each test program uses a part of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// What happened between two synchronisations, or in a whole run.
#[derive(Debug, Clone)]
pub struct Counts(Value);

/// The report of a process.
#[derive(Debug, Clone)]
pub struct Report(Value);

impl Report {
    /// Reads a report.
    pub fn read(file: &Path) -> Report {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Report(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// The whole run.
    pub fn all(&self) -> Counts {
        Counts(self.0["all"].clone())
    }

    /// A steady step of `litesnn bench`. It synchronises after each step, after the step's
    /// convolutions alone, and after the same in the default layout: the last step comes before
    /// the last three.
    pub fn steady_step(&self) -> Counts {
        let intervals = self.0["intervals"].as_array().unwrap();
        Counts(intervals[intervals.len() - 3].clone())
    }

    /// Between the last two synchronisations.
    pub fn last(&self) -> Counts {
        Counts(self.0["intervals"].as_array().unwrap().last().unwrap().clone())
    }

    /// The most that tensors held at once.
    pub fn peak_bytes(&self) -> u64 {
        self.0["peak_bytes"].as_u64().unwrap()
    }
}

impl Counts {
    /// What the device had to do: launches and copies.
    pub fn operations(&self) -> u64 {
        self.0["operations"].as_u64().unwrap()
    }

    /// How often the host stood still.
    pub fn waits(&self) -> u64 {
        self.0["waits"].as_u64().unwrap()
    }

    /// Operations by their name.
    pub fn operators(&self) -> BTreeMap<String, u64> {
        self.map("operators")
    }

    /// Why the host stood still.
    pub fn waited_for(&self) -> BTreeMap<String, u64> {
        self.map("waited_for")
    }

    /// Operators whose results may differ from one call to the next.
    pub fn varying(&self) -> BTreeMap<String, u64> {
        self.map("varying")
    }

    fn map(&self, key: &str) -> BTreeMap<String, u64> {
        serde_json::from_value(self.0[key].clone()).unwrap()
    }

    /// The places of what the host waited for and of what varies, with the functions that led
    /// there, the most frequent first, a line each.
    pub fn places(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut places: Vec<(u64, String)> = self.0["places"]
            .as_array()
            .unwrap()
            .iter()
            .map(|place| (place, text(&place["what"])))
            .filter(|(_, what)| what.starts_with("wait: ") || what.starts_with("varies: "))
            .map(|(place, what)| {
                let at: Vec<String> = place["at"].as_array().unwrap().iter().map(text).collect();
                (place["count"].as_u64().unwrap(), format!("{what} in {}", at.join(" < ")))
            })
            .collect();
        places.sort_by(|a, b| b.cmp(a));
        places.iter().map(|(count, words)| format!("{count:6} {words}\n")).collect()
    }

    /// The most frequent operators, a line each.
    pub fn most(&self, count: usize) -> String {
        let mut all: Vec<(u64, String)> = self.operators().into_iter().map(|(name, count)| (count, name)).collect();
        all.sort_by(|a, b| b.cmp(a));
        all.iter().take(count).map(|(count, name)| format!("{count:6} {name}\n")).collect()
    }
}
