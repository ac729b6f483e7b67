//! Rules for search spaces.

use std::collections::HashSet;

use tch::{Device, Kind as Element, Tensor};

use crate::subject::{Made, Subject, clear, first_of};
use crate::workbench::{self, Searched, finite, number, same, works};
use crate::{Kept, Law, broken, guarded, require};
use litesnn_framework::ground::{Parameters, Role, Stream};
use litesnn_framework::network::cost::CostModel;
use litesnn_framework::network::{
    Activity, Compressor, CostConstants, Design, Edge, Input, Network, Pass, Place, Response, SearchSpace, Techniques,
    prefix_cross_entropy,
};
use litesnn_framework::plugin::Kind;
use litesnn_framework::train::Checkpoint;
use litesnn_framework::{Error, Result};

/// The rules.
pub const LAWS: &[Law] = &[
    Law {
        name: "forward",
        says: "logits are [T, B, K] and finite, and a pass without training changes nothing",
        check: forward,
    },
    Law {
        name: "gradients",
        says: "a finite gradient arrives at every trainable tensor of supernet and network",
        check: gradients,
    },
    Law { name: "same-seed", says: "the same seed gives the same tensors and logits to the bit", check: same_seed },
    Law {
        name: "save-and-load",
        says: "with its tensors from a checkpoint the logits are the same to the bit",
        check: save_and_load,
    },
    Law { name: "batch", says: "without training, an image's logits do not depend on the other images", check: batch },
    Law {
        name: "decode",
        says: "the supernet decodes to a design that survives its file and that the network takes; another architecture than the only one of a space is refused",
        check: decode,
    },
    Law {
        name: "layers",
        says: "layers have unique names, weights and maps of their shape, one that reads the image, and costs",
        check: layers,
    },
    Law {
        name: "activity",
        says: "measured, each layer has a firing rate of 0 to 1 at each timestep, of sums of spikes 0 or more, and a map of the same spikes; otherwise none",
        check: activity,
    },
    Law {
        name: "parameters",
        says: "what is stored in full precision is counted: all trained parameters outside of the layers' weights",
        check: parameters,
    },
    Law {
        name: "compressors",
        says: "every compressor works on it, in the supernet and in the final network",
        check: compressors,
    },
    Law {
        name: "extremes",
        says: "settings at the edge work, or are refused with an error that says why",
        check: extremes,
    },
];

type Boxed = Box<dyn SearchSpace>;

/// Channels and side of images: grey and coloured, and a side that halves to odd numbers.
const IMAGES: [(i64, i64); 2] = [(1, 12), (3, 15)];

fn supernet(made: &Made<Boxed>, channels: i64, side: i64, seed: u64) -> Kept<Searched> {
    let built = workbench::supernet(made.plugin.as_ref(), &workbench::information(channels, side), None, &[], seed);
    works(built, format!("with {}, a supernet for images [{channels}, {side}, {side}]", made.shown))
}

fn network(made: &Made<Boxed>, channels: i64, side: i64, seed: u64) -> Kept<(Box<dyn Network>, Parameters)> {
    let design = workbench::design(supernet(made, channels, side, seed)?.supernet.as_ref(), 2);
    let built = workbench::network(made.plugin.as_ref(), &design, &workbench::information(channels, side), &[], seed);
    works(built, format!("with {}, a network for images [{channels}, {side}, {side}]", made.shown))
}

fn pass(timesteps: i64, training: bool, measure: bool) -> Pass<'static> {
    Pass { training, measure, ..Pass::new(timesteps) }
}

fn images(count: i64, channels: i64, side: i64) -> Tensor {
    Stream::open(11, "conformance/images", 0).normal(&[count, channels, side, side])
}

/// Supernet and final network in turn.
fn both(
    made: &Made<Boxed>,
    channels: i64,
    side: i64,
    mut look: impl FnMut(&str, &dyn Network, &Parameters) -> Kept,
) -> Kept {
    let searched = supernet(made, channels, side, 1)?;
    look("supernet", as_network(&searched), &searched.parameters)?;
    let (network, parameters) = network(made, channels, side, 1)?;
    look("network", network.as_ref(), &parameters)
}

fn as_network(searched: &Searched) -> &dyn Network {
    searched.supernet.as_ref()
}

fn logits(response: &Response, timesteps: i64, count: i64, what: &str) -> Kept {
    let all = std::iter::once(&response.logits).chain(response.auxiliary.iter().map(|(logits, _)| logits));
    for logits in all {
        let size = logits.size();
        require(
            size == [timesteps, count, 3],
            format!("{what}: logits [{timesteps}, {count}, 3]"),
            format!("{size:?}"),
        )?;
        require(finite(logits), format!("{what}: finite logits"), "some are not")?;
    }
    Ok(())
}

fn forward(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for (channels, side) in IMAGES {
            let images = images(4, channels, side);
            both(&made, channels, side, |what, network, parameters| {
                for timesteps in 1..=3 {
                    logits(&network.forward(&images, &pass(timesteps, true, false)), timesteps, 4, what)?;
                }
                let before: Vec<Tensor> = parameters.named().map(|(_, tensor)| tensor.detach().copy()).collect();
                let first = tch::no_grad(|| network.forward(&images, &pass(2, false, false)));
                let second = tch::no_grad(|| network.forward(&images, &pass(2, false, true)));
                require(same(&first.logits, &second.logits), format!("{what}: the same logits twice"), "others")?;
                let changed = parameters.named().zip(&before).find(|((_, tensor), before)| !same(tensor, before));
                let name = changed.map_or("", |((name, _), _)| name);
                require(
                    name.is_empty(),
                    format!("{what}: no tensor changes without training"),
                    format!("`{name}` does"),
                )
            })?;
        }
    }
    Ok(())
}

/// The loss of a search: cross-entropy and cost.
fn loss(network: &dyn Network, response: &Response, timesteps: i64) -> Tensor {
    let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]);
    let entropy = |logits: &Tensor| prefix_cross_entropy(logits, &labels).sum(Element::Float);
    let counted = Tensor::ones([timesteps], (Element::Double, Device::Cpu));
    let constants = CostConstants::default();
    let model = CostModel::of(network, Techniques::ALL, &counted, &constants);
    let (memory, compute) = model.search_terms(&network.layers(), &response.activity);
    let mut loss = entropy(&response.logits) + (memory + compute).to_kind(Element::Float) * 1e-6;
    if let Some((auxiliary, weight)) = &response.auxiliary {
        loss += entropy(auxiliary) * *weight;
    }
    loss
}

fn gradients(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for (channels, side) in IMAGES {
            let images = images(6, channels, side);
            both(&made, channels, side, |what, network, parameters| {
                parameters.zero_grad();
                let response = network.forward(&images, &pass(3, true, true));
                let loss = loss(network, &response, 3);
                works(loss.f_backward().map_err(Error::from), format!("{what}: backward runs"))?;
                let mut moving = 0;
                for parameter in parameters.trainable() {
                    let gradient = parameter.tensor.grad();
                    let expected = format!("{what}: a gradient at `{}`", parameter.name);
                    require(gradient.defined(), &*expected, "none arrives: it does not take part in the loss")?;
                    require(finite(&gradient), &*expected, "it is not a finite number")?;
                    moving += usize::from(gradient.count_nonzero(None::<i64>).int64_value(&[]) > 0);
                }
                // Neurons may be silent on a few images, so that some gradients are zero.
                let count = parameters.trainable().len();
                require(
                    2 * moving > count,
                    format!("{what}: gradients that are not zero at most of {count} tensors"),
                    format!("at {moving}"),
                )
            })?;
        }
    }
    Ok(())
}

fn same_seed(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let images = images(4, 1, 12);
        let mut seen: Vec<Tensor> = Vec::new();
        for round in 0..2 {
            let mut index = 0;
            both(&made, 1, 12, |what, network, parameters| {
                let logits = network.forward(&images, &pass(2, true, false)).logits;
                for tensor in parameters.named().map(|(_, tensor)| tensor).chain([&logits]) {
                    if round == 0 {
                        seen.push(tensor.detach().copy());
                    } else {
                        let alike = seen.get(index).is_some_and(|before| same(before, &tensor.detach()));
                        require(alike, format!("{what}: the same tensors and logits from the same seed"), "others")?;
                    }
                    index += 1;
                }
                Ok(())
            })?;
        }
        let other = supernet(&made, 1, 12, 2)?;
        let differs = other.parameters.named().zip(&seen).any(|((_, tensor), before)| !same(tensor, before));
        require(differs, "another seed gives other weights", "the same ones")?;
    }
    Ok(())
}

fn save_and_load(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let images = images(4, 1, 12);
        let evaluate = |network: &dyn Network| tch::no_grad(|| network.forward(&images, &pass(2, false, false)).logits);
        let through = |parameters: &Parameters, into: &Parameters| -> Kept {
            let mut checkpoint = Checkpoint::default();
            checkpoint.take_parameters(parameters);
            let folder = workbench::folder()?;
            works(checkpoint.write(folder.path()), "a checkpoint is written")?;
            let stored = Checkpoint::newest(folder.path()).0.ok_or_else(|| broken("a checkpoint", "there is none"))?;
            stored.restore_parameters(into).map_err(|why| broken("the seed changes no name and no shape", why))
        };
        let what = "everything that the logits depend on is a tensor of `build`, running statistics included";
        let (trained, loaded) = (supernet(&made, 1, 12, 1)?, supernet(&made, 1, 12, 2)?);
        // Running statistics move.
        trained.supernet.forward(&images, &pass(2, true, false));
        through(&trained.parameters, &loaded.parameters)?;
        let alike = same(&evaluate(as_network(&trained)), &evaluate(as_network(&loaded)));
        require(alike, format!("supernet: {what}"), "other logits after loading")?;
        // Two seeds may decode to two designs.
        let design = workbench::design(trained.supernet.as_ref(), 2);
        let build = |seed| {
            let built = workbench::network(made.plugin.as_ref(), &design, &workbench::information(1, 12), &[], seed);
            works(built, "the network of a decoded design")
        };
        let ((trained, from), (loaded, into)) = (build(1)?, build(2)?);
        trained.forward(&images, &pass(2, true, false));
        through(&from, &into)?;
        let alike = same(&evaluate(trained.as_ref()), &evaluate(loaded.as_ref()));
        require(alike, format!("network: {what}"), "other logits after loading")?;
    }
    Ok(())
}

fn batch(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let all = images(6, 1, 12);
        both(&made, 1, 12, |what, network, _| {
            tch::no_grad(|| {
                // The same image in the same place, beside others: the same arithmetic.
                let with = |others: i64| {
                    let images = Tensor::cat(&[all.narrow(0, 0, 1), all.narrow(0, others, 2)], 0);
                    network.forward(&images, &pass(3, false, false)).logits.select(1, 0)
                };
                let apart = number(&(with(1) - with(3)).abs().max());
                require(
                    apart < 1e-5,
                    format!("{what}: the same logits beside other images"),
                    format!("they differ by {apart}"),
                )
            })
        })?;
    }
    Ok(())
}

fn decode(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for seed in 1..=3 {
            let searched = supernet(&made, 1, 12, seed)?;
            let mut noise = Stream::open(seed, "conformance/training", 0);
            tch::no_grad(|| {
                for parameter in searched.parameters.of(&[Role::ArchitectureLogit]) {
                    let step = noise.normal(&parameter.tensor.size());
                    let _ = parameter.tensor.shallow_clone().g_add_(&step);
                }
            });
            let design = workbench::design(searched.supernet.as_ref(), 2);
            require(
                design.space == made.name,
                format!("a design of the space `{}`", made.name),
                format!("`{}`", design.space),
            )?;
            match made.plugin.fixed() {
                Some(only) => require(
                    design.architecture() == only,
                    "the only architecture of the space",
                    format!("another one: {:?}", design.edges),
                )?,
                None => require(!design.edges.is_empty(), "edges in the design", "there are none")?,
            }
            let read = Design::parse(&design.to_toml(), std::path::Path::new("design.toml"));
            let read = works(read, "the design is read back from its file")?;
            require(read == design, "the same design from its file", "another one")?;
            let info = workbench::information(1, 12);
            let built = workbench::network(made.plugin.as_ref(), &read, &info, &[], seed);
            works(built, format!("the network takes the decoded design {:?}", design.edges))?;
            let (what, wrong) = match made.plugin.fixed() {
                Some(_) => {
                    let edge = Edge { node: 0, from: "s0".into(), operation: "conv3x3".into() };
                    ("a design of another architecture", Design { edges: vec![edge], ..design })
                }
                None => ("a design without edges", Design { edges: Vec::new(), ..design }),
            };
            match workbench::network(made.plugin.as_ref(), &wrong, &info, &[], seed) {
                Ok(_) => return Err(broken(format!("{what} is refused"), "it is built")),
                Err(error) => clear(what, &error.to_string())?,
            }
        }
    }
    Ok(())
}

fn layers(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for (channels, side) in IMAGES {
            both(&made, channels, side, |what, network, _| {
                let presence = network.presence();
                let presence: Vec<f64> =
                    presence.map(|all| Vec::try_from(all.detach()).unwrap_or_default()).unwrap_or_default();
                let layers = network.layers();
                let mut names = HashSet::new();
                for layer in &layers {
                    let shape = layer.shape;
                    let twice = !names.insert(shape.name.clone());
                    require(!twice, format!("{what}: unique names of layers"), format!("`{}` twice", shape.name))?;
                    let size = layer.weight.raw().size();
                    let full = [shape.outputs, shape.inputs / shape.groups, shape.kernel.0, shape.kernel.1];
                    let fits = size == full || (shape.kernel == (1, 1) && size == full[..2]);
                    require(fits, format!("{what}: `{}` has a weight {full:?}", shape.name), format!("{size:?}"))?;
                    require(
                        shape.map == shape.convolved_map(),
                        format!(
                            "{what}: the map of `{}` is that of its kernel, stride and padding, {:?}",
                            shape.name,
                            shape.convolved_map()
                        ),
                        format!("{:?}", shape.map),
                    )?;
                    let map = shape.map.0 > 0 && shape.map.1 > 0 && shape.map.0 <= side && shape.map.1 <= side;
                    require(
                        map,
                        format!("{what}: `{}` has a map of up to {side} x {side}", shape.name),
                        format!("{:?}", shape.map),
                    )?;
                    let place = (layer.weight.layer.place, shape.place);
                    require(
                        place.0 == place.1,
                        format!("{what}: `{}` stands in one place", shape.name),
                        format!("{place:?}"),
                    )?;
                    if let Some(choice) = layer.choice {
                        let among = presence.len();
                        require(
                            presence.get(choice).is_some_and(|presence| (0.0..=1.0).contains(presence)),
                            format!("{what}: `{}` has a presence of 0 to 1, choice {choice} of {among}", shape.name),
                            presence.get(choice).map_or("none".to_owned(), f64::to_string),
                        )?;
                    }
                }
                let stem: Vec<_> = layers.iter().filter(|layer| layer.shape.reads == Input::Image).collect();
                let reads = !stem.is_empty() && stem.iter().all(|layer| layer.shape.inputs == channels);
                require(reads, format!("{what}: a layer that reads images of {channels} channels"), "there is none")?;
                // Several outputs can vote for a class.
                let head =
                    layers.iter().any(|layer| layer.shape.place == Place::Classifier && layer.shape.outputs % 3 == 0);
                require(head, format!("{what}: a classifier with outputs for each of 3 classes"), "there is none")?;
                let counted = layers.iter().any(|layer| layer.searched);
                require(
                    counted == (what == "supernet"),
                    "layers that the search counts in the supernet, and none in the final network",
                    format!("in the {what}: {counted}"),
                )
            })?;
        }
    }
    Ok(())
}

fn activity(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let images = images(4, 1, 12);
        both(&made, 1, 12, |what, network, _| {
            let quiet = network.forward(&images, &pass(3, true, false)).activity.len();
            require(quiet == 0, format!("{what}: no firing rates unless they are measured"), quiet.to_string())?;
            let activity = network.forward(&images, &Pass { maps: true, ..pass(3, true, true) }).activity;
            let layers = network.layers();
            require(
                activity.len() == layers.len(),
                format!("{what}: a firing rate for each of {} layers", layers.len()),
                activity.len().to_string(),
            )?;
            for (Activity { rate, map }, layer) in activity.iter().zip(&layers) {
                let name = &layer.shape.name;
                require(
                    rate.size() == [3],
                    format!("{what}: a rate for each of 3 timesteps at `{name}`"),
                    format!("{:?}", rate.size()),
                )?;
                let (least, most) = (number(&rate.min()), number(&rate.max()));
                let most_of_neuron = if layer.shape.reads == Input::Sums { f64::INFINITY } else { 1.0 };
                require(
                    least >= 0.0 && most <= most_of_neuron,
                    format!("{what}: rates of 0 to 1 at `{name}`"),
                    format!("{least} to {most}"),
                )?;
                require(!rate.requires_grad(), format!("{what}: rates without gradient at `{name}`"), "they have one")?;
                let neurons = layer.shape.input_neurons();
                let size = map.as_ref().map(Tensor::size);
                require(
                    size.as_deref() == Some(&neurons),
                    format!(
                        "{what}: a map {neurons:?} of the input neurons' spikes at `{name}` where maps are asked for"
                    ),
                    size.map_or("none".to_owned(), |size| format!("{size:?}")),
                )?;
                // Of the same neurons: after a resize, and not before.
                let (by_rate, by_map) = (
                    number(&rate.sum(Element::Double)),
                    map.iter().map(|map| number(&map.mean(Element::Double))).sum::<f64>(),
                );
                require(
                    (by_rate - by_map).abs() <= 1e-4 * by_rate.max(1e-3),
                    format!("{what}: as many spikes by the map as by the rates at `{name}`, {by_rate} a neuron"),
                    by_map.to_string(),
                )?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn parameters(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        both(&made, 1, 12, |what, network, parameters| {
            let trained: usize = parameters.of(&[Role::Weight]).map(|parameter| parameter.tensor.numel()).sum();
            let weights: usize = network.layers().iter().map(|layer| layer.weight.raw().numel()).sum();
            let (want, told) = ((trained - weights) as u64, network.full_precision_parameters());
            require(
                want == told,
                format!("{what}: {trained} trained minus {weights} in weights, {want}"),
                told.to_string(),
            )
        })?;
    }
    Ok(())
}

fn compressors(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let info = workbench::information(1, 12);
        let images = images(6, 1, 12);
        for other in subject.others(Kind::Compressor) {
            let other = first_of::<Box<dyn Compressor>>(other)?;
            let stack = [(other.name, other.plugin.as_ref())];
            let what = format!("with compressor `{}`", other.name);
            let searched = works(
                workbench::supernet(made.plugin.as_ref(), &info, None, &stack, 1),
                format!("{what}, a supernet"),
            )?;
            let design = workbench::design(searched.supernet.as_ref(), 2);
            let built = workbench::network(made.plugin.as_ref(), &design, &info, &stack, 1);
            let (network, parameters) = works(built, format!("{what}, the network of its design"))?;
            for (part, network, parameters) in
                [("supernet", as_network(&searched), &searched.parameters), ("network", network.as_ref(), &parameters)]
            {
                let response = network.forward(&images, &pass(2, true, true));
                logits(&response, 2, 6, &format!("{what}, {part}"))?;
                let loss = loss(network, &response, 2);
                works(loss.f_backward().map_err(Error::from), format!("{what}, {part}: backward runs"))?;
                let cut = parameters.trainable().iter().find(|parameter| !parameter.tensor.grad().defined());
                let name = cut.map_or("", |parameter| parameter.name.as_str());
                require(name.is_empty(), format!("{what}, {part}: gradients everywhere"), format!("none at `{name}`"))?;
                // Not every compressor has removed anything before it is trained.
                let touched = network.layers().iter().any(|layer| layer.weight.is_compressed(Techniques::ALL));
                require(touched, format!("{what}, {part}: layers that are compressed"), "there are none")?;
            }
        }
    }
    Ok(())
}

fn extremes(subject: &Subject) -> Kept {
    let info = workbench::information(1, 12);
    let images = images(4, 1, 12);
    for (setting, made) in subject.extremes::<Boxed>()? {
        let tried = guarded(|| {
            let build = || -> Result<()> {
                let searched = workbench::supernet(made.plugin.as_ref(), &info, None, &[], 1)?;
                let design = workbench::design(searched.supernet.as_ref(), 1);
                let (network, _) = workbench::network(made.plugin.as_ref(), &design, &info, &[], 1)?;
                for network in [as_network(&searched), network.as_ref()] {
                    let response = network.forward(&images, &pass(2, true, false));
                    if !finite(&response.logits) {
                        return Err(Error::Tensor("the logits are not finite".into()));
                    }
                }
                Ok(())
            };
            build().or_else(|error| clear(&setting, &error.to_string()))
        });
        tried.map_err(|panic| broken(format!("{setting} works or is refused"), format!("it panicked: {panic}")))??;
    }
    Ok(())
}
