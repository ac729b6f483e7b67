//! Nodes on the device in every form: the CPU's kernel and f64 by tensor operations beside them.

use std::rc::Rc;

use litesnn_framework::ground::{Build, Parameters, Stream};
use litesnn_framework::spiking::{
    BatchNorm, Convolved, Currents, Drives, Lif, Neurons, Statistics, Term, channels_last, node_spikes,
};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::compare::{distance, poison, share_that_differs};
use super::{Finding, Setting, reference};
use crate::exit::Failure;

/// T, B, width of a part, H, W: odd widths, tails of vectors and of blocks, one timestep, ten.
const SHAPES: [[i64; 5]; 6] =
    [[3, 2, 13, 5, 4], [1, 3, 1, 3, 3], [2, 1, 5, 7, 1], [6, 2, 12, 8, 8], [5, 3, 48, 6, 5], [10, 2, 33, 4, 3]];
/// Share of the spikes that may differ where sums are rounded otherwise.
const FLIPPED: f64 = 2e-3;
const ROUNDED: &str = ", rounded to bf16";

pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let mut cases = 0;
    // From the CPU's kernel, and from f64.
    let (mut flipped, mut apart) = ([0f64; 2], [0f64; 2]);
    for shape in SHAPES.into_iter().take(if setting.quick { 4 } else { SHAPES.len() }) {
        for form in forms() {
            let case = Case { shape, form };
            let got = case.run(setting.device);
            let references = [case.run(Device::Cpu), case.exact()];
            for (at, (want, name)) in references.iter().zip(["the CPU", "f64"]).enumerate() {
                let different = share_that_differs(&got.spikes, &want.spikes);
                flipped[at] = flipped[at].max(different);
                finding.expect(different < FLIPPED, || {
                    format!("{case}: {different:.1e} of the spikes are not those of {name}")
                });
                // A spike that differs changes the gradients of its neuron, and of what it drives.
                let limit: f64 = if different == 0.0 { 1e-4 } else { 0.2 };
                for ((tensor, got), (_, want)) in got.tensors.iter().zip(&want.tensors) {
                    let distance = distance(got, want);
                    // A gradient to maps in bf16 is rounded to it.
                    if tensor.ends_with(ROUNDED) {
                        finding.expect(distance < limit.max(4e-3), || {
                            format!("{case}: {tensor} is {distance:.1e} from that of {name}")
                        });
                        continue;
                    }
                    if different == 0.0 {
                        apart[at] = apart[at].max(distance);
                    }
                    finding
                        .expect(distance < limit, || format!("{case}: {tensor} is {distance:.1e} from that of {name}"));
                }
            }
            let again = case.run(setting.device);
            let same = got.tensors.iter().zip(&again.tensors).all(|((_, a), (_, b))| a.equal(b));
            finding.expect(same && got.spikes.equal(&again.spikes), || format!("{case}: not the same bits twice"));
            cases += 1;
        }
    }
    finding.of_kernels(setting);
    finding.figure("cases", cases);
    finding.figure("spikes_not_of", json!({ "cpu": flipped[0], "f64": flipped[1] }));
    finding.figure("largest_distance_from", json!({ "cpu": apart[0], "f64": apart[1] }));
    Ok(finding)
}

/// How a node is made.
#[derive(Debug, Clone, Copy)]
struct Form {
    statistics: Statistics,
    threshold: f64,
    /// One of the two convolutions has the same maps at every timestep.
    constant: bool,
    /// Candidates have neurons of their own.
    spiking: bool,
    training: bool,
    scaled: bool,
    handed: Handed,
}

/// How the outputs of the two convolutions arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Handed {
    InF32,
    /// In bf16 and over steps: powers of two, by which nothing is rounded.
    OverSteps,
    /// The first in bf16 and over its steps, the second in f32.
    Mixed,
}

impl Handed {
    fn is_over_steps(self, which: usize) -> bool {
        self == Handed::OverSteps || self == Handed::Mixed && which == 0
    }
}

fn steps_of(channels: i64) -> Tensor {
    Tensor::from_slice(&(0..channels).map(|channel| ((channel % 5 - 2) as f32).exp2()).collect::<Vec<_>>())
}

fn forms() -> Vec<Form> {
    let kinds = [(Statistics::AllTimesteps, 0.5), (Statistics::EachTimestep, 0.5), (Statistics::EachTimestep, 1.0)];
    let ways = [
        (false, true, true, true),
        (false, false, true, true),
        (false, false, true, false),
        (false, true, false, true),
        (true, true, true, true),
        (true, false, true, true),
        (true, false, false, false),
    ];
    let [over_steps, mixed] = [(Handed::OverSteps, kinds[1]), (Handed::Mixed, kinds[0])];
    let handed = kinds.map(|kind| (Handed::InF32, kind)).into_iter().chain([over_steps, mixed]);
    let all = handed.flat_map(|of| ways.map(|way| (of, way)));
    all.map(|((handed, (statistics, threshold)), (constant, spiking, training, scaled))| Form {
        statistics,
        threshold,
        constant,
        spiking,
        training,
        scaled,
        handed,
    })
    .collect()
}

struct Case {
    shape: [i64; 5],
    form: Form,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "T, B, C, H, W = {:?}, {:?}", self.shape, self.form)
    }
}

/// What a case made: spikes, and by name gradients, rates and running statistics.
struct Outcome {
    spikes: Tensor,
    tensors: Vec<(String, Tensor)>,
}

/// The numbers that a case begins with, the same for all that compute it.
struct Numbers {
    /// Outputs of two convolutions, of three and of two parts: their currents.
    x: [Tensor; 2],
    /// gamma and beta of each.
    norms: [[Tensor; 2]; 2],
    alpha: Tensor,
    upstream: Tensor,
}

/// The terms of two nodes, as (convolution, part, scale); the second one reads the first, too.
const FIRST: [(usize, i64, i64); 3] = [(0, 0, 0), (0, 1, 1), (1, 1, 2)];
const SECOND: [(usize, i64, i64); 2] = [(1, 0, 4), (0, 2, 5)];
const SKIP: i64 = 3;
const RUNNING: f64 = 0.4;

impl Case {
    fn numbers(&self) -> Numbers {
        let [steps, batch, width, height, across] = self.shape;
        let mut stream = Stream::open(3, "gpu-check/nodes", 0);
        let parts = [3 * width, 2 * width];
        let x = [0, 1].map(|which| {
            let rows = if which == 1 && self.form.constant { batch } else { steps * batch };
            let x = stream.normal(&[rows, parts[which], height, across]) * 0.6 + 0.3;
            if !self.form.handed.is_over_steps(which) {
                return x;
            }
            let steps = steps_of(parts[which]).view([1, -1, 1, 1]);
            (x / &steps).to_kind(Kind::BFloat16).to_kind(Kind::Float) * steps
        });
        let norms = parts.map(|channels| [0, 1].map(|_| stream.uniform(&[channels], 0.3, 1.3)));
        let alpha = stream.uniform(&[6], 0.2, 1.2);
        let upstream = stream.normal(&[steps * batch, 2 * width, height, across]);
        Numbers { x, norms, alpha, upstream }
    }

    fn neuron(&self) -> Lif {
        Lif { threshold: self.form.threshold, ..Lif::default() }
    }

    /// As networks compute it, on a device in f32.
    fn run(&self, device: Device) -> Outcome {
        let Form { statistics, constant, spiking, training, scaled, .. } = self.form;
        let [steps, _, width, ..] = self.shape;
        let (numbers, neuron) = (self.numbers(), self.neuron());
        let leaf = |tensor: &Tensor| tensor.to_device(device).set_requires_grad(true);
        let over = [0, 1].map(|which| {
            let channels = numbers.x[which].size()[1];
            self.form.handed.is_over_steps(which).then(|| steps_of(channels).to_device(device))
        });
        let x = [0, 1].map(|which| {
            let x = channels_last(&numbers.x[which].to_device(device));
            let x = match &over[which] {
                Some(steps) => (x / steps.view([1, -1, 1, 1])).to_kind(Kind::BFloat16),
                None => x,
            };
            x.detach().set_requires_grad(true)
        });
        let alpha = leaf(&numbers.alpha);
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, device);
        let norms = ["a", "b"].map(|name| {
            let channels = if name == "a" { 3 * width } else { 2 * width };
            BatchNorm::new(channels, statistics, &mut build.at(name))
        });
        tch::no_grad(|| {
            let given = numbers.norms.iter().flatten();
            parameters.trainable().iter().zip(given).for_each(|(parameter, value)| {
                parameter.tensor.shallow_clone().copy_(value);
            });
            parameters.buffers().iter().for_each(|(_, buffer)| drop(buffer.shallow_clone().fill_(RUNNING)));
        });
        if device != Device::Cpu {
            poison(device);
        }
        let neurons = Neurons::from(neuron);
        let drives = if spiking { Drives::Candidates(&neurons) } else { Drives::Nodes(&neurons) };
        let currents = [0, 1].map(|which| {
            let constant = constant && which == 1;
            let readers = if which == 0 { 3 } else { 2 };
            let x = x[which].shallow_clone();
            let x = match &over[which] {
                Some(steps) => Convolved::over_steps(x, steps.shallow_clone()),
                None => x.into(),
            };
            Rc::new(Currents::new(x, &norms[which], steps, constant, training, drives, readers))
        });
        let scale = |index: i64| scaled.then_some(index);
        let part = |(of, part, index): (usize, i64, i64)| Term::Part {
            of: currents[of].clone(),
            first: part * width,
            scale: scale(index),
        };
        let given = scaled.then_some(&alpha);
        let (first, rate) = node_spikes(&neurons, &FIRST.map(part), width, given, steps, true);
        let mut terms: Vec<Term> = SECOND.map(part).into();
        terms.insert(1, Term::Spikes { spikes: first.shallow_clone(), scale: scale(SKIP) });
        let (second, _) = node_spikes(&neurons, &terms, width, given, steps, false);
        drop(terms);
        let spikes = Tensor::cat(&[first, second], 1);
        (&spikes * numbers.upstream.to_device(device)).sum(Kind::Float).backward();
        // To the currents, whatever they are a multiple of.
        let gradient = |which: usize, name: &str| match &over[which] {
            Some(steps) => {
                let gradient = x[which].grad().to_kind(Kind::Float) / steps.view([1, -1, 1, 1]);
                (format!("{name}{ROUNDED}"), gradient)
            }
            None => (name.to_owned(), x[which].grad()),
        };
        let mut tensors = vec![gradient(0, "a's gradient"), gradient(1, "b's gradient")];
        tensors
            .extend(parameters.trainable().iter().map(|one| (format!("{}'s gradient", one.name), one.tensor.grad())));
        tensors.extend(scaled.then(|| ("alpha's gradient".to_owned(), alpha.grad())));
        tensors.extend(rate.map(|rate| ("the rate".to_owned(), rate)));
        tensors.extend(parameters.buffers().iter().map(|(name, buffer)| (name.clone(), buffer.copy())));
        Outcome { spikes: spikes.detach(), tensors }
    }

    /// In f64 by tensor operations, on the CPU.
    fn exact(&self) -> Outcome {
        let Form { statistics, constant, spiking, training, scaled, .. } = self.form;
        let [steps, batch, width, height, across] = self.shape;
        let (numbers, neuron) = (self.numbers(), self.neuron());
        let leaf = |tensor: &Tensor| tensor.to_kind(Kind::Double).set_requires_grad(true);
        let x = [leaf(&numbers.x[0]), leaf(&numbers.x[1])];
        let norms = [0, 1].map(|which| [0, 1].map(|part| leaf(&numbers.norms[which][part])));
        let alpha = leaf(&numbers.alpha);
        let each = statistics == Statistics::EachTimestep;
        let folded = |which: usize| {
            let rows = if constant && which == 1 { 1 } else { steps };
            let channels = x[which].size()[1];
            x[which]
                .view([rows, batch, channels, height, across])
                .expand([steps, batch, channels, height, across], false)
        };
        let currents = [0, 1].map(|which| {
            let [gamma, beta] = &norms[which];
            let running = Tensor::full([gamma.size()[0]], RUNNING, (Kind::Double, Device::Cpu));
            let running = (!training).then_some((&running, &running));
            let currents = reference::normalised(&folded(which), gamma, beta, each, running);
            if spiking { reference::spikes(&neuron, &currents) } else { currents }
        });
        let times = |value: Tensor, index: i64| if scaled { value * alpha.get(index) } else { value };
        let part = |(of, part, index): (usize, i64, i64)| times(currents[of].narrow(2, part * width, width), index);
        let first = reference::spikes(&neuron, &FIRST.map(part).into_iter().reduce(|a, b| a + b).expect("three terms"));
        let terms = [part(SECOND[0]), times(first.shallow_clone(), SKIP), part(SECOND[1])];
        let second = reference::spikes(&neuron, &terms.into_iter().reduce(|a, b| a + b).expect("three terms"));
        let spikes = Tensor::cat(&[&first, &second], 2);
        let upstream = numbers.upstream.to_kind(Kind::Double).view_as(&spikes);
        (&spikes * upstream).sum(Kind::Double).backward();
        let mut tensors = vec![("a's gradient".to_owned(), x[0].grad()), ("b's gradient".to_owned(), x[1].grad())];
        tensors.extend(norms.iter().flatten().map(|norm| ("a normalisation's gradient".to_owned(), norm.grad())));
        tensors.extend(scaled.then(|| ("alpha's gradient".to_owned(), alpha.grad())));
        tensors.push(("the rate".to_owned(), first.detach().mean_dim([1i64, 2, 3, 4].as_slice(), false, Kind::Double)));
        let size = [steps * batch, 2 * width, height, across];
        Outcome { spikes: spikes.detach().reshape(size), tensors }
    }
}
