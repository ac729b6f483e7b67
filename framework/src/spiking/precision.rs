//! The type that convolutions are computed in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type that the convolutions on spikes are computed in; everything else is f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 significant bits.
    #[default]
    F32,
    /// bfloat16: 8 significant bits and the range of f32, sums in f32, results rounded to bfloat16.
    Bf16,
}

impl Precision {
    /// Its name, as manifests and tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Precision::default()
    }
}
