//! The type that convolutions are computed in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::ground::device;
use crate::{Error, Result};

/// The type that the convolutions on spikes are computed in; everything else is f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 significant bits.
    #[default]
    F32,
    /// TF32, on GPUs alone: 11 significant bits and the range of f32, sums and results in f32.
    Tf32,
    /// bfloat16: 8 significant bits and the range of f32, sums in f32, results rounded to bfloat16.
    Bf16,
}

impl Precision {
    /// Its name, as manifests and tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        }
    }

    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Precision::default()
    }

    /// Whether a device computes in it. A CPU would compute in f32 where TF32 is asked for.
    pub fn is_for(self, device: Device) -> bool {
        self != Precision::Tf32 || matches!(device, Device::Cuda(_))
    }

    /// Refuses a device that does not compute in it; `section` is where the setting stands.
    pub fn check(self, section: &str, device: Device) -> Result<()> {
        if self.is_for(device) {
            return Ok(());
        }
        let message = format!("`precision` is `{}`, and {} does not compute in it", self.name(), device::name(device));
        Err(Error::Plugin { kind: "section", name: section.to_owned(), message })
    }

    /// Whether products are rounded less where the weight is divided by its step before; see
    /// [`Precision::convolve`].
    pub fn takes_steps(self) -> bool {
        self != Precision::F32
    }

    /// A factor of the products as libtorch gets it: TF32 is f32 that the GPU rounds.
    pub(super) fn factor(self, tensor: &Tensor) -> Tensor {
        match self {
            Precision::F32 | Precision::Tf32 => tensor.shallow_clone(),
            Precision::Bf16 => tensor.to_kind(Kind::BFloat16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards a trial that another machine runs than the one that planned it.
    #[test]
    fn tf32_is_for_gpus_alone() {
        let error = Precision::Tf32.check("retrain", Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("`retrain`: `precision` is `tf32`, and cpu does not compute in it"), "{error}");
        assert!(Precision::Tf32.check("retrain", Device::Cuda(0)).is_ok());
        assert!([Precision::F32, Precision::Bf16].iter().all(|it| it.is_for(Device::Cpu)));
    }
}
