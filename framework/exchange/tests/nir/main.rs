//! NIR files beside the engine: importers give the same spikes, and what NIR cannot hold is
//! refused.

#[path = "../cases/mod.rs"]
mod cases;
mod importer;
#[path = "../networks/mod.rs"]
mod networks;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

use importer::{Imported, Node};
use litesnn_engine::{
    Current, EarlyExit, Image, Join, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window,
};
use litesnn_exchange::nir::{Options, Refusal, write};

fn imported(network: &Network, options: &Options) -> Imported {
    Imported::new(write(network, options).unwrap())
}

fn unit() -> Options {
    Options { unit_resistance: true, ..Options::default() }
}

/// The Python of the peers (`framework/benches/peers/requirements.txt`), where it has the
/// importers.
fn python() -> Option<PathBuf> {
    let venv = std::env::var_os("PEERS_VENV").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("litesnn/peers"))
    })?;
    let python = venv.join("bin/python");
    let found = Command::new(&python).args(["-c", "import nir, nirtorch, snntorch, spikingjelly"]).output();
    found.is_ok_and(|output| output.status.success()).then_some(python)
}

#[test]
fn importers_give_the_spikes_of_the_engine() {
    let Some(python) = python() else {
        // Not `eprintln!`, which the harness keeps to itself.
        let why = "test skipped: $PEERS_VENV has no Python with nir, nirtorch, snntorch and spikingjelly";
        writeln!(io::stderr(), "{why}").unwrap();
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut random = networks::Random(7);
    for (name, network) in networks::nir_samples() {
        let images: Vec<Vec<f32>> = (0..3).map(|_| random.pixels(network.image.shape.iter().product())).collect();
        cases::write_nir_case(&folder.path().join(name), &network, &images);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/peers/nir_witness.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let runs = 2 * 2 * networks::nir_samples().len();
    assert_eq!(text.lines().count(), 1 + runs, "every file ran in both importers\n{text}");
}

/// The loops of `importer.rs` in place of other programs.
#[test]
fn a_file_holds_the_whole_network() {
    let mut random = networks::Random(11);
    for (name, network) in networks::nir_samples() {
        let pixels = random.pixels(network.image.shape.iter().product());
        let (logits, spikes) = cases::answers(&network, std::slice::from_ref(&pixels));
        let places = network.image.shape[1] * network.image.shape[2];
        // The image of every sample: (pixel - 0.5) / 0.25, exact in f32.
        assert_eq!((network.image.mean[0], network.image.std[0], pixels.len() % places), (0.5, 0.25, 0));
        let input: Vec<f32> = pixels.iter().map(|pixel| (pixel - 0.5) / 0.25).collect();
        for options in [Options::default(), unit()] {
            let (found, fired) = imported(&network, &options).run(&input, network.timesteps);
            for (logit, wanted) in found.iter().zip(&logits) {
                assert!((logit - f64::from(*wanted)).abs() < 1e-5, "{name}: {found:?}, and the engine has {logits:?}");
            }
            for (map, wanted) in &spikes {
                let node = map.replace('.', "_");
                let (_, fired) = fired.iter().find(|(full, _)| full[5..] == node).expect("each map has a node");
                let fired: Vec<f32> = fired.iter().flatten().map(|fired| f32::from(u8::from(*fired))).collect();
                assert!(fired == *wanted, "{name}: {map} has other spikes");
            }
        }
    }
}

/// Networks that are silent, or fire always, would agree with anything.
#[test]
fn samples_fire_and_stay_silent() {
    let mut random = networks::Random(11);
    for (name, network) in networks::nir_samples() {
        let image = random.pixels(network.image.shape.iter().product());
        for (map, spikes) in cases::answers(&network, &[image]).1 {
            let rate = spikes.iter().sum::<f32>() / spikes.len() as f32;
            assert!((0.02..0.98).contains(&rate), "{name}, {map} fires at {rate}");
        }
    }
}

/// An importer that goes from node to node by their names finds what each reads, and `nir.read`
/// finds shapes that fit.
#[test]
fn a_node_comes_after_those_that_it_reads() {
    for (name, network) in networks::nir_samples() {
        let graph = imported(&network, &Options::default());
        assert!(graph.edges.iter().all(|(source, target)| source < target), "{name}: {:?}", graph.edges);
        let distinct: BTreeSet<&(usize, usize)> = graph.edges.iter().collect();
        assert_eq!(distinct.len(), graph.edges.len(), "{name}: an edge is there twice");
        let last = graph.nodes.len() - 1;
        let read: BTreeSet<usize> = graph.edges.iter().map(|(source, _)| *source).collect();
        for (place, (full, node)) in graph.nodes.iter().enumerate() {
            assert_eq!(read.contains(&place), place != last, "{name}: {full} is read");
            assert_eq!(graph.sources(place).is_empty(), place == 0, "{name}: {full} reads");
            assert_eq!(matches!(node, Node::Input(_)), place == 0, "{name}: {full}");
            assert_eq!(matches!(node, Node::Output(_)), place == last, "{name}: {full}");
        }
        assert_eq!(graph.sources(last).len(), 1, "{name}: importers do not add what the output reads");
        assert_eq!(graph.shapes()[last], [network.classes.len(), 1, 1], "{name}");
    }
}

#[test]
fn neurons_are_a_step_of_forward_euler() {
    let threshold = f64::from(0.5f32.next_up());
    let lif = |r: f64| Node::Lif { shape: [4, 4, 4], tau: 1.25e-4, r, threshold };
    let network = networks::wide();
    let (scaled, unit) = (imported(&network, &Options::default()), imported(&network, &unit()));
    assert_eq!(scaled.node("stem"), &lif(1.25));
    assert_eq!(unit.node("stem"), &lif(1.0));
    let (weights, larger) = (scaled.convolution("stem_conv"), unit.convolution("stem_conv"));
    for (weight, larger) in weights.weight.iter().chain(&weights.bias).zip(larger.weight.iter().chain(&larger.bias)) {
        assert!((larger / weight - 1.25).abs() < 1e-6, "{weight} became {larger}");
    }
    // Currents times 1 - decay are what r = 1 says; half of it is left to the weights.
    let gained = |gain: f32| {
        let mut network = networks::wide();
        let Made::Spikes { neuron, .. } = &mut network.maps[0].made else { panic!("the stem has neurons") };
        neuron.gain = Some(gain);
        imported(&network, &Options::default())
    };
    let same = gained(0.8);
    assert_eq!((same.node("stem"), &same.convolution("stem_conv").weight), (&lif(1.0), &weights.weight));
    let half = gained(0.5);
    assert_eq!(half.node("stem"), &lif(1.25));
    let halves: Vec<f32> = weights.weight.iter().map(|weight| weight / 2.0).collect();
    assert_eq!(half.convolution("stem_conv").weight, halves);
}

const NEURON: Neuron = Neuron { decay: 0.2, threshold: 0.5, reset: Reset::Hard, gain: None };

fn synapses(name: &str, of: Source, shape: [usize; 4], levels: &[i16]) -> Synapses {
    Synapses {
        name: name.into(),
        of,
        shape,
        groups: 1,
        stride: 1,
        padding: 0,
        values: Values::Levels(levels.to_vec()),
        bits: 4,
        scale: vec![],
        bias: vec![],
    }
}

/// Two channels of 4x4 from an image of one, and what is made of them; the logits read the last
/// map.
fn network(made: &[([usize; 3], Made)]) -> Network {
    let stem = Current::Synapses(synapses("stem.conv", Source::Image, [2, 1, 1, 1], &[1, -1]));
    let mut maps = vec![Map {
        name: "stem".into(),
        shape: [2, 4, 4],
        made: Made::Spikes { neuron: NEURON, currents: vec![stem] },
    }];
    for (place, (shape, made)) in made.iter().enumerate() {
        maps.push(Map { name: format!("map{}", place + 1), shape: *shape, made: made.clone() });
    }
    let [channels, height, _] = maps[maps.len() - 1].shape;
    let shape = [1, channels, height, height];
    let levels: Vec<i16> = (1..=shape.iter().product::<usize>() as i16).collect();
    let classifier = synapses("classifier", Source::Map(maps.len() - 1), shape, &levels);
    Network {
        image: Image { shape: [1, 4, 4], mean: vec![0.25], std: vec![0.5] },
        classes: vec!["the only".into()],
        timesteps: 3,
        maps,
        logits: Logits { synapses: classifier, neuron: None, votes: 1 },
        exit: None,
    }
}

/// The classifier reads 2 + 1 channels of 2x2: a Conv2d for each of the two maps beside each other,
/// of which the first is every second row and column of the stem.
#[test]
fn what_reads_maps_side_by_side_has_a_convolution_for_each() {
    let one = synapses("one", Source::Map(1), [1, 2, 1, 1], &[1, 1]);
    let mut network = network(&[
        ([2, 2, 2], Made::Resized(0)),
        ([1, 2, 2], Made::Spikes { neuron: NEURON, currents: vec![Current::Synapses(one)] }),
        ([3, 2, 2], Made::SideBySide(vec![1, 2])),
    ]);
    network.logits.synapses.scale = vec![0.5];
    network.logits.synapses.bias = vec![0.125];
    network.check().unwrap();
    let graph = imported(&network, &Options::default());
    let parts: Vec<usize> = (0..graph.nodes.len()).filter(|at| graph.nodes[*at].0.ends_with("classifier")).collect();
    let read = parts.iter().map(|at| &graph.nodes[graph.sources(*at)[0]].0[5..]).collect::<Vec<_>>();
    assert_eq!(read, ["stem", "map2"]);
    let parts: Vec<&importer::Conv2d> = parts
        .iter()
        .map(|at| match &graph.nodes[*at].1 {
            Node::Conv2d(convolution) => convolution,
            other => panic!("{other:?}"),
        })
        .collect();
    let halves = |levels: std::ops::RangeInclusive<i16>| levels.map(|level| f32::from(level) / 2.0).collect::<Vec<_>>();
    assert_eq!((parts[0].shape, &parts[0].weight), ([1, 2, 2, 2], &halves(1..=8)));
    assert_eq!((parts[1].shape, &parts[1].weight), ([1, 1, 2, 2], &halves(9..=12)));
    assert_eq!((parts[0].stride, parts[0].dilation, parts[0].padding), ([2, 2], [2, 2], [0, 0]));
    assert_eq!((parts[1].stride, parts[1].dilation, parts[1].padding), ([1, 1], [1, 1], [0, 0]));
    // The bias counts once, and a convolution adds the two before the output.
    assert_eq!((&parts[0].bias, &parts[1].bias), (&vec![0.125], &vec![0.0]));
    let sum = graph.convolution("logits");
    assert_eq!((sum.shape, &sum.weight, &sum.bias), ([1, 1, 1, 1], &vec![1.0], &vec![0.0]));
}

/// A vector of 2 x 3x4 places: its weights are a kernel of 4x4, and of its rows one is outside
/// above.
#[test]
fn a_linear_layer_is_a_kernel_as_large_as_the_map() {
    let mut network = network(&[([24, 1, 1], Made::Flat(0))]);
    network.image.shape = [1, 3, 4];
    network.maps[0].shape = [2, 3, 4];
    network.check().unwrap();
    let graph = imported(&network, &Options::default());
    let linear = graph.convolution("classifier");
    assert_eq!((linear.shape, linear.padding, linear.stride), ([1, 2, 4, 4], [1, 0], [8, 8]));
    let rows: Vec<&[f32]> = linear.weight.chunks(4).collect();
    assert_eq!(rows[..4], [&[0.0; 4][..], &[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0], &[9.0, 10.0, 11.0, 12.0]]);
    assert_eq!(rows[5], [13.0, 14.0, 15.0, 16.0]);
}

/// Spikes handed on are an edge; the same spikes again, and means, are a convolution of 1x1.
#[test]
fn spikes_that_are_handed_on_are_an_edge() {
    let on = |of, divisor, scale| Current::Scaled { of, divisor, scale, bias: vec![] };
    let window = Window { size: [4, 4], stride: [4, 4], padding: [0, 0] };
    let network = network(&[
        ([2, 4, 4], Made::Spikes { neuron: NEURON, currents: vec![on(0, 1.0, vec![]), on(0, 1.0, vec![])] }),
        ([2, 1, 1], Made::Sums { of: 1, window }),
        ([2, 1, 1], Made::Spikes { neuron: NEURON, currents: vec![on(2, 16.0, vec![])] }),
        ([2, 1, 1], Made::Spikes { neuron: NEURON, currents: vec![on(2, 8.0, vec![1.0, 0.25])] }),
    ]);
    network.check().unwrap();
    let graph = imported(&network, &Options::default());
    let sources = |name: &str| -> Vec<&str> {
        let place = graph.nodes.iter().position(|(full, _)| full[5..] == *name).unwrap();
        graph.sources(place).iter().map(|source| &graph.nodes[*source].0[5..]).collect()
    };
    assert_eq!(sources("map1"), ["stem", "map1_of_stem"]);
    assert_eq!(graph.convolution("map1_of_stem").weight, [1.0, 0.0, 0.0, 1.0]);
    // 16 numbers by 16 are the mean itself; by 8 they are twice the mean.
    assert_eq!(sources("map3"), ["map2_mean"]);
    assert_eq!(sources("map4"), ["map4_of_map2"]);
    assert_eq!(graph.convolution("map4_of_map2").weight, [2.0, 0.0, 0.0, 0.5]);
}

/// Where one of nine places fires, the mean is 1/9; the threshold is half of that.
#[test]
fn the_largest_of_spikes_is_a_neuron_over_their_mean() {
    let window = Window { size: [3, 3], stride: [1, 1], padding: [1, 1] };
    let network = network(&[([2, 4, 4], Made::Largest { of: 0, window })]);
    let graph = imported(&network, &Options::default());
    let pool = Node::AvgPool2d { size: [3, 3], stride: [1, 1], padding: [1, 1] };
    assert_eq!(graph.node("map1_mean"), &pool);
    assert_eq!(graph.node("map1"), &Node::Lif { shape: [2, 4, 4], tau: 1.25e-4, r: 1.25, threshold: 0.5 / 9.0 });
}

#[test]
fn metadata_says_what_nir_does_not() {
    let facts = vec![("digest".to_owned(), "12ab".to_owned())];
    let file = imported(&network(&[]), &Options { facts, ..Options::default() }).file;
    let dataset = |key: &str| file.dataset(&format!("node/metadata/{key}")).unwrap();
    let text = |key: &str| dataset(key).read_string().unwrap().remove(0);
    assert_eq!(dataset("timesteps").read_i64().unwrap(), [3]);
    assert_eq!(dataset("dt").read_f64().unwrap(), [1e-4]);
    assert_eq!([dataset("mean"), dataset("std")].map(|all| all.read_f32().unwrap()), [[0.25], [0.5]]);
    assert_eq!(text("input"), "the image at every timestep, [C, H, W]: (pixel - mean) / std, pixels from 0 to 1");
    assert_eq!(text("output"), "the logits of a timestep, [K, 1, 1]; the answer is their mean over all timesteps");
    assert_eq!(text("producer"), concat!("litesnn ", env!("CARGO_PKG_VERSION")));
    assert_eq!([text("classes"), text("digest")], ["the only", "12ab"]);
    let mut keys = file.group("node/metadata").unwrap().datasets().unwrap();
    keys.sort();
    assert_eq!(keys, ["classes", "digest", "dt", "input", "mean", "output", "producer", "std", "timesteps"]);
}

fn refused(network: &Network) -> String {
    network.check().unwrap();
    match write(network, &Options::default()) {
        Ok(bytes) => panic!("it was written, {} bytes", bytes.len()),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn maps_without_a_form_are_refused_by_name() {
    let window = |size, padding| Window { size: [size; 2], stride: [1; 2], padding: [padding; 2] };
    assert_eq!(
        refused(&network(&[([2, 3, 3], Made::Resized(0))])),
        "`map1`: a map of 4x4 becomes 3x3, and NIR has no node that resizes: a convolution reads every n-th row and \
         column alone, which needs a size that divides the other"
    );
    let larger = refused(&network(&[([2, 8, 8], Made::Resized(0))]));
    assert!(larger.starts_with("`map1`: a map of 4x4 becomes 8x8"), "{larger}");
    let sum = ([2, 4, 4], Made::Joined { of: [0, 0], by: Join::Add });
    assert_eq!(
        refused(&network(&[sum, ([2, 3, 3], Made::Largest { of: 1, window: window(2, 0) })])),
        "`map2`: it takes the largest of sums, and NIR has no such node; of spikes, neurons can take it"
    );
    for (by, name) in [(Join::And, "and"), (Join::Iand, "iand")] {
        let said = refused(&network(&[([2, 4, 4], Made::Joined { of: [0, 0], by })]));
        assert_eq!(said, format!("`map1`: its spikes are joined by `{name}`, and NIR has no product of two maps"));
    }
    assert_eq!(
        refused(&network(&[([2, 6, 6], Made::Sums { of: 0, window: window(3, 2) })])),
        "`map1`: windows of [3, 3] begin [2, 2] outside the map, and importers take half at most"
    );
}

#[test]
fn neurons_without_a_form_are_refused_by_name() {
    let with = |neuron: Neuron| {
        let mut network = network(&[]);
        let Made::Spikes { neuron: place, .. } = &mut network.maps[0].made else { panic!("the stem has neurons") };
        *place = neuron;
        refused(&network)
    };
    assert_eq!(
        with(Neuron { reset: Reset::Soft, ..NEURON }),
        "`stem`: a spike takes the threshold from the potential, and NIR resets to a value, v_reset"
    );
    assert_eq!(
        with(Neuron { decay: 1.0, ..NEURON }),
        "`stem`: its neurons do not leak, and importers do not agree on the resistance of NIR's IF"
    );
    let soft = Logits { neuron: Some(Neuron { reset: Reset::Soft, ..NEURON }), ..network(&[]).logits };
    let voting = refused(&Network { logits: soft, ..network(&[]) });
    assert!(voting.starts_with("`classifier`: a spike takes"), "{voting}");
}

/// A layer of this kernel on the stem, and a classifier as large as its map.
fn with_kernel([rows, columns]: [usize; 2], padding: usize) -> Network {
    let synapses = |name, of, [rows, columns]: [usize; 2], channels| {
        let shape = [1, channels, rows, columns];
        synapses(name, of, shape, &(1..=shape.iter().product::<usize>() as i16).collect::<Vec<i16>>())
    };
    let layer = Synapses { padding, ..synapses("layer", Source::Map(0), [rows, columns], 2) };
    let map @ [height, width] = [5 + 2 * padding - rows, 5 + 2 * padding - columns];
    let spikes = Made::Spikes { neuron: NEURON, currents: vec![Current::Synapses(layer)] };
    let mut network = network(&[([1, height, width], spikes)]);
    network.logits.synapses = synapses("classifier", Source::Map(1), map, 1);
    network.check().unwrap();
    network
}

#[test]
fn a_kernel_that_is_not_square_gets_zeros_on_both_sides() {
    let graph = imported(&with_kernel([1, 3], 0), &Options::default());
    let layer = graph.convolution("layer");
    assert_eq!((layer.shape, layer.padding), ([1, 2, 3, 3], [1, 0]));
    let none = [0.0; 3];
    let rows: Vec<&[f32]> = layer.weight.chunks(3).collect();
    assert_eq!(rows, [none, [1.0, 2.0, 3.0], none, none, [4.0, 5.0, 6.0], none]);
    // On a map of 4x2, whose rows are as many as the square has.
    let classifier = graph.convolution("classifier");
    assert_eq!((classifier.shape, classifier.padding), ([1, 1, 4, 4], [0, 1]));
    assert_eq!(classifier.weight[..8], [0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0]);
}

#[test]
fn layers_without_a_form_are_refused_by_name() {
    assert_eq!(
        refused(&with_kernel([3, 2], 1)),
        "`layer`: a kernel of 3x2, and nir 1.0.8 knows square ones alone; zeros on both sides make no square of it"
    );
    // As a vector, 2 x 4x4 numbers have one place, and a kernel of 3x3 would read 8 beside it.
    let mut vector = network(&[([32, 1, 1], Made::Flat(0))]);
    let levels = [1; 32 * 9];
    vector.logits.synapses = Synapses { padding: 1, ..synapses("classifier", Source::Map(1), [1, 32, 3, 3], &levels) };
    assert_eq!(refused(&vector), "`classifier`: a kernel of 3x3 reads a vector, which has one place; 1x1 is right");
    // 2^15 channels handed on, each times 2: as one group they need 2^30 weights.
    let channels = 1 << 15;
    let mut large = network(&[]);
    let Made::Spikes { currents, .. } = &mut large.maps[0].made else { panic!("the stem has neurons") };
    *currents =
        vec![Current::Synapses(synapses("stem.conv", Source::Image, [channels, 1, 4, 4], &vec![1; channels * 16]))];
    large.maps[0].shape = [channels, 1, 1];
    let twice = Current::Scaled { of: 0, divisor: 1.0, scale: vec![2.0; channels], bias: vec![] };
    let made = Made::Spikes { neuron: NEURON, currents: vec![twice] };
    large.maps.push(Map { name: "map1".into(), shape: [channels, 1, 1], made });
    large.logits.synapses = synapses("classifier", Source::Map(1), [1, channels, 1, 1], &vec![1; channels]);
    assert_eq!(
        refused(&large),
        "`map1.of.stem`: [32768, 32768, 1, 1] weights in one group, and 268435456 are the most"
    );
}

#[test]
fn a_network_that_stops_early_is_refused_unless_all_timesteps_are_wanted() {
    let early = Network { exit: Some(EarlyExit::Entropy(0.25)), ..network(&[]) };
    assert!(write(&early, &Options::default()) == Err(Refusal::StopsEarly(EarlyExit::Entropy(0.25))));
    assert_eq!(
        refused(&early),
        "the network stops at an entropy below 0.25, and a NIR graph has no rule to stop, so that its answers would \
         differ"
    );
    let past = imported(&early, &Options { past_exit: true, ..Options::default() });
    let said = past.file.dataset("node/metadata/early_exit").unwrap().read_string().unwrap();
    assert_eq!(said, ["left out: the answer is that of all timesteps"]);
}

#[test]
fn a_fact_that_hdf5_cannot_name_is_refused() {
    let facts = vec![("a/b".to_owned(), String::new())];
    let error = write(&network(&[]), &Options { facts, ..Options::default() }).unwrap_err().to_string();
    assert!(error.starts_with("no HDF5 file holds it: "), "{error}");
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    for (name, network) in networks::nir_samples() {
        let write = || write(&network, &Options::default()).unwrap();
        assert!(write() == write(), "{name}");
    }
}
