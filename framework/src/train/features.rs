//! What the hidden maps of a teacher teach.
//!
//! ```text
//! L = ... + features · sum over pairs l of  mean D(A_l, r_l(S_l))
//! S = (1/T) sum_{t<=T} s(t)     maps of a layer of the student's neurons, [B, C_S, H, W]
//! A                             the same of the teacher, over its own timesteps, [B, C_T, H, W]
//! r                             a convolution 1x1 from C_S to C_T channels, trained with the student
//! D(a, r) = 0 where a <= 0 and r <= a, else (a - r)²
//! ```
//!
//! The mean is over images, channels and places. A student below a teacher that is silent already is
//! not drawn up to it: D is the partial distance of Heo et al., A Comprehensive Overhaul of Feature
//! Distillation, ICCV 2019, as KDSNN (Xu et al., CVPR 2023) takes it. Where KDSNN takes its maps is not
//! published. Here the pairs are, for each height and width that both networks have, the last layer of
//! neurons of either that has it: the ends of their stages. Maps are taken behind the neurons, so that
//! none is negative.
//!
//! r belongs to the training, not to the network: it is in checkpoints, and in no design, cost or file.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use crate::ground::{Build, Role};
use crate::network::{Network, Pass, SpikeTap};
use crate::spiking::{kaiming_fan_out, unfold_time};
use crate::{Error, Result};

/// Pairs of layers of neurons, and what makes the maps of one of those of the other.
pub(super) struct Features {
    pairs: Vec<Pair>,
}

struct Pair {
    /// The layers, counted in the order in which they fire.
    student: usize,
    teacher: usize,
    /// `[C_T, C_S, 1, 1]`
    projection: Tensor,
}

/// Channels, height and width of each layer of neurons.
type Shapes = Vec<[i64; 3]>;

impl Features {
    /// The pairs of a student and its teacher, each with its timesteps, for inputs `[C, H, W]`.
    pub(super) fn new(
        student: (&dyn Network, i64),
        teacher: (&dyn Network, i64),
        input: [i64; 3],
        build: &mut Build,
    ) -> Result<Features> {
        let device = build.device();
        let shapes = |(network, timesteps): (&dyn Network, i64)| -> Shapes {
            let [channels, height, width] = input;
            let image = Tensor::zeros([1, channels, height, width], (Kind::Float, device));
            let found = RefCell::new(Shapes::new());
            let see = |spikes: &Tensor| {
                let size = spikes.size();
                found.borrow_mut().push([size[1], size[2], size[3]]);
            };
            let pass = Pass { tap: Some(SpikeTap(&see)), ..Pass::new(timesteps) };
            tch::no_grad(|| drop(network.forward(&image, &pass)));
            found.into_inner()
        };
        let (of_student, of_teacher) = (shapes(student), shapes(teacher));
        let pairs = pairs(&of_student, &of_teacher);
        if pairs.is_empty() {
            let sizes =
                |of: &Shapes| of.iter().map(|[_, rows, columns]| format!("{rows} x {columns}")).collect::<Vec<_>>();
            return Err(Error::design(format!(
                "the teacher's maps are {} and those of this network {}, and `features` of [retrain.teacher] needs a \
                 height and width that both have",
                sizes(&of_teacher).join(", "),
                sizes(&of_student).join(", ")
            )));
        }
        let pairs = pairs.into_iter().map(|(student, teacher)| {
            let shape = [of_teacher[teacher][0], of_student[student][0], 1, 1];
            let mut at = build.at(format!("teacher.features.{student}"));
            let projection = at.parameter("weight", Role::Weight, |stream| kaiming_fan_out(stream, &shape));
            Pair { student, teacher, projection }
        });
        Ok(Features { pairs: pairs.collect() })
    }

    /// Runs a pass of the student that notes its maps.
    pub(super) fn of_student<T>(&self, timesteps: i64, run: impl FnOnce(SpikeTap) -> T) -> (T, Vec<Tensor>) {
        noted(self.pairs.iter().map(|pair| pair.student).collect(), timesteps, run)
    }

    /// The same of the teacher.
    pub(super) fn of_teacher<T>(&self, timesteps: i64, run: impl FnOnce(SpikeTap) -> T) -> (T, Vec<Tensor>) {
        noted(self.pairs.iter().map(|pair| pair.teacher).collect(), timesteps, run)
    }

    /// The distance of the mean maps, one of each pair: a scalar.
    pub(super) fn distance(&self, student: &[Tensor], teacher: &[Tensor]) -> Tensor {
        let of = |(pair, (student, teacher)): (&Pair, (&Tensor, &Tensor))| {
            let made = student.conv2d(&pair.projection, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1);
            partial_distance(teacher, &made)
        };
        let all = self.pairs.iter().zip(student.iter().zip(teacher)).map(of);
        all.reduce(|sum, next| sum + next).expect("there is a pair")
    }
}

/// Runs a pass and keeps the mean maps `[B, C, H, W]` over `timesteps` of these layers of neurons.
fn noted<T>(layers: Vec<usize>, timesteps: i64, run: impl FnOnce(SpikeTap) -> T) -> (T, Vec<Tensor>) {
    let (seen, maps) = (RefCell::new(0), RefCell::new(Vec::new()));
    let see = |spikes: &Tensor| {
        let index = seen.replace_with(|count| *count + 1);
        if layers.contains(&index) {
            maps.borrow_mut().push(unfold_time(spikes, timesteps).mean_dim(0, false, Kind::Float));
        }
    };
    let result = run(SpikeTap(&see));
    (result, maps.into_inner())
}

/// For each height and width that both have, in the order in which the student reaches them: the last
/// layer of either that has it.
fn pairs(student: &Shapes, teacher: &Shapes) -> Vec<(usize, usize)> {
    let last = |of: &Shapes, size: &[i64]| of.iter().rposition(|shape| shape[1..] == *size);
    let ends = student.iter().enumerate().filter(|(index, shape)| last(student, &shape[1..]) == Some(*index));
    ends.filter_map(|(index, shape)| Some((index, last(teacher, &shape[1..])?))).collect()
}

/// Mean of D(a, r).
fn partial_distance(a: &Tensor, r: &Tensor) -> Tensor {
    let counts = a.gt(0.0).logical_or(&r.gt_tensor(a)).to_kind(r.kind());
    ((a - r).square() * counts).mean(None::<Kind>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_stages_that_both_have_are_paired() {
        let student = vec![[8, 32, 32], [8, 32, 32], [16, 16, 16], [32, 8, 8]];
        let teacher = vec![[64, 32, 32], [64, 16, 16], [64, 16, 16], [10, 1, 1]];
        assert_eq!(pairs(&student, &teacher), [(1, 0), (2, 2)]);
        assert!(pairs(&student, &vec![[3, 7, 7]]).is_empty());
    }

    /// By hand: (1 - 0.5)², nothing of a silent teacher's below it, and 0.5² of one above it.
    #[test]
    fn a_student_below_a_silent_teacher_is_left_alone() {
        let (a, r) = (Tensor::from_slice(&[1.0f64, 0.0, 0.0, 0.5]), Tensor::from_slice(&[0.5f64, -2.0, 0.5, 0.5]));
        let r = r.set_requires_grad(true);
        let distance = partial_distance(&a, &r);
        distance.backward();
        assert!((distance.double_value(&[]) - (0.25 + 0.25) / 4.0).abs() < 1e-12);
        assert_eq!(Vec::<f64>::try_from(r.grad()).unwrap(), [-0.25, 0.0, 0.25, 0.0]);
    }
}
