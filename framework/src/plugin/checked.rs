//! Settings that check themselves while they are read, so that an error names their key and place.

use std::fmt::Display;

use serde::{Deserialize, Deserializer};

/// Reads a setting and refuses it with the rule's message.
///
/// ```
/// # use litesnn_framework::plugin::checked;
/// # use serde::{Deserialize, Deserializer};
/// #[derive(Debug, Deserialize)]
/// struct Prune {
///     #[serde(deserialize_with = "rate")]
///     rate: f64,
/// }
///
/// fn rate<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
///     checked(input, |rate| (0.0..1.0).contains(rate), "the fraction of weights removed, 0 <= rate < 1")
/// }
///
/// let error = serde_json::from_str::<Prune>(r#"{ "rate": 1.5 }"#).unwrap_err();
/// assert!(error.to_string().starts_with("1.5 is not the fraction of weights removed, 0 <= rate < 1"));
/// ```
pub fn checked<'de, D, T>(input: D, holds: impl FnOnce(&T) -> bool, rule: &str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Shown,
{
    let value = T::deserialize(input)?;
    if holds(&value) {
        return Ok(value);
    }
    Err(serde::de::Error::custom(format!("{} is not {rule}", value.shown())))
}

/// How a refused value is written.
pub trait Shown {
    /// The value as in a manifest.
    fn shown(&self) -> String;
}

macro_rules! shown {
    ($($type:ty),*) => { $(impl Shown for $type { fn shown(&self) -> String { self.to_string() } })* };
}
shown!(f64, i64, u32, usize);

impl Shown for String {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl<T: Display> Shown for Vec<T> {
    fn shown(&self) -> String {
        let items: Vec<String> = self.iter().map(T::to_string).collect();
        format!("[{}]", items.join(", "))
    }
}
