//! A random design of equal cost: the control that a search has to beat.

use std::collections::BTreeSet;

use crate::data::DataInfo;
use crate::ground::{Build, Parameters, Stream};
use crate::manifest::Manifest;
use crate::network::{Compression, Decision, Design, Techniques};
use crate::{Error, Result};

/// Difference of weight memory and of bit-operations, relative to the design that is redrawn, that
/// counts as equal.
const TOLERANCE: f64 = 0.05;
/// Largest difference of the nearest design, where a small space has none of equal cost.
const LIMIT: f64 = 0.1;
const ATTEMPTS: u64 = 2_000;

/// Redraws a design: edges are sampled from the space, and what each compressor decided is dealt
/// anew to the groups of layers it decided for, until weight memory (bits) and bit · MACs of one
/// timestep lie within 5 % of the given design's. Where no draw is that near, the nearest one is
/// taken, up to 10 %. The number of timesteps stays. A design that builds the given one's layers
/// and tensors is drawn again, whatever it calls its operations. The draws depend on `seed` alone.
pub(super) fn redraw(given: &Design, manifest: &Manifest, info: &DataInfo, seed: u64) -> Result<Design> {
    let wanted = outline(given, manifest, info)?;
    let groups = &wanted.groups;
    let mut nearest: Option<(f64, Design)> = None;
    for attempt in 0..ATTEMPTS {
        let mut random = Stream::open(seed, "redraw", attempt);
        let architecture = manifest.space.sample(&mut random);
        let compression = deal(&given.compression, groups, &mut random);
        let drawn = Design { edges: architecture.edges, compression, ..given.clone() };
        let found = outline(&drawn, manifest, info)?;
        if (&found.layers, &found.tensors) == (&wanted.layers, &wanted.tensors) {
            continue;
        }
        let apart = |of: fn(&Outline) -> f64| match (of(&found), of(&wanted)) {
            // A design of skips alone costs nothing.
            (found, wanted) if found == wanted => 0.0,
            (found, wanted) => (found / wanted - 1.0).abs(),
        };
        let difference = f64::max(apart(|network| network.memory), apart(|network| network.compute));
        if difference <= TOLERANCE {
            return Ok(drawn);
        }
        if nearest.as_ref().is_none_or(|(so_far, _)| difference < *so_far) {
            nearest = Some((difference, drawn));
        }
    }
    let message = match nearest {
        Some((difference, drawn)) if difference <= LIMIT => return Ok(drawn),
        Some((difference, _)) => format!(
            "none of {ATTEMPTS} random designs costs within {:.0} % of the given one; the nearest is {:.0} % away",
            100.0 * LIMIT,
            100.0 * difference
        ),
        None => "the space has no other design of the same number of timesteps".to_owned(),
    };
    Err(Error::design(message))
}

/// Deals the decisions of each compressor to those of its groups that are among `groups` at random.
fn deal(compression: &Compression, groups: &BTreeSet<String>, random: &mut Stream) -> Compression {
    let mut dealt = Compression::new();
    for (compressor, decisions) in compression {
        // A decision that stands for every layer, or for one outside of the body, is no choice.
        let groups: Vec<&String> = decisions.keys().filter(|group| groups.contains(*group)).collect();
        let values: Vec<&Decision> = groups.iter().map(|group| &decisions[*group]).collect();
        let mut all = decisions.clone();
        for (group, index) in groups.iter().zip(random.permutation(values.len())) {
            all.insert((*group).clone(), values[index as usize].clone());
        }
        dealt.insert(compressor.clone(), all);
    }
    dealt
}

/// What a design builds.
struct Outline {
    /// Name and kept bits a weight of every layer: not every operation that an edge names is one of
    /// its own in every network.
    layers: Vec<(String, f64)>,
    /// The names of all tensors: an operation without weights has a normalisation of its own.
    tensors: Vec<String>,
    /// The groups of layers of the network's body.
    groups: BTreeSet<String>,
    /// Weight memory in bits.
    memory: f64,
    /// bit · MACs.
    compute: f64,
}

fn outline(design: &Design, manifest: &Manifest, info: &DataInfo) -> Result<Outline> {
    let mut parameters = Parameters::default();
    let mut build = Build::outline(&mut parameters);
    let (architecture, compressors) = (design.architecture(), manifest.compressors());
    let network = manifest.space.network(&architecture, &design.compression, false, info, &compressors, &mut build)?;
    let mut outline =
        Outline { layers: Vec::new(), tensors: Vec::new(), groups: BTreeSet::new(), memory: 0.0, compute: 0.0 };
    for layer in network.layers() {
        let bits = layer.weight.bits(Techniques::ALL).number() * layer.weight.density(Techniques::ALL).number();
        outline.memory += bits * layer.shape.weights();
        outline.compute += bits * layer.shape.macs();
        outline.layers.push((layer.shape.name.clone(), bits));
        if layer.shape.place.is_body() {
            outline.groups.insert(layer.shape.place.group());
        }
    }
    outline.tensors = parameters.named().map(|(name, _)| name.to_owned()).collect();
    Ok(outline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Decisions;

    #[test]
    fn dealing_keeps_what_was_decided_and_leaves_the_rest() {
        let bits = |bits| Decision { bits: Some(bits), rate: None };
        let groups = [("cell0", 1), ("cell1", 2), ("cell2", 4), ("stem", 4)];
        let decisions: Decisions = groups.iter().map(|(name, width)| ((*name).to_owned(), bits(*width))).collect();
        let given = Compression::from([("q".to_owned(), decisions)]);
        let body = ["cell0", "cell1", "cell2"].map(str::to_owned).into();
        let mut different = 0;
        for index in 0..20 {
            let dealt = deal(&given, &body, &mut Stream::open(0, "test", index));
            let mut widths: Vec<Option<u32>> = dealt["q"].values().map(|decision| decision.bits).collect();
            assert_eq!(dealt["q"]["stem"].bits, Some(4));
            widths.sort_unstable();
            assert_eq!(widths, [Some(1), Some(2), Some(4), Some(4)]);
            different += usize::from(dealt != given);
        }
        assert!(different > 10);
    }
}
