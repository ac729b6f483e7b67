//! A node with everything that drives it.

use tch::{Kind, Tensor};

use super::super::lif::Lif;
use super::super::node::TermKind;
use super::{BLOCK, Neuron, Tiling, address, blocks, bytes, dimensions, room};
use crate::ground::kernel::{Argument, Kernel};

static NODE: Kernel = Kernel::new(
    "node",
    concat!(
        include_str!("../../../kernels/neuron.h"),
        "\n#line 1 \"node.cu\"\n",
        include_str!("../../../kernels/node.cu")
    ),
);

/// Numbers of terms are rounded up to a multiple of it: each has code of its own.
const TERMS: usize = 16;

/// Sums of a block of threads that are added up by one block more.
const GROUP: i64 = 16;

/// What drives a node, on the device.
pub(in super::super) struct TermOnDevice<'a> {
    pub(in super::super) kind: TermKind,
    /// Maps of the currents or spikes, of which the channels from `first` on are read.
    pub(in super::super) x: &'a Tensor,
    pub(in super::super) first: i64,
    /// One map for all timesteps.
    pub(in super::super) constant: bool,
    /// Of currents: the coefficients `[4, T, C]`, and beta `[C]`.
    pub(in super::super) normalised: Option<[&'a Tensor; 2]>,
    /// Index into alpha.
    pub(in super::super) scale: Option<i64>,
}

/// Where the backward pass writes what belongs to a term.
pub(in super::super) struct TermGradient {
    /// As many values as x has; of spikes, as x. The rows of a part of currents come after those of
    /// the parts before it.
    pub(in super::super) gradient: Tensor,
    /// Of currents: their sums.
    pub(in super::super) sums: Option<Tensor>,
}

/// `Term` of node.cu.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Packed {
    x: u64,
    gradient: u64,
    factor: u64,
    shift: u64,
    mean: u64,
    beta: u64,
    scale: u64,
    sums: u64,
    stride: i64,
    first: i64,
    advance: i64,
    kind: i32,
    scale_index: i32,
}

/// A node of `width` channels over T timesteps.
pub(in super::super) struct NodeOnDevice {
    pub(in super::super) neuron: Lif,
    pub(in super::super) steps: i64,
    pub(in super::super) width: i64,
    /// Rows of channels at a timestep.
    pub(in super::super) rows: i64,
}

impl NodeOnDevice {
    /// Fills `spikes` and returns their rate `[T]`, if `measure`.
    pub(in super::super) fn forward(
        &self,
        terms: &[TermOnDevice],
        alpha: Option<&Tensor>,
        spikes: &Tensor,
        measure: bool,
    ) -> Option<Tensor> {
        let tiling = Tiling::of(self.width);
        let blocks = blocks(self.rows, tiling.rows * self.rows_of_a_thread());
        let fired = match measure {
            true => room(&[blocks * tiling.spans, self.steps], (Kind::Int, spikes.device())),
            false => Tensor::new(),
        };
        let packed = self.pack(terms, &[], alpha);
        let neuron = Neuron::of(&self.neuron);
        let mut arguments = self.arguments(terms, &packed);
        arguments.extend([neuron.argument(), Argument::I64(self.rows)]);
        arguments.extend([Argument::Tensor(spikes), Argument::Tensor(&fired)]);
        let grid = dimensions([blocks, tiling.spans, 1]);
        self.launch("node_forward", terms, grid, tiling.block(), &arguments);
        measure.then(|| {
            let rate = room(&[self.steps], (Kind::Float, spikes.device()));
            let arguments = [
                Argument::Tensor(&fired),
                Argument::I64(blocks * tiling.spans),
                Argument::F64((self.rows * self.width) as f64),
                Argument::Tensor(&rate),
            ];
            let grid = dimensions([self.steps, 1, 1]);
            self.launch("node_rate", terms, grid, dimensions([BLOCK, 1, 1]), &arguments);
            rate
        })
    }

    /// Fills the gradients and the sums of all terms from `upstream`, rows that lie
    /// `upstream_stride` apart, and returns the gradient to alpha.
    pub(in super::super) fn backward(
        &self,
        terms: &[TermOnDevice],
        to: &[TermGradient],
        alpha: Option<&Tensor>,
        upstream: &Tensor,
        upstream_stride: i64,
    ) -> Option<Tensor> {
        let tiling = Tiling::of(self.width);
        let (count, sums) = (terms.len() as i64, 2 * self.steps + 1);
        let blocks_of_rows = blocks(self.rows, tiling.rows * self.rows_of_a_thread());
        let made = |shape: &[i64], kind: Kind| room(shape, (kind, upstream.device()));
        let partial = made(&[blocks_of_rows, count, sums, self.width], Kind::Float);
        let to_scale = made(&[count, self.width], Kind::Double);
        let packed = self.pack(terms, to, alpha);
        let neuron = Neuron::of(&self.neuron);
        let mut arguments = self.arguments(terms, &packed);
        arguments.extend([neuron.argument(), Argument::I64(self.rows)]);
        arguments.extend([Argument::Tensor(upstream), Argument::I64(upstream_stride), Argument::Tensor(&partial)]);
        let grid = dimensions([blocks_of_rows, tiling.spans, 1]);
        self.launch("node_backward", terms, grid, tiling.block(), &arguments);
        let mut arguments = self.arguments(terms, &packed);
        arguments.extend([Argument::Tensor(&partial), Argument::I64(blocks_of_rows), Argument::Tensor(&to_scale)]);
        let grid = dimensions([blocks(count * sums * self.width, GROUP), 1, 1]);
        self.launch("node_sums", terms, grid, dimensions([GROUP, GROUP, 1]), &arguments);
        alpha.map(|alpha| {
            let to_alpha = made(&alpha.size(), Kind::Float);
            let mut arguments = self.arguments(terms, &packed);
            arguments.extend([Argument::Tensor(&to_scale), Argument::Tensor(&to_alpha)]);
            let grid = dimensions([alpha.numel() as i64, 1, 1]);
            self.launch("node_alpha", terms, grid, dimensions([BLOCK, 1, 1]), &arguments);
            to_alpha
        })
    }

    /// What all kernels of a node take first.
    fn arguments<'a>(&self, terms: &[TermOnDevice], packed: &'a [Packed]) -> Vec<Argument<'a>> {
        let width = Argument::I32(i32::try_from(self.width).expect("a node has less than 2^31 channels"));
        vec![Argument::Bytes(bytes(packed)), Argument::I32(terms.len() as i32), width]
    }

    /// Rows that a thread keeps at once, and blocks that a multiprocessor has at once, at least: what
    /// registers there are for. More blocks hide more of the memory's latency.
    fn rows_and_blocks(&self) -> [i64; 2] {
        match self.steps {
            1 => [4, 3],
            2..=6 => [2, 3],
            7..=10 => [1, 3],
            _ => [1, 2],
        }
    }

    fn rows_of_a_thread(&self) -> i64 {
        self.rows_and_blocks()[0]
    }

    fn pack(&self, terms: &[TermOnDevice], to: &[TermGradient], alpha: Option<&Tensor>) -> Vec<Packed> {
        let one = |(index, term): (usize, &TermOnDevice)| {
            let stride = term.x.size()[1];
            let row = |of: &Tensor, row: i64| address(of, row * self.steps * stride + term.first);
            let to = to.get(index);
            let maps = if term.constant { 1 } else { self.steps };
            let [factor, shift, mean] =
                [0, 1, 2].map(|which| term.normalised.map_or(0, |[coefficients, _]| row(coefficients, which)));
            Packed {
                x: address(term.x, term.first),
                gradient: to.map_or(0, |to| address(&to.gradient, term.first * maps * self.rows)),
                factor,
                shift,
                mean,
                beta: term.normalised.map_or(0, |[_, beta]| address(beta, term.first)),
                scale: alpha.zip(term.scale).map_or(0, |(alpha, index)| address(alpha, index)),
                sums: to.and_then(|to| to.sums.as_ref()).map_or(0, |sums| address(sums, term.first)),
                stride,
                first: term.first,
                advance: if term.constant { 0 } else { self.rows },
                kind: term.kind as i32,
                scale_index: alpha.and(term.scale).map_or(-1, |index| index as i32),
            }
        };
        let mut packed: Vec<Packed> = terms.iter().enumerate().map(one).collect();
        packed.resize(terms.len().next_multiple_of(TERMS), Packed::default());
        packed
    }

    fn launch(&self, entry: &str, terms: &[TermOnDevice], grid: [u32; 3], block: [u32; 3], arguments: &[Argument]) {
        let capacity = terms.len().next_multiple_of(TERMS) as i64;
        let half = terms.iter().any(|term| term.x.kind() == Kind::BFloat16);
        let [rows, resident] = self.rows_and_blocks();
        let defines =
            [("STEPS", self.steps), ("TERMS", capacity), ("ROWS", rows), ("RESIDENT", resident), ("X_BF16", 1)];
        NODE.launch(entry, &defines[..4 + usize::from(half)], grid, block, arguments);
    }
}
