//! The stages of a trial: what an epoch, a time and a checkpoint belong to.

use std::fmt;

use polars::prelude::{Column, PolarsResult};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::parquet::Field;
use crate::{Error, Result};

const RETRAIN: &str = "retrain";
const EVALUATE: &str = "evaluate";

/// A stage of a trial. In tables, logs and checkpoints it is its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The search, or one of its steps, by the name that the optimizer gives it: `search`,
    /// `search-A`.
    Search(String),
    /// Training of the final network: `retrain`.
    Retrain,
    /// Measuring the final network: `evaluate`.
    Evaluate,
}

impl Stage {
    /// A step of the search. It cannot have the name of another stage.
    pub fn step(name: &str) -> Result<Stage> {
        match Stage::named(name) {
            stage @ Stage::Search(_) => Ok(stage),
            other => {
                Err(Error::Record(format!("a step of the search cannot be called `{other}`, as another stage is")))
            }
        }
    }

    /// The stage of a name.
    pub fn named(name: &str) -> Stage {
        match name {
            RETRAIN => Stage::Retrain,
            EVALUATE => Stage::Evaluate,
            _ => Stage::Search(name.to_owned()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Stage::Search(name) => name,
            Stage::Retrain => RETRAIN,
            Stage::Evaluate => EVALUATE,
        }
    }

    /// Whether it belongs to the search: its time is part of the cost of designing.
    pub fn is_search(&self) -> bool {
        matches!(self, Stage::Search(_))
    }
}

impl Default for Stage {
    /// A search without a name: a table of an older schema that has no stages.
    fn default() -> Stage {
        Stage::Search(String::new())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Field for Stage {
    fn column(name: &str, values: Vec<&Self>) -> Column {
        Column::new(name.into(), values.into_iter().map(Stage::name).collect::<Vec<&str>>())
    }

    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        Ok(String::values(column)?.iter().map(|name| Stage::named(name)).collect())
    }

    fn absent() -> Option<Self> {
        Some(Stage::default())
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_str().map(Stage::named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_its_name_and_back() {
        for name in ["search", "search-A", "retrain", "evaluate"] {
            assert_eq!(Stage::named(name).name(), name);
            assert_eq!(serde_json::to_value(Stage::named(name)).unwrap(), name);
        }
        assert!(Stage::named("search-A").is_search() && !Stage::Retrain.is_search());
        assert_eq!(Stage::step("search-A").unwrap(), Stage::Search("search-A".into()));
    }

    #[test]
    fn a_step_of_the_search_is_not_called_as_another_stage() {
        let said = Stage::step("retrain").unwrap_err().to_string();
        assert!(said.contains("`retrain`"), "{said}");
        assert!(Stage::step("evaluate").is_err());
    }
}
