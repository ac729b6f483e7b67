//! A group of weights as the kernels take it.

use tch::{Device, Kind, Tensor};

use super::{FORMS, GROUP, Recipe, bytes};
use crate::ground::kernel::{Argument, Kernel, room};

static WEIGHTS: Kernel = Kernel::new("weights", include_str!("../../../kernels/weights.cu"));

/// Values of a weight that a block has.
const TILE: i64 = 2048;

/// A weight as `weights.cu` has it, without its addresses.
#[derive(Clone, Copy)]
struct Member {
    weight: usize,
    scores: Option<usize>,
    bound: Option<usize>,
    logits: Option<usize>,
    device: DeviceWeight,
}

/// `Weight` of `weights.cu`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct DeviceWeight {
    weight: u64,
    scores: u64,
    bound: u64,
    logits: u64,
    to_weight: u64,
    to_scores: u64,
    to_logits: u64,
    first: i64,
    count: i32,
    inputs: i32,
    places: i32,
    levels: i32,
    units: [f32; FORMS],
    limits: [f32; FORMS],
}

/// Members of a group, and which of the tensors that they name are trained and want a gradient.
pub(super) struct Group {
    members: Vec<Member>,
    /// Of the tensors, with whether a gradient is wanted.
    pub(super) inputs: Vec<(usize, bool)>,
    shape: Vec<i64>,
    tiles: i64,
}

impl Group {
    /// The group of these recipes; the tensors that it names are appended to `tensors`, which is
    /// empty.
    pub(super) fn new(recipes: &[Recipe], tensors: &mut Vec<Tensor>) -> Group {
        let mut group = Group { members: Vec::new(), inputs: Vec::new(), shape: recipes[0].weight.size(), tiles: 1 };
        let (mut first, mut outputs) = (0, 0);
        for recipe in recipes {
            let size = recipe.weight.size();
            let count = size.iter().product::<i64>();
            let mut device = DeviceWeight {
                first,
                count: count as i32,
                inputs: size[1] as i32,
                places: size[2..].iter().product::<i64>() as i32,
                levels: recipe.levels.len() as i32,
                ..DeviceWeight::default()
            };
            for (form, level) in recipe.levels.iter().enumerate() {
                (device.units[form], device.limits[form]) = (level.unit as f32, level.limit as f32);
            }
            let weight = group.take(&recipe.weight, true, tensors);
            let scores = recipe.largest.as_ref().map(|largest| group.take(&largest.scores, largest.learned, tensors));
            let bound = recipe.largest.as_ref().and_then(|largest| largest.bound.of(&largest.scores));
            let bound = bound.map(|bound| group.take(&bound, false, tensors));
            let logits = recipe.logits.as_ref().map(|logits| {
                let known = tensors.iter().position(|tensor| tensor.data_ptr() == logits.data_ptr());
                known.unwrap_or_else(|| group.take(logits, true, tensors))
            });
            group.members.push(Member { weight, scores, bound, logits, device });
            group.tiles = group.tiles.max((count + TILE - 1) / TILE);
            first += count;
            outputs += size[0];
        }
        group.shape[0] = outputs;
        group
    }

    /// The number of a tensor, which is an input of the node if it is trained.
    fn take(&mut self, tensor: &Tensor, trained: bool, tensors: &mut Vec<Tensor>) -> usize {
        if trained {
            self.inputs.push((tensors.len(), tensor.requires_grad()));
        }
        tensors.push(tensor.shallow_clone());
        tensors.len() - 1
    }

    /// The structures of the kernels, with the addresses of `tensors` and of gradients to them.
    fn on_device(&self, tensors: &[Tensor], gradients: &[Option<Tensor>]) -> [DeviceWeight; GROUP] {
        let address = |at: Option<usize>| at.map_or(0, |at| tensors[at].data_ptr() as u64);
        let gradient = |at: Option<usize>| {
            let input = self.inputs.iter().position(|(input, _)| Some(*input) == at);
            let gradient = input.and_then(|input| gradients.get(input)?.as_ref());
            gradient.map_or(0, |gradient| gradient.data_ptr() as u64)
        };
        let mut all = [DeviceWeight::default(); GROUP];
        for (number, member) in self.members.iter().enumerate() {
            let shared = self.members[..number].iter().any(|earlier| earlier.logits == member.logits);
            all[number] = DeviceWeight {
                weight: address(Some(member.weight)),
                scores: address(member.scores),
                bound: address(member.bound),
                logits: address(member.logits),
                to_weight: gradient(Some(member.weight)),
                to_scores: gradient(member.scores),
                to_logits: if shared { 0 } else { gradient(member.logits) },
                ..member.device
            };
        }
        all
    }

    /// Starts kernel `entry` with a block for each tile of each weight.
    fn launch(&self, entry: &str, tiles: i64, weights: &[DeviceWeight; GROUP], rest: &[Argument]) {
        let defines = [("WEIGHTS", GROUP as i64), ("LEVELS", FORMS as i64)];
        let arguments: Vec<Argument> =
            std::iter::once(Argument::Bytes(bytes(weights))).chain(rest.iter().copied()).collect();
        WEIGHTS.launch(entry, &defines, [tiles as u32, self.members.len() as u32, 1], [256, 1, 1], &arguments);
    }

    /// Sums of the weights and of their squares.
    fn sums(&self, weights: &[DeviceWeight; GROUP], device: Device) -> Tensor {
        let sums = room(&[self.members.len() as i64, self.tiles, 2], (Kind::Double, device));
        if weights.iter().any(|weight| weight.levels > 0) {
            self.launch("weight_sums", self.tiles, weights, &[Argument::Tensor(&sums), Argument::I32(TILE as i32)]);
        }
        sums
    }

    /// The step of each output channel of the stack, of weights that have one form.
    pub(super) fn steps(&self, tensors: &[Tensor]) -> Tensor {
        let device = tensors[0].device();
        let weights = self.on_device(tensors, &[]);
        let (sums, steps) = (self.sums(&weights, device), room(&[self.shape[0]], (Kind::Float, device)));
        self.launch("weight_steps", self.tiles, &weights, &[Argument::Tensor(&sums), Argument::Tensor(&steps)]);
        steps
    }

    /// The stack, and sums of the weights that the backward pass needs.
    pub(super) fn forward(&self, tensors: &[Tensor]) -> (Tensor, Tensor) {
        let device = tensors[0].device();
        let weights = self.on_device(tensors, &[]);
        let sums = self.sums(&weights, device);
        let stacked = match *self.shape.as_slice() {
            [outputs, inputs, height, width] => {
                room(&[outputs, height, width, inputs], (Kind::Float, device)).permute([0, 3, 1, 2])
            }
            _ => room(&self.shape, (Kind::Float, device)),
        };
        let rest = [Argument::Tensor(&sums), Argument::Tensor(&stacked), Argument::I32(TILE as i32)];
        self.launch("weights_forward", self.tiles, &weights, &rest);
        (stacked, sums)
    }

    /// A gradient for each input.
    pub(super) fn backward(&self, upstream: &Tensor, tensors: &[Tensor], sums: &Tensor) -> Vec<Option<Tensor>> {
        let upstream = match upstream.dim() {
            4 => upstream.permute([0, 2, 3, 1]).contiguous(),
            _ => upstream.contiguous(),
        };
        let gradient = |(input, wanted): &(usize, bool)| {
            let tensor = &tensors[*input];
            wanted.then(|| room(&tensor.size(), (tensor.kind(), tensor.device())))
        };
        let gradients: Vec<Option<Tensor>> = self.inputs.iter().map(gradient).collect();
        let weights = self.on_device(tensors, &gradients);
        let (members, tile) = (self.members.len() as i64, Argument::I32(TILE as i32));
        let mixes = weights.iter().any(|weight| weight.to_logits != 0);
        let products = match mixes {
            true => room(&[members, self.tiles, FORMS as i64], (Kind::Double, upstream.device())),
            false => Tensor::new(),
        };
        let rest = [Argument::Tensor(sums), Argument::Tensor(&upstream), Argument::Tensor(&products), tile];
        self.launch("weights_backward", self.tiles, &weights, &rest);
        if mixes {
            let counts = [Argument::I32(members as i32), Argument::I32(self.tiles as i32), tile];
            self.launch("logits_backward", 1, &weights, &[&[Argument::Tensor(&products)], counts.as_slice()].concat());
        }
        gradients
    }
}
