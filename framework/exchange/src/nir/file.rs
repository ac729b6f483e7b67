//! A graph as an HDF5 file, as package `nir` 1.0.8 reads it.
//!
//! ```text
//! /version                 "1.0.8"
//! /node/type               "NIRGraph"
//! /node/edges              [E, 2] names of source and target
//! /node/metadata/KEY       what the file says beside the graph
//! /node/nodes/NAME/type    and a data set for each field
//! ```
//!
//! Texts are of variable length. Whatever has more than [`SMALL`] numbers is deflated.

use hdf5_pure::{Error, FileBuilder, GroupBuilder};

use super::graph::{Graph, Kind, Lif, Node};

/// The version of the package whose form the file has.
const VERSION: &str = "1.0.8";

/// Up to so many numbers are not deflated.
const SMALL: usize = 64;

/// The numbers that are deflated at once, at most, where a first dimension can be divided.
const CHUNK: usize = 1 << 20;

/// What a file says beside its graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fact {
    Text(String),
    Integer(i64),
    Number(f64),
    Numbers(Vec<f32>),
}

/// The bytes of the file.
pub(super) fn bytes(graph: &Graph, facts: &[(String, Fact)]) -> Result<Vec<u8>, Error> {
    let mut file = FileBuilder::new();
    file.create_dataset("version").with_vlen_strings(&[VERSION]).with_shape(&[]);
    let mut root = file.create_group("node");
    text(&mut root, "type", "NIRGraph");
    let names = graph.names();
    let edges: Vec<&str> =
        graph.edges.iter().flat_map(|(source, target)| [names[*source].as_str(), &names[*target]]).collect();
    root.create_dataset("edges").with_vlen_strings(&edges).with_shape(&[graph.edges.len() as u64, 2]);
    let mut metadata = root.create_group("metadata");
    for (key, fact) in facts {
        match fact {
            Fact::Text(value) => text(&mut metadata, key, value),
            Fact::Integer(value) => drop(metadata.create_dataset(key).with_i64_data(&[*value]).with_shape(&[])),
            Fact::Number(value) => drop(metadata.create_dataset(key).with_f64_data(&[*value]).with_shape(&[])),
            Fact::Numbers(values) => drop(metadata.create_dataset(key).with_f32_data(values)),
        }
    }
    root.add_group(metadata.finish());
    let mut nodes = root.create_group("nodes");
    for (name, node) in names.iter().zip(&graph.nodes) {
        let mut group = nodes.create_group(name);
        fields(&mut group, node);
        nodes.add_group(group.finish());
    }
    root.add_group(nodes.finish());
    file.add_group(root.finish());
    file.finish()
}

fn fields(group: &mut GroupBuilder, node: &Node) {
    match &node.kind {
        Kind::Input(shape) => {
            text(group, "type", "Input");
            integers(group, "shape", shape);
        }
        Kind::Output(shape) => {
            text(group, "type", "Output");
            integers(group, "shape", shape);
        }
        Kind::Conv2d(conv) => {
            text(group, "type", "Conv2d");
            integers(group, "input_shape", &conv.input);
            numbers(group, "weight", &conv.shape, &conv.weight);
            numbers(group, "bias", &[conv.bias.len()], &conv.bias);
            integers(group, "stride", &conv.stride);
            integers(group, "padding", &conv.padding);
            integers(group, "dilation", &conv.dilation);
            group.create_dataset("groups").with_i64_data(&[1]).with_shape(&[]);
        }
        Kind::AvgPool2d { size, stride, padding } => {
            text(group, "type", "AvgPool2d");
            integers(group, "kernel_size", size);
            integers(group, "stride", stride);
            integers(group, "padding", padding);
        }
        Kind::Lif { shape, lif: Lif { tau, r, threshold } } => {
            text(group, "type", "LIF");
            let fields = [("tau", *tau), ("r", *r), ("v_leak", 0.0), ("v_threshold", *threshold), ("v_reset", 0.0)];
            for (field, value) in fields {
                numbers(group, field, shape, &vec![value; shape.iter().product()]);
            }
        }
    }
}

fn text(group: &mut GroupBuilder, name: &str, value: &str) {
    group.create_dataset(name).with_vlen_strings(&[value]).with_shape(&[]);
}

fn integers(group: &mut GroupBuilder, name: &str, values: &[usize]) {
    let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
    group.create_dataset(name).with_i64_data(&values);
}

fn numbers<T: hdf5_pure::H5Element>(group: &mut GroupBuilder, name: &str, shape: &[usize], values: &[T]) {
    let mut dims: Vec<u64> = shape.iter().map(|side| *side as u64).collect();
    let data = group.create_dataset(name).with_data(values).with_shape(&dims);
    if values.len() > SMALL {
        let each = (values.len() / shape[0]).max(1);
        dims[0] = dims[0].min((CHUNK / each).max(1) as u64);
        data.with_chunks(&dims).with_deflate(6);
    }
}
