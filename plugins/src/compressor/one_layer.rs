//! One layer of known weights under one compressor, for the tests of this room.

use litesnn_framework::ground::{Build, Parameters};
use litesnn_framework::network::{CompressedWeight, Compressor, LayerSpec, Place};
use tch::{Device, Tensor};

/// The layer, searched, with `weight` as its initial weight.
pub fn compressed(name: &str, compressor: &dyn Compressor, weight: Tensor) -> CompressedWeight {
    let layer = LayerSpec { name: "a".into(), place: Place::Cell(0), population: None };
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 0, Device::Cpu);
    let (stack, nothing_decided) = ([(name, compressor)], Default::default());
    CompressedWeight::new(layer, |_| weight, stack, &nothing_decided, true, &mut build).unwrap()
}

/// The numbers of a tensor, in order.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().flatten(0, -1)).unwrap()
}
