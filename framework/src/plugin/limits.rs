//! The bounds of a number, as a schema states them and as a person says them.

use std::fmt;

use serde_json::Value;

/// The bounds of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The least value, and whether it is allowed itself.
    pub least: Option<(f64, bool)>,
    /// The largest value, and whether it is allowed itself.
    pub most: Option<(f64, bool)>,
}

impl Limits {
    /// The bounds that a schema states.
    pub fn of(schema: &Value) -> Limits {
        let bound = |inclusive: &str, exclusive: &str| {
            let strict = schema[exclusive].as_f64().map(|value| (value, false));
            strict.or_else(|| schema[inclusive].as_f64().map(|value| (value, true)))
        };
        Limits { least: bound("minimum", "exclusiveMinimum"), most: bound("maximum", "exclusiveMaximum") }
    }

    /// Whether there are any.
    pub fn limit(&self) -> bool {
        self.least.is_some() || self.most.is_some()
    }

    /// Whether a value is within them.
    pub fn contain(&self, value: f64) -> bool {
        let above = self.least.is_none_or(|(least, itself)| value > least || (itself && value == least));
        above && self.most.is_none_or(|(most, itself)| value < most || (itself && value == most))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |bound: Option<(f64, bool)>, strict: &str, inclusive: &str| {
            bound.map(|(value, itself)| if itself { format!("{value}{inclusive}") } else { format!("{strict}{value}") })
        };
        match (words(self.least, "more than ", " or more"), words(self.most, "below ", " or less")) {
            (Some(least), Some(most)) => match (self.least, self.most) {
                (Some((least, true)), Some((most, true))) if least == most => write!(f, "{least}"),
                (Some((least, true)), Some((most, true))) => write!(f, "{least} to {most}"),
                _ => write!(f, "{least} and {most}"),
            },
            (Some(one), None) | (None, Some(one)) => f.write_str(&one),
            (None, None) => f.write_str("any number"),
        }
    }
}
