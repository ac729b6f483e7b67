//! A graph of NIR nodes that grows node by node: a node comes after those it reads.

/// Nodes and the edges between them, by their places.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    pub edges: Vec<(usize, usize)>,
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// What it is in the network, such as `cell0.n1.s0.conv3x3`.
    pub label: String,
    pub kind: Kind,
}

/// The kinds of nodes that litesnn writes, with their fields.
#[derive(Debug)]
pub(super) enum Kind {
    /// Channels, height, width.
    Input([usize; 3]),
    /// Channels, height, width.
    Output([usize; 3]),
    Conv2d(Conv2d),
    AvgPool2d {
        size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    },
    Lif {
        /// Channels, height, width.
        shape: [usize; 3],
        lif: Lif,
    },
}

/// A convolution in one group.
#[derive(Debug)]
pub(super) struct Conv2d {
    /// Rows and columns of what it reads.
    pub input: [usize; 2],
    /// `[out, in, k, k]`: nir 1.0.8 takes the rows of a kernel for its columns, too.
    pub shape: [usize; 4],
    /// Row-major.
    pub weight: Vec<f32>,
    /// One for each output channel.
    pub bias: Vec<f32>,
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
}

/// tau v' = v_leak - v + r I with v_leak = v_reset = 0, the same for all neurons of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lif {
    /// Seconds.
    pub tau: f64,
    pub r: f64,
    pub threshold: f64,
}

impl Graph {
    /// Adds a node that reads the sum of the `sources`; its place.
    pub fn add(&mut self, label: &str, kind: Kind, sources: &[usize]) -> usize {
        let place = self.nodes.len();
        self.nodes.push(Node { label: label.to_owned(), kind });
        self.edges.extend(sources.iter().map(|source| (*source, place)));
        place
    }

    /// The names of the nodes, `0007_cell0_n1`: readers take nodes in the order of their names, and
    /// make attributes of Python of them.
    pub fn names(&self) -> Vec<String> {
        let digits = self.nodes.len().to_string().len().max(4);
        let plain = |label: &str| label.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        let named = |(place, node): (usize, &Node)| format!("{place:0digits$}_{}", plain(&node.label));
        self.nodes.iter().enumerate().map(named).collect()
    }
}
