//! Compressed weights on the device, beside the CPU's: every compressor that is linked in with the
//! settings of its examples, and the paper's stack of compressors. Where kernels know what the
//! compressors do, f64 by their formulas stands beside both.

use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::{
    CompressedWeight, Compression, Compressor, Formula, LayerSpec, NamedCompressors, Pass, Place, Techniques,
};
use litesnn_framework::plugin::{Kind as PluginKind, registered};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::compare::{distance, poison, share_that_differs};
use super::subject::{Scale, Subject};
use super::{Finding, Setting, reference};
use crate::exit::{Exit, Failure};
use litesnn_framework::benchmark::Work;

/// Weights of layers that read the same input, of odd sizes: `[out, in, kh, kw]`.
const STACK: [[i64; 4]; 4] = [[12, 7, 3, 3], [5, 7, 3, 3], [1, 7, 3, 3], [33, 7, 3, 3]];
const LARGE: [[i64; 4]; 2] = [[96, 48, 3, 3], [48, 48, 3, 3]];

pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    // Against the CPU, and against f64.
    let (mut cases, mut apart) = ([0; 2], [0f64; 2]);
    let mut see = |name: &str, compressors: &NamedCompressors, finding: &mut Finding| -> Result<(), Failure> {
        let sizes: &[&[[i64; 4]]] = if setting.quick { &[&STACK] } else { &[&STACK, &LARGE] };
        for shapes in sizes {
            // Ties among magnitudes: which of equal ones stays is promised, too.
            for ties in [false, true] {
                let run = |by| run(compressors, shapes, ties, by);
                let Some(got) = run(By::Device(setting.device))? else { continue };
                let references = [run(By::Device(Device::Cpu))?, run(By::Formulas)?];
                for (at, (want, of)) in references.iter().zip(["the CPU", "f64"]).enumerate() {
                    let Some(want) = want else { continue };
                    for ((tensor, got), (_, want)) in got.iter().zip(want) {
                        let zeros = share_that_differs(&got.eq(0.0), &want.eq(0.0));
                        let distance = distance(got, want);
                        apart[at] = apart[at].max(distance);
                        finding.expect(distance < 1e-5, || {
                            format!("{name}: {tensor} is {distance:.1e} from that of {of}")
                        });
                        finding.expect(zeros < 1e-4, || {
                            format!("{name}: {zeros:.1e} of the zeros of {tensor} are not those of {of}")
                        });
                    }
                    finding.expect(got.len() == want.len(), || format!("{name}: other gradients than those of {of}"));
                    cases[at] += 1;
                }
            }
        }
        Ok(())
    };
    let subject = Subject::new(Scale::Paper, Work::SearchStep, &[])?;
    see("the paper's stack", &subject.trial().manifest.compressors(), &mut finding)?;
    for plugin in registered().into_iter().filter(|plugin| plugin.kind == PluginKind::Compressor) {
        for example in plugin.examples {
            let compressors = of_example(example)?;
            let named: Vec<(&str, &dyn Compressor)> =
                compressors.iter().map(|one| (one.typetag_name(), one.as_ref())).collect();
            see(plugin.name, &named, &mut finding)?;
        }
    }
    finding.of_kernels(setting);
    finding.expect(cases[1] > 0, || "nothing was compared with f64".to_owned());
    finding.figure("cases", cases[0]);
    finding.figure("cases_with_f64", cases[1]);
    finding.figure("largest_distance_from", json!({ "cpu": apart[0], "f64": apart[1] }));
    Ok(finding)
}

/// The compressors of a plugin's example, `[[compressor]]` sections of a manifest.
fn of_example(example: &str) -> Result<Vec<Box<dyn Compressor>>, Failure> {
    #[derive(serde::Deserialize)]
    struct Sections {
        compressor: Vec<Box<dyn Compressor>>,
    }
    let fault = |error: toml_edit::de::Error| Failure::new(Exit::Failed, format!("{example}: {error}"), None);
    Ok(toml_edit::de::from_str::<Sections>(example).map_err(fault)?.compressor)
}

/// The weights of layers, and their tensors.
struct Layers {
    weights: Vec<CompressedWeight>,
    parameters: Parameters,
}

impl Layers {
    fn new(compressors: &NamedCompressors, shapes: &[[i64; 4]], device: Device) -> Result<Layers, Failure> {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, device);
        let mut weights = Vec::new();
        for (index, shape) in shapes.iter().enumerate() {
            let layer = LayerSpec { name: format!("layer{index}"), place: Place::Cell(0), population: None };
            let init = |stream: &mut Stream| stream.normal_of(shape, 0.1);
            let compressors = compressors.iter().map(|(name, one)| (*name, *one));
            let mut build = build.at(&layer.name);
            weights.push(CompressedWeight::new(layer, init, compressors, &Compression::new(), true, &mut build)?);
        }
        weights.iter().for_each(|weight| weight.switch_on(Techniques::ALL));
        Ok(Layers { weights, parameters })
    }
}

/// What computes weights.
#[derive(Clone, Copy)]
enum By {
    /// What layers use, on a device.
    Device(Device),
    /// f64 on the CPU, where every compressor has a formula.
    Formulas,
}

/// The stack of weights and all gradients to it, by name; `None` where it has no formula.
fn run(
    compressors: &NamedCompressors,
    shapes: &[[i64; 4]],
    ties: bool,
    by: By,
) -> Result<Option<Vec<(String, Tensor)>>, Failure> {
    let (device, kind) = match by {
        By::Device(device) => (device, Kind::Float),
        By::Formulas => (Device::Cpu, Kind::Double),
    };
    // What a layer begins with is computed, too, and may be rounded otherwise: all begin with the
    // CPU's.
    let (given, Layers { weights, parameters }) =
        (Layers::new(compressors, shapes, Device::Cpu)?, Layers::new(compressors, shapes, device)?);
    if ties {
        tch::no_grad(|| {
            for parameter in given.parameters.of(&[Role::Weight, Role::Score]) {
                let coarse = (&parameter.tensor * 16.0).round() / 16.0;
                parameter.tensor.shallow_clone().copy_(&coarse);
            }
        });
    }
    let copied = parameters.copy_from(&given.parameters);
    copied.map_err(|message| Failure::new(Exit::Failed, message, None))?;
    if device != Device::Cpu {
        poison(device);
    }
    let pass = Pass { training: true, ..Pass::new(1) };
    let (stack, alone) = match by {
        By::Device(_) => (pass.stacked_weights(&weights.iter().collect::<Vec<_>>()), pass.weight(&weights[0])),
        By::Formulas => {
            let exact = |weight: &CompressedWeight| {
                let formulas: Option<Vec<Formula>> = weight.formulas(Techniques::ALL).collect();
                formulas.map(|formulas| reference::compressed(weight.raw(), &formulas))
            };
            let Some(all) = weights.iter().map(exact).collect::<Option<Vec<Tensor>>>() else { return Ok(None) };
            (Tensor::cat(&all, 0), all[0].shallow_clone())
        }
    };
    // An upstream gradient that is another one for each value.
    let upstream = |tensor: &Tensor| {
        let count = tensor.numel() as i64;
        (Tensor::arange(count, (Kind::Float, device)) * 0.37).sin().view_as(tensor)
    };
    ((&stack * upstream(&stack)).sum(kind) + (&alone * upstream(&alone)).sum(kind)).backward();
    let mut all = vec![("the stack".to_owned(), stack.detach().contiguous()), ("a weight".to_owned(), alone.detach())];
    let trained = parameters.trainable().iter().filter(|parameter| parameter.tensor.grad().defined());
    all.extend(trained.map(|parameter| (format!("the gradient to {}", parameter.name), parameter.tensor.grad())));
    Ok(Some(all))
}
