//! A graph that grows node by node, and hands back the name of each new value.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{
    Attribute, Dimension, FLOAT, Graph, INT, INT64, INTS, Node, Shape, Tensor, TensorType, Type, Value,
};

/// A graph under construction.
#[derive(Default)]
pub(super) struct Growing {
    graph: Graph,
    taken: BTreeSet<String>,
    /// The names of scalars, by their bits.
    scalars: BTreeMap<u32, String>,
}

impl Growing {
    /// A name that no other value has: the one that is asked for, if it is free.
    pub(super) fn name(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('\'');
        }
        name
    }

    /// Adds a node with one output, and hands back the output's name.
    pub(super) fn node(&mut self, kind: &str, name: &str, input: &[&str], attribute: Vec<Attribute>) -> String {
        self.nodes(kind, name, input, attribute, 1).remove(0)
    }

    /// Adds a node with several outputs, and hands back their names.
    pub(super) fn nodes(
        &mut self,
        kind: &str,
        name: &str,
        input: &[&str],
        attribute: Vec<Attribute>,
        outputs: usize,
    ) -> Vec<String> {
        let wanted = |place: usize| if outputs == 1 { name.to_owned() } else { format!("{name}.{}", place + 1) };
        let output: Vec<String> = (0..outputs).map(|place| self.name(&wanted(place))).collect();
        self.push(kind, input, output.clone(), attribute);
        output
    }

    /// Adds a node whose outputs have names already.
    pub(super) fn push(&mut self, kind: &str, input: &[&str], output: Vec<String>, attribute: Vec<Attribute>) {
        let input = input.iter().map(|name| (*name).to_owned()).collect();
        self.graph.node.push(Node { input, name: output[0].clone(), output, op_type: kind.to_owned(), attribute });
    }

    /// `parts` equal parts of a value along an axis.
    pub(super) fn split(&mut self, value: &str, axis: usize, parts: usize) -> Vec<String> {
        if parts == 1 {
            return vec![value.to_owned()];
        }
        let attributes = vec![integer("axis", axis), integer("num_outputs", parts)];
        self.nodes("Split", &format!("{value}/part"), &[value], attributes, parts)
    }

    /// The values, one after another along an axis.
    pub(super) fn concatenated(&mut self, name: &str, values: &[String], axis: usize) -> String {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        self.node("Concat", name, &values, vec![integer("axis", axis)])
    }

    /// Adds a tensor of any kind, and hands back its name.
    pub(super) fn tensor(&mut self, name: &str, data_type: i32, dims: &[usize], raw_data: Vec<u8>) -> String {
        let name = self.name(name);
        let dims = dims.iter().map(|dim| *dim as i64).collect();
        self.graph.initializer.push(Tensor { dims, data_type, name: name.clone(), raw_data });
        name
    }

    /// Adds a tensor of f32.
    pub(super) fn numbers(&mut self, name: &str, dims: &[usize], numbers: &[f32]) -> String {
        self.tensor(name, FLOAT, dims, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    /// Adds a list of i64: places or a shape.
    pub(super) fn places(&mut self, name: &str, places: &[i64]) -> String {
        let bytes = places.iter().flat_map(|place| place.to_le_bytes()).collect();
        self.tensor(name, INT64, &[places.len()], bytes)
    }

    /// A number without dimensions; the same number is held once.
    pub(super) fn scalar(&mut self, number: f32) -> String {
        if let Some(name) = self.scalars.get(&number.to_bits()) {
            return name.clone();
        }
        let name = self.numbers(&format!("number/{number}"), &[], &[number]);
        self.scalars.insert(number.to_bits(), name.clone());
        name
    }

    /// Declares an input of f32, whose first dimension has a name.
    pub(super) fn input(&mut self, name: &str, first: &str, rest: &[usize]) -> String {
        let name = self.name(name);
        self.graph.input.push(value(&name, first, rest));
        name
    }

    /// Declares a value as an output of f32, whose first dimension has a name.
    pub(super) fn output(&mut self, name: &str, first: &str, rest: &[usize]) {
        self.graph.output.push(value(name, first, rest));
    }

    /// The graph.
    pub(super) fn grown(self, name: &str) -> Graph {
        Graph { name: name.to_owned(), ..self.graph }
    }
}

fn value(name: &str, first: &str, rest: &[usize]) -> Value {
    let named = Dimension { dim_value: None, dim_param: Some(first.to_owned()) };
    let fixed = rest.iter().map(|dim| Dimension { dim_value: Some(*dim as i64), dim_param: None });
    let shape = Shape { dim: std::iter::once(named).chain(fixed).collect() };
    let tensor_type = Some(TensorType { elem_type: FLOAT, shape: Some(shape) });
    Value { name: name.to_owned(), r#type: Some(Type { tensor_type }) }
}

/// An attribute that is an integer.
pub(super) fn integer(name: &str, value: usize) -> Attribute {
    Attribute { name: name.to_owned(), i: Some(value as i64), ints: Vec::new(), r#type: INT }
}

/// An attribute that is a list of integers.
pub(super) fn integers(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|value| *value as i64).collect();
    Attribute { name: name.to_owned(), i: None, ints, r#type: INTS }
}
