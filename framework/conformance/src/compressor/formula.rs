//! The rule about formulas: a GPU's kernels compute what a formula says, and a CPU what the operations
//! do.

use std::collections::BTreeMap;

use tch::{Device, Kind as Element, Tensor};

use super::{Boxed, LAYERS, direction, spread};
use crate::subject::Subject;
use crate::workbench::works;
use crate::{Kept, require};
use litesnn_framework::Error;
use litesnn_framework::ground::{Build, Parameters, Stream};
use litesnn_framework::network::{Formula, LayerSpec, WeightTransform};

/// Zero, with the gradient of `tensor`.
fn straight_through(tensor: &Tensor) -> Tensor {
    tensor - tensor.detach()
}

/// What the documentation of [`Formula`] says that it makes of `weight`.
fn computed(formula: &Formula, weight: &Tensor) -> Tensor {
    match formula {
        Formula::Levels { logits, levels } => {
            let values = weight.detach();
            let deviation = values.to_kind(Element::Double).std(true).to_kind(Element::Float);
            let probabilities = logits.as_ref().map(|logits| logits.softmax(0, Element::Float));
            let forms = levels.iter().zip(0..).map(|(level, number)| {
                let step = &deviation * level.unit;
                let form = ((&values / &step + 0.5).round() - 0.5).clamp(-level.limit, level.limit) * step;
                match &probabilities {
                    Some(probabilities) => form * probabilities.get(number),
                    None => form,
                }
            });
            forms.fold(straight_through(weight), |sum, form| sum + form)
        }
        Formula::Largest { scores, kept, learned } => {
            let flat = scores.detach().flatten(0, -1);
            let (_, order) = flat.abs().sort_stable(true, 0, true);
            let mask = flat.zeros_like().index_fill(0, &order.narrow(0, 0, *kept), 1.0).view_as(scores);
            let mask = match learned {
                true => mask + straight_through(scores) * scores.sign().detach(),
                false => mask,
            };
            weight * mask
        }
    }
}

/// What the operations of a transform make of `weight`.
fn by_operations(transform: &dyn WeightTransform, weight: &Tensor) -> Tensor {
    let value = transform.transform(weight);
    match transform.mask(&value) {
        Some(mask) => value * mask,
        None => value,
    }
}

/// The largest difference of two tensors, over the largest number of the second.
fn apart(got: &Tensor, want: &Tensor) -> f64 {
    let largest = want.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
    (got - want).abs().max().double_value(&[]) / largest
}

pub(super) fn says_the_same(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS {
            let mut parameters = Parameters::default();
            let mut build = Build::new(&mut parameters, 1, Device::Cpu);
            let mut build = build.at("layer");
            let spec = LayerSpec { name: "layer".into(), place: layer.place, population: None };
            let weight = spread(&mut Stream::open(1, "conformance/formula", 0), layer.shape).set_requires_grad(true);
            let transform = works(made.plugin.attach(&spec, &weight, None, &mut build), "it attaches")?;
            let Some(formula) = transform.formula() else { continue };
            let along = direction("conformance/formula", layer.shape);
            let pass = |value: Tensor| {
                let mut before = weight.grad();
                if before.defined() {
                    let _ = before.zero_();
                }
                parameters.zero_grad();
                let loss = (&value * &along).sum(Element::Double);
                works(loss.f_backward().map_err(Error::from), "backward runs")?;
                let trained =
                    parameters.trainable().iter().map(|parameter| (parameter.name.as_str(), &parameter.tensor));
                let gradients = trained.chain([("the weight", &weight)]).map(|(name, tensor)| {
                    let gradient = tensor.grad();
                    (name.to_owned(), if gradient.defined() { gradient.copy() } else { tensor.zeros_like() })
                });
                Ok((value.detach(), gradients.collect::<BTreeMap<String, Tensor>>()))
            };
            let (value, gradients) = pass(by_operations(transform.as_ref(), &weight))?;
            let (formulas_value, formulas_gradients) = pass(computed(&formula, &weight))?;
            let what = format!("with {} on {:?}", made.shown, layer.shape);
            let difference = apart(&formulas_value, &value);
            require(
                difference < 1e-5,
                format!("{what}, its formula gives the values that its operations give"),
                format!("they differ by {difference:.1e} of the largest"),
            )?;
            for (name, gradient) in &gradients {
                let difference = apart(&formulas_gradients[name], gradient);
                require(
                    difference < 1e-4,
                    format!("{what}, its formula gives the gradient to {name} that its operations give"),
                    format!("they differ by {difference:.1e} of the largest"),
                )?;
            }
        }
    }
    Ok(())
}
