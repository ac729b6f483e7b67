//! ONNX files beside the engine: onnxruntime gives the same bits, and what ONNX cannot hold is
//! refused.

mod cases;
mod networks;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

use litesnn_engine::{EarlyExit, Made, Network};
use litesnn_exchange::onnx::message::{INT2, INT4, INT8, INT16, Model};
use litesnn_exchange::onnx::{Options, Refusal, Width, write};
use prost::Message as _;

fn model(network: &Network, options: &Options) -> Model {
    Model::decode(write(network, options).unwrap().as_slice()).unwrap()
}

/// The Python of the peers (`framework/benches/peers/requirements.txt`), where it has onnxruntime.
fn python() -> Option<PathBuf> {
    let venv = std::env::var_os("PEERS_VENV").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("litesnn/peers"))
    })?;
    let python = venv.join("bin/python");
    let found = Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    found.is_ok_and(|output| output.status.success()).then_some(python)
}

#[test]
fn onnxruntime_gives_the_bits_of_the_engine() {
    let Some(python) = python() else {
        // Not `eprintln!`, which the harness keeps to itself.
        let why = "test skipped: $PEERS_VENV has no Python with onnx, onnxruntime and numpy";
        writeln!(io::stderr(), "{why}").unwrap();
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut random = networks::Random(7);
    for (name, network) in networks::samples() {
        let size = network.image.shape.iter().product();
        let images: Vec<Vec<f32>> = (0..3).map(|_| random.photograph(size)).collect();
        cases::write_case(&folder.path().join(name), &network, &images, &cases::WIDTHS);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/peers/onnx_witness.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let runs = 2 * cases::WIDTHS.len() * networks::samples().len();
    assert_eq!(text.lines().count(), 1 + runs, "every file ran twice\n{text}");
}

/// Networks that are silent, or fire always, would agree with anything.
#[test]
fn samples_fire_and_stay_silent() {
    let mut random = networks::Random(7);
    for (name, network) in networks::samples() {
        let image = random.pixels(network.image.shape.iter().product());
        for (map, spikes) in cases::answers(&network, &[image]).1 {
            let rate = spikes.iter().sum::<f32>() / spikes.len() as f32;
            assert!((0.02..0.98).contains(&rate), "{name}, {map} fires at {rate}");
        }
    }
}

/// Every value is made once, before it is read; so a runtime can compute nodes in their order.
#[test]
fn every_value_is_made_once_and_before_it_is_read() {
    for (name, network) in networks::samples() {
        let graph = model(&network, &Options { spikes: true, ..Options::default() }).graph.unwrap();
        let made = graph.initializer.iter().map(|it| &it.name).chain(graph.input.iter().map(|it| &it.name));
        let mut known: BTreeSet<&String> = BTreeSet::new();
        for value in made {
            assert!(known.insert(value), "{name}: {value} is made twice");
        }
        for node in &graph.node {
            for read in &node.input {
                assert!(known.contains(read), "{name}: {read} is read by {} before it is made", node.name);
            }
            for value in &node.output {
                assert!(known.insert(value), "{name}: {value} is made twice");
            }
        }
        assert_eq!(graph.output[0].name, "logits", "{name}");
        let neurons = network.maps.iter().filter(|map| matches!(map.made, Made::Spikes { .. })).count();
        assert_eq!(graph.output.len(), 1 + neurons, "{name}");
        assert!(graph.output.iter().all(|output| known.contains(&output.name)), "{name}");
        assert!(graph.input.iter().all(|input| input.name == "pixels"), "{name}");
    }
}

/// Cells of 4, 2 and 1 bits in half steps, and a classifier of 4: -15 to 15 needs eight bits, -3 to 3
/// four, and -1 to 1 two.
#[test]
fn each_layer_has_the_narrowest_width_that_holds_it() {
    let kinds = |network: &Network, width| {
        let model = model(network, &Options { width, ..Options::default() });
        let tensors = model.graph.unwrap().initializer;
        let kinds = tensors.iter().filter(|tensor| tensor.name.ends_with("/levels")).map(|tensor| tensor.data_type);
        (model.opset_import[0].version, kinds.collect::<Vec<i32>>())
    };
    let network = networks::small_cells();
    // The stem, four convolutions in each cell, the classifier.
    let of_cells = |widths: [i32; 3]| {
        let cells = widths.into_iter().flat_map(|width| [width; 4]);
        [INT8].into_iter().chain(cells).chain([INT8]).collect::<Vec<i32>>()
    };
    assert_eq!(kinds(&network, Width::Int8), (21, of_cells([INT8, INT8, INT8])));
    assert_eq!(kinds(&network, Width::Int4), (25, of_cells([INT8, INT4, INT4])));
    assert_eq!(kinds(&network, Width::Int2), (25, of_cells([INT8, INT4, INT2])));
    assert_eq!(kinds(&network, Width::Float), (21, vec![]));
    assert_eq!(kinds(&networks::wide(), Width::Int2), (25, vec![INT16, INT8]));
}

#[test]
fn metadata_says_where_the_network_comes_from() {
    let facts = vec![("digest".to_owned(), "12ab".to_owned())];
    let model = model(&networks::wide(), &Options { facts, ..Options::default() });
    let entries: Vec<(&str, &str)> =
        model.metadata.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
    assert_eq!(entries, [("timesteps", "1"), ("classes", "class 0\nclass 1"), ("digest", "12ab")]);
    assert_eq!((model.producer_name.as_str(), model.ir_version), ("litesnn", 10));
    assert_eq!(model.producer_version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_network_that_stops_early_is_refused_unless_all_timesteps_are_wanted() {
    let refused = write(&networks::early(), &Options::default()).unwrap_err();
    assert_eq!(refused, Refusal::StopsEarly(EarlyExit::Confidence(0.9)));
    assert_eq!(
        refused.to_string(),
        "the network stops at a confidence above 0.9, and an ONNX graph runs all timesteps, so that its answers would \
         differ"
    );
    let past = Options { past_exit: true, ..Options::default() };
    let (early, all) = (model(&networks::early(), &past), model(&networks::wide(), &past));
    assert_eq!(early.graph, all.graph);
    assert_eq!(early.metadata[2].key, "early_exit");
}

#[test]
fn more_timesteps_than_are_unrolled_are_refused() {
    let network = Network { timesteps: 256, ..networks::wide() };
    let refused = write(&network, &Options::default()).unwrap_err();
    assert_eq!(refused.to_string(), "256 timesteps, and an ONNX graph, which unrolls them, has at most 255");
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    for (name, network) in networks::samples() {
        let write = || write(&network, &Options::default()).unwrap();
        assert!(write() == write(), "{name}");
    }
}
