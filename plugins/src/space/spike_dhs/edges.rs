//! The edges of a cell: all that there are, what is on them, and those that a search leaves.

use litesnn_framework::network::{Architecture, Edge};
use litesnn_framework::{Error, Result};

use super::settings::NAME;

/// The operation that hands on the spikes themselves.
pub const SKIP: &str = "skip";
/// The operation that is a CompConv 3x3 with BN.
pub const CONVOLUTION: &str = "conv3x3";
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
    pub fn edge(&self, operation: &str) -> Edge {
        Edge { node: self.node, from: predecessor_name(self.predecessor), operation: operation.into() }
    }
}

/// What is on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// Skip and convolution, weighted by alpha.
    All,
    /// The convolution alone.
    Convolution,
    /// The skip alone, between nodes.
    Identity,
}

/// All edges of a cell, in order.
pub fn links(nodes: usize) -> Vec<Link> {
    let pairs = (0..nodes).flat_map(|node| (0..node + 2).map(move |predecessor| (node, predecessor)));
    pairs.enumerate().map(|(index, (node, predecessor))| Link { node, predecessor, index }).collect()
}

/// The edges that `weights` (softmax(alpha) by edge and candidate, flattened) decode to, for the
/// first `nodes` nodes.
pub fn decode(weights: &[f32], nodes: usize) -> Architecture {
    let of = |link: &Link, choice: usize| weights.get(2 * link.index + choice).copied().unwrap_or(0.0);
    let all = links(nodes);
    let mut edges = Vec::new();
    for node in 0..nodes {
        let mut links: Vec<&Link> = all.iter().filter(|link| link.node == node).collect();
        // Stable: of equal weights the earlier edge is kept.
        links.sort_by(|a, b| of(b, 1).total_cmp(&of(a, 1)));
        links.truncate(KEPT_EDGES);
        links.sort_by_key(|link| link.index);
        for link in links {
            // On an edge from s0 or s1 both candidates are a convolution.
            let skip = link.predecessor >= 2 && of(link, 0) > of(link, 1);
            edges.push(link.edge(if skip { SKIP } else { CONVOLUTION }));
        }
    }
    Architecture { space: NAME.into(), edges }
}

/// The places in the flattened alpha that the edges of an architecture of the first `nodes` nodes
/// have.
pub fn choices(architecture: &Architecture, nodes: usize) -> Result<Vec<usize>> {
    let all = links(nodes);
    let place = |Edge { node, from, operation }: &Edge| {
        let link = all.iter().find(|link| link.node == *node && predecessor_name(link.predecessor) == *from);
        match (link, operation.as_str()) {
            (Some(link), SKIP) => Ok(2 * link.index),
            (Some(link), CONVOLUTION) => Ok(2 * link.index + 1),
            _ => {
                let message = format!(
                    "the supernet has no `{operation}` from `{from}` to node {node}: it has `{SKIP}` and \
                     `{CONVOLUTION}` from s0, s1 and the nodes before to each of {nodes} nodes"
                );
                Err(Error::Plugin { kind: "space", name: NAME.into(), message })
            }
        }
    };
    architecture.edges.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_keeps_the_two_strongest_convolutions_of_each_of_the_first_nodes() {
        // Rows of (skip, convolution) for the 5 edges of two nodes, then a third node that is not
        // decoded.
        let weights = [0.5, 0.5, 0.2, 0.8, 0.9, 0.1, 0.4, 0.6, 0.7, 0.3, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        let edges = decode(&weights, 2).edges;
        let shown: Vec<String> =
            edges.iter().map(|edge| format!("{}->n{} {}", edge.from, edge.node, edge.operation)).collect();
        assert_eq!(shown, ["s0->n0 conv3x3", "s1->n0 conv3x3", "s1->n1 conv3x3", "n0->n1 skip"]);
    }
}
