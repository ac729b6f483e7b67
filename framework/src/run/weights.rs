//! The distribution of the searched weights, for the record: what they are, what the compressors
//! make of them, what is removed.

use tch::{Device, Kind, Tensor};

use crate::network::{Network, SynapseLayer, Techniques};
use crate::record::WeightBin;

/// Bins reach from `-REACH` to `REACH` standard deviations.
const REACH: f64 = 5.0;
/// Bins of one standard deviation.
const BINS: f64 = 20.0;

/// The bins of every searched layer of a network at the end of a search, in units of the layer's
/// own standard deviation.
pub(super) fn weight_bins(network: &dyn Network) -> Vec<WeightBin> {
    let layers = network.layers();
    tch::no_grad(|| layers.iter().filter(|layer| layer.searched).flat_map(of_layer).collect())
}

fn of_layer(layer: &SynapseLayer) -> Vec<WeightBin> {
    let weight = layer.weight.raw();
    let sigma = weight.std(true).double_value(&[]);
    if !(sigma > 0.0 && sigma.is_finite()) {
        return Vec::new();
    }
    let used = layer.weight.value(Techniques::ALL);
    let removed = numbers(&used.eq(0.0).to_kind(Kind::Double));
    let mut forms = vec![("weight".to_owned(), weight.shallow_clone())];
    forms.extend(layer.weight.forms());
    forms.push(("used".to_owned(), used));
    let mut rows = Vec::new();
    for (form, values) in forms {
        let count = (2.0 * REACH * BINS) as usize;
        let mut bins = vec![(0i64, 0i64); count];
        for (value, removed) in numbers(&values).into_iter().zip(&removed) {
            let index = ((value / sigma + REACH) * BINS).floor().clamp(0.0, count as f64 - 1.0);
            let bin = &mut bins[index as usize];
            bin.0 += 1;
            bin.1 += *removed as i64;
        }
        rows.extend(bins.into_iter().enumerate().filter(|(_, (count, _))| *count > 0).map(
            |(index, (count, removed))| {
                let edge = |index: usize| index as f64 / BINS - REACH;
                let layer = layer.shape.name.clone();
                WeightBin { layer, form: form.clone(), sigma, low: edge(index), high: edge(index + 1), count, removed }
            },
        ));
    }
    rows
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
    Vec::try_from(flat).unwrap_or_default()
}
