//! The edges of a cell: all that there are, what is on them, and those that a search leaves.

use litesnn_framework::network::{Architecture, Edge};
use litesnn_framework::{Error, Result};

use super::operation::{Form, Operation, are_of_paper};
use super::settings::NAME;

/// Edges that decoding keeps for each node.
pub const KEPT_EDGES: usize = 2;

/// Where an edge begins: s0 is 0, s1 is 1, node i is 2 + i.
pub type Predecessor = usize;

/// `s0`, `s1`, or `n` and the number of the node.
pub fn predecessor_name(predecessor: Predecessor) -> String {
    if predecessor < 2 { format!("s{predecessor}") } else { format!("n{}", predecessor - 2) }
}

/// An edge of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The node that it leads to.
    pub node: usize,
    /// Where it begins.
    pub predecessor: Predecessor,
    /// Its number in the full cell: the row of alpha.
    pub index: usize,
}

impl Link {
    /// The edge with its operation, as a design names it.
    pub fn edge(&self, operation: Operation) -> Edge {
        Edge { node: self.node, from: predecessor_name(self.predecessor), operation: operation.name().into() }
    }

    /// Those of `operations` that a design may have on this edge, each as another network. From s0
    /// and s1, `skip` is the `conv3x3`.
    pub fn different(&self, operations: &[Operation]) -> Vec<Operation> {
        let twin = |operation: Operation| {
            operation == Operation::Skip
                && operations.contains(&Operation::Conv3x3)
                && Operation::Skip.form(self.predecessor) == Operation::Conv3x3.form(self.predecessor)
        };
        operations.iter().copied().filter(|one| *one != Operation::None && !twin(*one)).collect()
    }
}

/// An operation on an edge of a network.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The edge.
    pub link: Link,
    /// The name of its layers.
    pub operation: Operation,
    /// What it is made of.
    pub form: Form,
    /// Its place in the flattened alpha.
    pub choice: i64,
}

/// All edges of a cell, in order.
pub fn links(nodes: usize) -> Vec<Link> {
    let pairs = (0..nodes).flat_map(|node| (0..node + 2).map(move |predecessor| (node, predecessor)));
    pairs.enumerate().map(|(index, (node, predecessor))| Link { node, predecessor, index }).collect()
}

/// All `operations` on all edges.
pub fn all_candidates(nodes: usize, operations: &[Operation]) -> Vec<Candidate> {
    let of = |link: Link| {
        operations.iter().enumerate().map(move |(column, operation)| Candidate {
            link,
            operation: *operation,
            form: operation.form(link.predecessor),
            choice: (operations.len() * link.index + column) as i64,
        })
    };
    links(nodes).into_iter().flat_map(of).collect()
}

/// The edges that `weights` (softmax(alpha) by edge and operation, flattened) decode to, for the
/// first `nodes` nodes: see the table of the space.
pub fn decode(weights: &[f32], operations: &[Operation], nodes: usize) -> Architecture {
    let of = |link: &Link, operation: Operation| {
        let column = operations.iter().position(|one| *one == operation);
        column.and_then(|column| weights.get(operations.len() * link.index + column)).copied().unwrap_or(0.0)
    };
    // The paper's text keeps edges by the weight of their convolution.
    let ranks = |operation: Operation| operation != Operation::Skip || !are_of_paper(operations);
    let leading = |link: &Link, counts: &dyn Fn(Operation) -> bool| {
        let leads_on = operations.iter().copied().filter(|one| *one != Operation::None && counts(*one));
        let largest = leads_on.max_by(|a, b| of(link, *a).total_cmp(&of(link, *b)));
        largest.expect("a list of operations has one that leads on")
    };
    let strength = |link: &Link| of(link, leading(link, &ranks));
    let all = links(nodes);
    let mut edges = Vec::new();
    for node in 0..nodes {
        let mut links: Vec<&Link> = all.iter().filter(|link| link.node == node).collect();
        // Stable: of equal weights the earlier edge is kept.
        links.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
        links.truncate(KEPT_EDGES);
        links.sort_by_key(|link| link.index);
        for link in links {
            let kept = leading(link, &|_| true);
            let twin = !link.different(operations).contains(&kept);
            edges.push(link.edge(if twin { Operation::Conv3x3 } else { kept }));
        }
    }
    Architecture { space: NAME.into(), edges }
}

/// The places in the flattened alpha that the edges of an architecture have, where a cell of `nodes`
/// nodes chooses among `operations`.
pub fn choices(architecture: &Architecture, operations: &[Operation], nodes: usize) -> Result<Vec<usize>> {
    let all = links(nodes);
    let place = |Edge { node, from, operation }: &Edge| {
        let link = all.iter().find(|link| link.node == *node && predecessor_name(link.predecessor) == *from);
        let column = operations.iter().position(|one| one.name() == operation);
        let (Some(link), Some(column)) = (link, column) else {
            let names: Vec<String> = operations.iter().map(|one| format!("`{}`", one.name())).collect();
            let message = format!(
                "the supernet has no `{operation}` from `{from}` to node {node}: it has {} from s0, s1 and the nodes \
                 before to each of {nodes} nodes",
                names.join(", ")
            );
            return Err(Error::Plugin { kind: "space", name: NAME.into(), message });
        };
        Ok(operations.len() * link.index + column)
    };
    architecture.edges.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::super::operation::OF_PAPER;
    use super::*;

    fn shown(architecture: &Architecture) -> Vec<String> {
        let edges = architecture.edges.iter();
        edges.map(|edge| format!("{}->n{} {}", edge.from, edge.node, edge.operation)).collect()
    }

    #[test]
    fn decoding_keeps_the_two_strongest_convolutions_of_each_of_the_first_nodes() {
        // Rows of (skip, convolution) for the 5 edges of two nodes, then a third node that is not
        // decoded.
        let weights = [0.5, 0.5, 0.2, 0.8, 0.9, 0.1, 0.4, 0.6, 0.7, 0.3, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        let decoded = decode(&weights, &OF_PAPER, 2);
        assert_eq!(shown(&decoded), ["s0->n0 conv3x3", "s1->n0 conv3x3", "s1->n1 conv3x3", "n0->n1 skip"]);
    }

    #[test]
    fn a_wider_list_keeps_edges_by_their_largest_operation_that_is_not_none() {
        let operations = [Operation::Skip, Operation::Conv3x3, Operation::Conv1x1, Operation::None];
        #[rustfmt::skip]
        let weights = [
            // s0 and s1 to n0: from s0, `skip` is a convolution 3x3.
            0.5, 0.3, 0.1, 0.1,
            0.0, 0.1, 0.2, 0.7,
            // s0, s1 and n0 to n1: `none` is largest on the first, and does not make it strong.
            0.1, 0.1, 0.1, 0.7,
            0.1, 0.1, 0.3, 0.5,
            0.4, 0.1, 0.1, 0.4,
        ];
        let decoded = decode(&weights, &operations, 2);
        assert_eq!(shown(&decoded), ["s0->n0 conv3x3", "s1->n0 conv1x1", "s1->n1 conv1x1", "n0->n1 skip"]);
        // Without `conv3x3` in the list, a design has the name that the list has.
        let decoded = decode(&[0.9, 0.1, 0.2, 0.8], &[Operation::Skip, Operation::Conv5x5], 1);
        assert_eq!(shown(&decoded), ["s0->n0 skip", "s1->n0 conv5x5"]);
    }
}
