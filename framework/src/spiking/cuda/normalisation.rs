//! Batch normalisation: moments, coefficients and running statistics forward, the gradients to x,
//! gamma and beta backward.

use tch::{Kind, Tensor};

use super::super::batch_norm::BatchNorm;
use super::{BLOCK, Tiling, address, blocks, bytes, dimensions, room, room_for_maps};
use crate::ground::kernel::{Argument, Kernel};

static MOMENTS: Kernel = Kernel::new("moments", include_str!("../../../kernels/moments.cu"));

/// Threads that add up the tiles of a channel, and channels of a block that does so.
const GROUP: i64 = 16;

/// Rows that a thread adds up in f32, as in `moments.cu`.
const RUN: i64 = 64;

/// Tiles that a timestep has at most.
const MOST_TILES: i64 = 128;

/// A normalisation of maps `[maps·B, C, H, W]`, channels-last, for T timesteps.
pub(in super::super) struct Normalisation {
    pub(in super::super) steps: i64,
    /// Timesteps that the maps hold: T, or 1 for all of them.
    pub(in super::super) maps: i64,
    pub(in super::super) channels: i64,
    /// Rows of channels at a timestep.
    pub(in super::super) rows: i64,
    /// All timesteps have one mean and one variance.
    alike: bool,
    training: bool,
}

impl Normalisation {
    /// Of `x` by a normalisation; in training the statistics are those of `x`, and the running ones
    /// are moved towards them.
    pub(in super::super) fn new(x: &Tensor, norm: &BatchNorm, steps: i64, constant: bool, training: bool) -> Self {
        let maps = if constant { 1 } else { steps };
        let channels = x.size()[1];
        let training = training && norm.can_observe(x, maps);
        Normalisation {
            steps,
            maps,
            channels,
            rows: x.numel() as i64 / maps / channels,
            alike: norm.all_alike() || !training,
            training,
        }
    }

    /// factor, shift, mean and 1 / sqrt(var + eps), `[4, T, C]`: y = factor · x + shift. Where `steps`
    /// `[C]` are given, steps · x is normalised, and y = (x - mean) / sqrt(var + eps / steps²) · gamma +
    /// beta by mean and variance of x is the same.
    pub(in super::super) fn coefficients(&self, x: &Tensor, steps: Option<&Tensor>, norm: &BatchNorm) -> Tensor {
        let coefficients = room(&[4, self.steps, self.channels], (Kind::Float, x.device()));
        let of = self.addresses(&coefficients);
        let [mean, variance] = norm.running_tensors();
        let none = Tensor::new();
        let parameters = [norm.gamma(), norm.beta(), mean, variance, steps.unwrap_or(&none)].map(Argument::Tensor);
        let epsilon = Argument::F32(BatchNorm::EPSILON as f32);
        if !self.training {
            let mut arguments = parameters.to_vec();
            arguments.extend([Argument::Bytes(bytes(&of)), Argument::I32(self.channels as i32), epsilon]);
            let grid = dimensions([blocks(self.channels, BLOCK), 1, 1]);
            self.launch("coefficients_of_running", x, grid, dimensions([BLOCK, 1, 1]), &arguments);
            return coefficients;
        }
        let tiling = Tiling::of(self.channels);
        let tile = (tiling.rows * RUN).max(blocks(self.rows, MOST_TILES));
        let tiles = blocks(self.rows, tile);
        let partial = room(&[tiles, self.maps, 2, self.channels], (Kind::Double, x.device()));
        let shape = [Argument::I64(self.rows), Argument::I32(self.channels as i32)];
        self.launch(
            "moments_partial",
            x,
            dimensions([tiles, tiling.spans, self.maps]),
            tiling.block(),
            &[Argument::Tensor(x), Argument::Tensor(&partial), shape[0], shape[1], Argument::I64(tile)],
        );
        let mut arguments = vec![Argument::Tensor(&partial), Argument::Tensor(x), Argument::I64(tiles)];
        arguments.extend(shape);
        arguments.extend([Argument::I32(self.maps as i32), Argument::I32(i32::from(self.alike))]);
        arguments.extend(parameters);
        arguments.extend([Argument::F64(BatchNorm::MOMENTUM), epsilon, Argument::Bytes(bytes(&of))]);
        let grid = dimensions([blocks(self.channels, GROUP), 1, 1]);
        self.launch("coefficients_of_moments", x, grid, dimensions([GROUP, GROUP, 1]), &arguments);
        norm.running_tensors().into_iter().for_each(super::super::function::changed);
        coefficients
    }

    /// Room for the sums of a gradient and its products with x - mean, each `[maps, C]`, and for
    /// scale, first channel and width of each channel's part.
    pub(in super::super) fn room_for_sums(&self, x: &Tensor) -> Tensor {
        room(&[2 * self.maps + 3, self.channels], (Kind::Double, x.device()))
    }

    /// Room for the gradient to the normalised currents: the rows of one part after those of
    /// another.
    pub(in super::super) fn room_for_gradient(&self, x: &Tensor) -> Tensor {
        room(&[self.channels * self.maps * self.rows], (Kind::Float, x.device()))
    }

    /// The gradients to x, gamma and beta from the `gradient` to the normalised currents and its
    /// sums.
    pub(in super::super) fn backward(
        &self,
        gradient: &Tensor,
        x: &Tensor,
        sums: &Tensor,
        coefficients: &Tensor,
        gamma: &Tensor,
    ) -> [Tensor; 3] {
        let to_x = room_for_maps(&x.size(), (x.kind(), x.device()));
        let [to_gamma, to_beta] = [(); 2].map(|()| room(&[self.channels], (Kind::Float, x.device())));
        let of = self.addresses(coefficients);
        let tiling = Tiling::of(self.channels);
        let tile = tiling.rows * RUN / 2;
        self.launch(
            "normalisation_backward",
            x,
            dimensions([blocks(self.rows, tile), tiling.spans, self.maps]),
            tiling.block(),
            &[
                Argument::Tensor(gradient),
                Argument::Tensor(x),
                Argument::Tensor(&to_x),
                Argument::Tensor(sums),
                Argument::Bytes(bytes(&of)),
                Argument::Tensor(gamma),
                Argument::I64(self.rows),
                Argument::I32(self.channels as i32),
                Argument::I32(self.maps as i32),
                Argument::I32(i32::from(self.alike)),
                Argument::I32(i32::from(self.training)),
                Argument::I64(tile),
                Argument::Tensor(&to_gamma),
                Argument::Tensor(&to_beta),
            ],
        );
        [to_x, to_gamma, to_beta]
    }

    /// `Coefficients` of moments.cu.
    fn addresses(&self, coefficients: &Tensor) -> [u64; 4] {
        [0, 1, 2, 3].map(|row| address(coefficients, row * self.steps * self.channels))
    }

    /// Starts a kernel for maps of the type of `x`.
    fn launch(&self, entry: &str, x: &Tensor, grid: [u32; 3], block: [u32; 3], arguments: &[Argument]) {
        let defines = [("STEPS", self.steps), ("X_BF16", 1)];
        let half = usize::from(x.kind() == Kind::BFloat16);
        MOMENTS.launch(entry, &defines[..1 + half], grid, block, arguments);
    }
}
