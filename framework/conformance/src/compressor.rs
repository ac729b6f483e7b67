//! Rules for compressors.
//!
//! What can be checked of a gradient: to a parameter that the value depends on smoothly (logits
//! over bit-widths) it is the derivative, and finite differences of the value show it. A
//! straight-through estimator is a rule of its own, which no difference of values shows; a
//! compressor says so by [`Compressor::straight_through`], and there the kit checks only that a
//! gradient arrives.

mod formula;
mod training;

use std::collections::BTreeMap;

use tch::{Device, Kind as Element, Tensor};

use crate::subject::{Made, Subject, clear, first_of};
use crate::workbench::{self, Extent, finite, number, same, works};
use crate::{Kept, Law, broken, guarded, require};
use litesnn_framework::ground::{Build, Parameters, Role, Stream, counted};
use litesnn_framework::network::cost::CostModel;
use litesnn_framework::network::{
    Activity, CompressedWeight, Compressor, CostConstants, Decision, Decisions, Input, LayerShape, LayerSpec, Place,
    Population, SearchSpace, SynapseLayer, Technique, Techniques, TimestepSearcher,
};
use litesnn_framework::plugin::Kind;
use litesnn_framework::train::{Checkpoint, Optimizer};
use litesnn_framework::{Error, Result};

/// The rules.
pub const LAWS: &[Law] = &[
    Law {
        name: "shape-and-kind",
        says: "the value has the shape, the element type and the device of the weight, and is finite",
        check: shape_and_kind,
    },
    Law {
        name: "same-seed",
        says: "the same seed gives the same value to the bit, however often it is asked for",
        check: same_seed,
    },
    Law {
        name: "save-and-load",
        says: "with its tensors from a checkpoint the value is the same to the bit",
        check: save_and_load,
    },
    Law {
        name: "gradients",
        says: "a finite gradient that is not zero arrives at every trainable tensor",
        check: gradients,
    },
    Law {
        name: "finite-differences",
        says: "gradients are the derivatives of the value, the bits and the density, unless `straight_through` names their role",
        check: finite_differences,
    },
    Law { name: "density", says: "as many weights are not zero as the density promises", check: density },
    Law {
        name: "bits",
        says: "a decided weight has no more values in an output channel than its bits can tell apart",
        check: bits,
    },
    Law {
        name: "step",
        says: "every value over the step that it gives has at most 8 significant bits, so that bf16 holds it",
        check: step,
    },
    Law {
        name: "formula",
        says: "the formula that it gives to a GPU's kernels has the values and the gradients of its operations",
        check: formula::says_the_same,
    },
    Law {
        name: "cost",
        says: "a weight with fewer values, or of which a pruner removes more, costs less",
        check: cost_falls,
    },
    Law {
        name: "decisions",
        says: "what a search decides is what the final network then does, and it costs what the search counted",
        check: decisions,
    },
    Law {
        name: "training",
        says: "while it is trained the value has the density and the bits that it says, and to be asked changes nothing",
        check: training::stays_as_it_says,
    },
    Law {
        name: "resume",
        says: "stopped after a step and resumed from a checkpoint, training ends as if nothing had happened",
        check: training::goes_on,
    },
    Law {
        name: "final-state",
        says: "the final network that takes over trained tensors has their value, bits and density",
        check: training::takes_over,
    },
    Law {
        name: "composition",
        says: "it works before and after every other compressor, and each keeps its tensors",
        check: composition,
    },
    Law { name: "search", says: "with every optimizer, a whole trial with it runs", check: search },
    Law {
        name: "extremes",
        says: "settings and layers at the edge work, or are refused with an error that says why",
        check: extremes,
    },
];

type Boxed = Box<dyn Compressor>;

/// A layer to attach to.
#[derive(Debug, Clone, Copy)]
struct ExampleLayer {
    place: Place,
    shape: &'static [i64],
}

const CONVOLUTION: ExampleLayer = ExampleLayer { place: Place::Cell(0), shape: &[4, 3, 3, 3] };
const LAYERS: [ExampleLayer; 6] = [
    CONVOLUTION,
    ExampleLayer { place: Place::Stem, shape: &[6, 1, 3, 3] },
    ExampleLayer { place: Place::Cell(1), shape: &[8, 4, 1, 1] },
    ExampleLayer { place: Place::Cell(1), shape: &[3, 2, 5, 5] },
    // A depthwise convolution.
    ExampleLayer { place: Place::Cell(1), shape: &[6, 1, 3, 3] },
    ExampleLayer { place: Place::Classifier, shape: &[5, 16] },
];
/// With enough weights in a channel to show 8 bits.
const WIDE: [ExampleLayer; 2] = [
    ExampleLayer { place: Place::Cell(0), shape: &[2, 64, 3, 3] },
    ExampleLayer { place: Place::Classifier, shape: &[3, 600] },
];
const SMALL: [ExampleLayer; 4] = [
    ExampleLayer { place: Place::Cell(0), shape: &[1, 1, 1, 1] },
    ExampleLayer { place: Place::Classifier, shape: &[1, 1] },
    ExampleLayer { place: Place::Stem, shape: &[1, 1, 3, 3] },
    ExampleLayer { place: Place::Cell(0), shape: &[3, 2, 1, 1] },
];

/// A weight with compressors on it.
struct Attached {
    weight: CompressedWeight,
    parameters: Parameters,
}

/// A weight of distinct magnitudes, evenly spread and none zero, in random order: a small step
/// changes no rank and no sign. Its scale depends on the seed.
fn spread(stream: &mut Stream, shape: &[i64]) -> Tensor {
    let count = shape.iter().product::<i64>();
    let rank = Tensor::from_slice(&stream.permutation(count as usize)).to_kind(Element::Float);
    let scale = stream.uniform(&[1], 0.5, 1.0);
    ((rank * 2.0 + 1.3) / count as f64 - 1.0).view(shape) * scale
}

fn attach(
    stack: &[(&str, &dyn Compressor)],
    layer: ExampleLayer,
    seed: u64,
    decided: Option<&BTreeMap<String, Decisions>>,
) -> Result<Attached> {
    let mut parameters = Parameters::default();
    let mut root = Build::new(&mut parameters, seed, Device::Cpu);
    let mut build = root.at("layer");
    let population = Population { name: "layer".into(), last: false };
    let population = (layer.place != Place::Classifier).then_some(population);
    let spec = LayerSpec { name: "layer".into(), place: layer.place, population };
    let init = |stream: &mut Stream| spread(stream, layer.shape);
    let nothing = BTreeMap::new();
    let (compression, open) = (decided.unwrap_or(&nothing), decided.is_none());
    let weight = CompressedWeight::new(spec, init, stack.iter().copied(), compression, open, &mut build)?;
    Ok(Attached { weight, parameters })
}

impl Attached {
    fn value(&self) -> Tensor {
        self.weight.value(Techniques::ALL)
    }

    fn bits(&self) -> f64 {
        self.weight.bits(Techniques::ALL).number()
    }

    fn density(&self) -> f64 {
        self.weight.density(Techniques::ALL).number()
    }

    fn decisions(&self) -> BTreeMap<String, Decisions> {
        let mut all = BTreeMap::<String, Decisions>::new();
        for (compressor, group, decision) in self.weight.decisions(Techniques::ALL) {
            all.entry(compressor.to_owned()).or_default().insert(group, decision);
        }
        all
    }

    fn nonzero(&self) -> i64 {
        self.value().count_nonzero(None::<i64>).int64_value(&[])
    }

    /// The largest number of different values that are not zero in an output channel.
    /// `w + (q - w)`, which a straight-through estimator may be written as, differs from q by
    /// rounding, so that values as near as that are one.
    fn levels(&self) -> usize {
        let value = self.value().detach();
        let channels = (0..value.size()[0]).map(|channel| {
            let values = Vec::<f32>::try_from(value.get(channel).flatten(0, -1)).unwrap_or_default();
            let mut kept: Vec<f32> = values.into_iter().filter(|value| *value != 0.0).collect();
            kept.sort_unstable_by(f32::total_cmp);
            let near = 1e-5 * kept.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
            kept.dedup_by(|next, value| *next - *value <= near);
            kept.len()
        });
        channels.max().unwrap_or(0)
    }

    /// Memory in bits and bit-operations of an image.
    fn cost(&self) -> (f64, f64) {
        let size = self.weight.raw().size();
        let shape = LayerShape {
            name: "layer".into(),
            place: self.weight.layer.place,
            kernel: (size.get(2).copied().unwrap_or(1), size.get(3).copied().unwrap_or(1)),
            inputs: size[1],
            outputs: size[0],
            groups: 1,
            input_map: (4, 4),
            stride: 1,
            padding: 0,
            map: (4, 4),
            reads: Input::Spikes,
        };
        let layer = SynapseLayer { shape: &shape, weight: &self.weight, choice: None, searched: true };
        let counted = Tensor::from_slice(&[1.0, 1.0]);
        let activity = Activity { rate: Tensor::from_slice(&[0.25, 0.5]), map: None };
        let constants = CostConstants::default();
        let model = CostModel { active: Techniques::ALL, presence: None, counted: &counted, constants: &constants };
        let (memory, compute) = model.search_terms(&[layer], &[activity]);
        (number(&memory), number(&compute))
    }
}

/// Attached as in a search and has to work.
fn searched(made: &Made<Boxed>, layer: ExampleLayer, seed: u64) -> Kept<Attached> {
    let attached = attach(&[(made.name, made.plugin.as_ref())], layer, seed, None);
    works(attached, format!("with {} it attaches to a weight {:?} of {:?}", made.shown, layer.shape, layer.place))
}

/// Attached as in the final network, with what a search decided.
fn settled(made: &Made<Boxed>, layer: ExampleLayer, seed: u64) -> Kept<Attached> {
    let decisions = searched(made, layer, seed)?.decisions();
    let attached = attach(&[(made.name, made.plugin.as_ref())], layer, seed, Some(&decisions));
    works(attached, format!("with {} it takes its own decisions {decisions:?}", made.shown))
}

/// Choices that the logits over bit-widths leave open; 1 where there are none.
fn choices(attached: &Attached) -> i64 {
    attached.parameters.of(&[Role::BitLogit]).map(|logits| logits.tensor.numel()).max().unwrap_or(1) as i64
}

/// Sets the logits over bit-widths so that one choice alone is left: the softmax of the others is
/// zero.
fn choose(attached: &Attached, choice: i64) {
    tch::no_grad(|| {
        for logits in attached.parameters.of(&[Role::BitLogit]) {
            let mut logits = logits.tensor.shallow_clone();
            let _ = logits.fill_(-1e4);
            if choice < logits.numel() as i64 {
                let _ = logits.view(-1).get(choice).fill_(0.0);
            }
        }
    });
}

fn shape_and_kind(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS {
            let attached = searched(&made, layer, 1)?;
            let (weight, value) = (attached.weight.raw(), attached.value());
            let said = |tensor: &Tensor| format!("{:?} of {:?} on {:?}", tensor.size(), tensor.kind(), tensor.device());
            require(said(&value) == said(weight), said(weight), said(&value))?;
            require(finite(&value), "finite numbers", format!("a weight that is not, with {}", made.shown))?;
        }
    }
    Ok(())
}

fn same_seed(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS {
            let (first, second) = (searched(&made, layer, 7)?, searched(&made, layer, 7)?);
            for (a, b) in first.parameters.trainable().iter().zip(second.parameters.trainable()) {
                require(same(&a.tensor, &b.tensor), format!("`{}` begins with the same value", a.name), "another one")?;
            }
            let value = first.value();
            require(same(&value, &second.value()), "two that are built alike have the same value", "they differ")?;
            require(same(&value, &first.value()), "asked again, the same value", "another one")?;
        }
    }
    Ok(())
}

fn save_and_load(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS {
            let trained = searched(&made, layer, 1)?;
            let mut noise = Stream::open(3, "conformance/training", 0);
            tch::no_grad(|| {
                for parameter in trained.parameters.trainable() {
                    let step = noise.normal(&parameter.tensor.size()) * 0.3;
                    let _ = parameter.tensor.shallow_clone().g_add_(&step);
                }
            });
            let folder = workbench::folder()?;
            let mut checkpoint = Checkpoint::default();
            checkpoint.take_parameters(&trained.parameters);
            works(checkpoint.write(folder.path()), "a checkpoint is written")?;
            let loaded = searched(&made, layer, 2)?;
            let stored = Checkpoint::newest(folder.path()).0.ok_or_else(|| broken("a checkpoint", "there is none"))?;
            stored
                .restore_parameters(&loaded.parameters)
                .map_err(|why| broken("the tensors do not depend on the seed in name and shape", why))?;
            let where_from = "what the value depends on is a tensor of `build`, and is read when it is asked for";
            require(same(&trained.value(), &loaded.value()), where_from, "another value after loading")?;
            require(trained.bits() == loaded.bits(), where_from, "other bits after loading")?;
            require(trained.density() == loaded.density(), where_from, "another density after loading")?;
        }
    }
    Ok(())
}

/// A random tensor of that size, the same for the same purpose.
fn direction(purpose: &str, size: &[i64]) -> Tensor {
    Stream::open(5, purpose, 0).normal(size)
}

fn gradients(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS {
            let attached = searched(&made, layer, 1)?;
            arrive(&attached, &format!("with {} on {:?}", made.shown, layer.shape))?;
        }
    }
    Ok(())
}

/// Runs backward from value, bits and density, and looks at every trainable tensor.
fn arrive(attached: &Attached, what: &str) -> Kept {
    let value = attached.value();
    let loss = (&value * direction("conformance/loss", &value.size())).sum(Element::Double)
        + attached.weight.bits(Techniques::ALL).tensor()
        + attached.weight.density(Techniques::ALL).tensor();
    let expected = |name: &str| format!("{what}, a gradient arrives at `{name}`");
    require(loss.requires_grad(), expected("layer.weight"), "the value is cut off from every trainable tensor")?;
    attached.parameters.zero_grad();
    works(loss.f_backward().map_err(Error::from), format!("{what}, backward runs"))?;
    for parameter in attached.parameters.trainable() {
        let gradient = parameter.tensor.grad();
        require(gradient.defined(), expected(&parameter.name), "none does")?;
        require(finite(&gradient), expected(&parameter.name), "it is not a finite number")?;
        let zero = gradient.count_nonzero(None::<i64>).int64_value(&[]) == 0;
        require(!zero, expected(&parameter.name), "it is all zero")?;
    }
    Ok(())
}

fn finite_differences(subject: &Subject) -> Kept {
    const STEP: f64 = 2e-3;
    const ELEMENTS: usize = 24;
    for made in subject.examples::<Boxed>()? {
        let attached = searched(&made, CONVOLUTION, 1)?;
        let along = direction("conformance/difference", CONVOLUTION.shape).to_kind(Element::Double);
        let value = || (attached.value().to_kind(Element::Double) * &along).sum(Element::Double);
        let bits = || attached.weight.bits(Techniques::ALL).tensor();
        let density = || attached.weight.density(Techniques::ALL).tensor();
        let terms: [(&str, &dyn Fn() -> Tensor); 3] = [("value", &value), ("bits", &bits), ("density", &density)];
        for (term, of) in terms {
            attached.parameters.zero_grad();
            let loss = of();
            if loss.requires_grad() {
                works(loss.f_backward().map_err(Error::from), "backward runs")?;
            }
            for parameter in attached.parameters.trainable() {
                if made.plugin.straight_through().contains(&parameter.role) {
                    continue;
                }
                let gradient = match parameter.tensor.grad() {
                    gradient if gradient.defined() => gradient,
                    _ => parameter.tensor.zeros_like(),
                };
                let count = parameter.tensor.numel();
                let mut order = Stream::open(9, &parameter.name, 0).permutation(count);
                order.truncate(ELEMENTS);
                let gradient = gradient.flatten(0, -1).to_kind(Element::Double);
                let scale = gradient.abs().max().double_value(&[]);
                for index in order {
                    let told = gradient.double_value(&[index]);
                    let seen = (shifted(&parameter.tensor, index, STEP, of)
                        - shifted(&parameter.tensor, index, -STEP, of))
                        / (2.0 * STEP);
                    let close = (told - seen).abs() <= 1e-2 * scale.max(seen.abs()) + 1e-3;
                    require(
                        close,
                        format!(
                            "with {}, the derivative of the {term} by element {index} of `{}` ({:?}) is {seen:.5}; if the \
                             gradient is a rule of its own, `straight_through` names {:?}",
                            made.shown, parameter.name, parameter.role, parameter.role
                        ),
                        format!("a gradient of {told:.5}"),
                    )?;
                }
            }
        }
    }
    Ok(())
}

/// The term with one element moved by a step.
fn shifted(tensor: &Tensor, index: i64, step: f64, term: &dyn Fn() -> Tensor) -> f64 {
    tch::no_grad(|| {
        let mut element = tensor.view(-1).get(index);
        let before = element.copy();
        let _ = element.g_add_scalar_(step);
        let value = number(&term());
        element.copy_(&before);
        value
    })
}

fn density(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS.into_iter().chain(WIDE) {
            let what = format!("with {} on {:?}", made.shown, layer.shape);
            for choice in 0..choices(&searched(&made, layer, 1)?) {
                let attached = searched(&made, layer, 1)?;
                choose(&attached, choice);
                promised_density(&attached, made.plugin.technique(), &format!("{what}, choice {choice}"))?;
            }
            promised_density(&settled(&made, layer, 1)?, made.plugin.technique(), &what)?;
        }
    }
    Ok(())
}

fn promised_density(attached: &Attached, stage: Technique, what: &str) -> Kept {
    let count = attached.weight.raw().numel() as f64;
    let (promised, reached) = (attached.density() * count, attached.nonzero() as f64);
    let fraction = promised > 0.0 && promised <= count;
    require(fraction, format!("{what}, a density above 0 and up to 1"), format!("{}", attached.density()))?;
    // A level of a quantiser may be zero; a pruner's zeros are counted.
    let holds = match stage {
        Technique::Prune => (promised - reached).abs() < 0.5,
        Technique::Quantize => reached < promised + 0.5,
    };
    require(
        holds,
        format!("{what}, {promised:.1} of {count} weights are not zero, as the density says"),
        format!("{reached} are not"),
    )
}

fn bits(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in WIDE {
            let attached = settled(&made, layer, 1)?;
            promised_bits(&attached, &format!("with {} on {:?}", made.shown, layer.shape))?;
        }
    }
    Ok(())
}

fn promised_bits(attached: &Attached, what: &str) -> Kept {
    let (bits, levels) = (attached.bits(), attached.levels());
    require(bits > 0.0 && bits <= 32.0, format!("{what}, more than 0 bits and up to 32"), format!("{bits}"))?;
    require(
        (levels as f64) <= bits.exp2() + 0.5,
        format!("{what}, a width of {} tells up to {} values of a channel apart", counted(bits, "bit"), bits.exp2()),
        format!("there are {levels}"),
    )
}

fn step(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS.into_iter().chain(WIDE) {
            let attached = settled(&made, layer, 1)?;
            let Some(step) = attached.weight.step(Techniques::ALL) else { continue };
            let levels = tch::no_grad(|| attached.weight.value(Techniques::ALL) / step);
            let apart = (&levels - levels.to_kind(Element::BFloat16).to_kind(Element::Float)).abs();
            let worst = number(&(apart / levels.abs().clamp_min(1.0)).max());
            let what = format!("with {} on {:?}", made.shown, layer.shape);
            require(worst < 1e-5, format!("{what}, levels that bf16 holds"), format!("one is {worst:.1e} of it away"))?;
        }
    }
    Ok(())
}

fn cost_falls(subject: &Subject) -> Kept {
    struct Point {
        what: String,
        nonzero: i64,
        levels: usize,
        cost: (f64, f64),
    }
    let mut made = subject.examples::<Boxed>()?;
    made.extend(subject.extremes::<Boxed>()?.into_iter().map(|(_, made)| made));
    for layer in WIDE {
        let dense = works(attach(&[], layer, 1, None), "a weight without compressors")?;
        let density = |made: &Made<Boxed>| settled(made, layer, 1).map_or(1.0, |attached| attached.density());
        let prunes = made.iter().any(|made| made.plugin.technique() == Technique::Prune || density(made) < 1.0);
        let point = |what: String, attached: &Attached| Point {
            what,
            // A zero that is a level of a quantiser is stored like any other value.
            nonzero: if prunes { attached.nonzero() } else { attached.weight.raw().numel() as i64 },
            levels: attached.levels(),
            cost: attached.cost(),
        };
        let mut points = vec![point("no compressor".into(), &dense)];
        for made in &made {
            // What is refused here is looked at by the rule on extremes.
            if let Ok(attached) = settled(made, layer, 1) {
                points.push(point(made.shown.clone(), &attached));
            }
        }
        for (a, b) in points.iter().flat_map(|a| points.iter().map(move |b| (a, b))) {
            let no_more = a.nonzero <= b.nonzero && a.levels <= b.levels;
            let less = (a.nonzero as f64) < 0.95 * b.nonzero as f64 || 2 * a.levels <= b.levels;
            let cheaper = a.cost.0 < b.cost.0 && a.cost.1 < b.cost.1;
            require(
                !(no_more && less) || cheaper,
                format!(
                    "{} ({} weights that are not zero, {} values) costs less than {} ({}, {})",
                    a.what, a.nonzero, a.levels, b.what, b.nonzero, b.levels
                ),
                format!("{:?} and {:?} bits and bit-operations", a.cost, b.cost),
            )?;
        }
    }
    Ok(())
}

fn decisions(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS {
            for choice in 0..choices(&searched(&made, layer, 1)?) {
                let search = searched(&made, layer, 1)?;
                choose(&search, choice);
                same_as_decided(&made, &search, layer, choice)?;
            }
        }
        // A network that was not searched has no decisions.
        for layer in LAYERS {
            let none = BTreeMap::new();
            if let Err(error) = attach(&[(made.name, made.plugin.as_ref())], layer, 1, Some(&none)) {
                clear("a design without decisions", &error.to_string())?;
            }
        }
    }
    Ok(())
}

/// With all logits but one far below it, the search's weight is the one that is then decided.
fn same_as_decided(made: &Made<Boxed>, search: &Attached, layer: ExampleLayer, choice: i64) -> Kept {
    let decisions = search.decisions();
    let named = decisions.keys().all(|name| name == made.name)
        && decisions.values().flat_map(Decisions::keys).all(|group| !group.is_empty());
    require(named, "decisions under the plugin's own name and a group's", format!("{decisions:?}"))?;
    let what = format!("with {} and choice {choice} decided as {decisions:?}", made.shown);
    let network = attach(&[(made.name, made.plugin.as_ref())], layer, 1, Some(&decisions));
    let network = works(network, format!("{what}, it attaches to the final network"))?;
    let open = network.parameters.of(&[Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit]).next();
    require(open.is_none(), format!("{what}, nothing is left to decide"), "there are still logits")?;
    if matches!(layer.place, Place::Cell(_)) {
        require(
            (search.bits() - network.bits()).abs() < 1e-3,
            format!("{what}, {} bits as in the search", search.bits()),
            format!("{}", network.bits()),
        )?;
        require(
            (search.density() - network.density()).abs() < 1e-6,
            format!("{what}, density {} as in the search", search.density()),
            format!("{}", network.density()),
        )?;
        let value = search.value();
        search.weight.conclude();
        let taken = network.parameters.copy_from(&search.parameters);
        taken.map_err(|why| broken(format!("{what}, the final network's tensors are there after the search"), why))?;
        let apart = (value - network.value()).abs().max().double_value(&[]);
        require(apart < 1e-4, format!("{what}, the weight of the search"), format!("weights that differ by {apart}"))?;
    }
    for Decision { bits, .. } in decisions.values().flat_map(Decisions::values) {
        let told = bits.map_or(network.bits(), f64::from);
        require(
            (told - network.bits()).abs() < 1e-6,
            format!("{what}, a network of {told} bits"),
            format!("{} bits", network.bits()),
        )?;
    }
    Ok(())
}

fn composition(subject: &Subject) -> Kept {
    for own in subject.examples::<Boxed>()? {
        for other in subject.others(Kind::Compressor) {
            let other = first_of::<Boxed>(other)?;
            for (first, second) in [(&own, &other), (&other, &own)] {
                composed(first, second)?;
            }
        }
    }
    Ok(())
}

/// Two compressors on a weight, in this order.
fn composed(first: &Made<Boxed>, second: &Made<Boxed>) -> Kept {
    let stack = [(first.name, first.plugin.as_ref()), (second.name, second.plugin.as_ref())];
    let what = format!("`{}` with {}, then `{}` with {}", first.name, first.shown, second.name, second.shown);
    for layer in LAYERS {
        let both = works(attach(&stack, layer, 1, None), format!("{what}: both attach"))?;
        let alone = |made: &Made<Boxed>| -> Kept<usize> { Ok(searched(made, layer, 1)?.parameters.trainable().len()) };
        // Each one alone has the weight, too.
        let tensors = alone(first)? + alone(second)? - 1;
        require(
            both.parameters.trainable().len() == tensors,
            format!("{what}: {tensors} trainable tensors"),
            format!(
                "{}: two that ask for one name share a tensor; put the plugin's name in it",
                both.parameters.trainable().len()
            ),
        )?;
        require(finite(&both.value()), format!("{what}: a finite value"), "it is not")?;
        require(
            both.value().size() == layer.shape,
            format!("{what}: the shape {:?}", layer.shape),
            format!("{:?}", both.value().size()),
        )?;
        arrive(&both, &what)?;
        let decided = works(attach(&stack, layer, 1, Some(&both.decisions())), format!("{what}: decided"))?;
        let prune = [first, second].iter().all(|made| made.plugin.technique() == Technique::Prune);
        let stage = if prune { Technique::Prune } else { Technique::Quantize };
        promised_density(&decided, stage, &what)?;
    }
    for layer in WIDE {
        let both = works(attach(&stack, layer, 1, None), format!("{what}: both attach"))?;
        let decided = works(attach(&stack, layer, 1, Some(&both.decisions())), format!("{what}: decided"))?;
        promised_bits(&decided, &what)?;
    }
    Ok(())
}

fn search(subject: &Subject) -> Kept {
    subject.beside::<Box<dyn Optimizer>>(Kind::Optimizer)?;
    let optimizers = subject.others(Kind::Optimizer).map(first_of).collect::<Kept<Vec<Made<Box<dyn Optimizer>>>>>()?;
    for space in subject.spaces()? {
        optimizers.iter().try_for_each(|optimizer| searches(subject, optimizer, &space))?;
    }
    // What a space has in other settings, such as a second head, in one search without candidates.
    if let Some(optimizer) = optimizers.iter().find(|optimizer| optimizer.plugin.trains(1).is_none()) {
        for space in subject.spaces_otherwise()? {
            searches(subject, optimizer, &space)?;
        }
    }
    Ok(())
}

fn searches(subject: &Subject, optimizer: &Made<Box<dyn Optimizer>>, space: &Made<Box<dyn SearchSpace>>) -> Kept {
    if optimizer.plugin.needs_paths() && !space.plugin.runs_paths() {
        return Ok(());
    }
    let made = subject.examples::<Boxed>()?.remove(0);
    let sections = workbench::Sections {
        space: space.named(),
        compressor: vec![made.named()],
        timesteps: subject.beside::<Box<dyn TimestepSearcher>>(Kind::Timesteps)?.named(),
        optimizer: optimizer.named(),
    };
    let folder = workbench::folder()?;
    let what = format!(
        "a trial with {} and the optimizer `{}` in `{}` with {} runs",
        made.shown, optimizer.name, space.name, space.shown
    );
    works(workbench::trial(&sections, 0, Extent::SHORT, folder.path()), what).map(|_| ())
}

fn extremes(subject: &Subject) -> Kept {
    let mut all = subject.extremes::<Boxed>()?;
    let example = subject.examples::<Boxed>()?.remove(0);
    all.push((example.shown.clone(), example));
    for (setting, made) in &all {
        for layer in SMALL.into_iter().chain(LAYERS) {
            let what = format!("{setting} on a weight {:?} of {:?}", layer.shape, layer.place);
            let tried = guarded(|| edge(made, layer, &what));
            tried.map_err(|panic| broken(format!("{what} works or is refused"), format!("it panicked: {panic}")))??;
        }
    }
    Ok(())
}

fn edge(made: &Made<Boxed>, layer: ExampleLayer, what: &str) -> Kept {
    let stack = [(made.name, made.plugin.as_ref())];
    let refused = |error: &Error| {
        clear(what, &error.to_string())?;
        let own = matches!(error, Error::Plugin { name, .. } if name == made.name);
        require(
            own,
            format!("{what} works, or is refused by `Error::Plugin` with the name `{}`", made.name),
            error.to_string(),
        )
    };
    let search = match attach(&stack, layer, 1, None) {
        Ok(search) => search,
        Err(error) => return refused(&error),
    };
    let network = match attach(&stack, layer, 1, Some(&search.decisions())) {
        Ok(network) => network,
        Err(error) => return refused(&error),
    };
    for attached in [&search, &network] {
        require(finite(&attached.value()), format!("{what}, a finite value"), "it is not")?;
        let loss = attached.value().sum(Element::Double);
        if loss.requires_grad() {
            works(loss.f_backward().map_err(Error::from), format!("{what}, backward runs"))?;
        }
        let strange = attached.parameters.trainable().iter().find(|parameter| {
            let gradient = parameter.tensor.grad();
            gradient.defined() && !finite(&gradient)
        });
        require(strange.is_none(), format!("{what}, finite gradients"), "there is one that is not")?;
    }
    choose(&search, 0);
    promised_density(&search, made.plugin.technique(), what)?;
    promised_density(&network, made.plugin.technique(), what)?;
    promised_bits(&network, what)
}
