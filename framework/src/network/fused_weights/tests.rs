//! The kernels of weights on the host: the same source, compiled by g++, against one operation
//! after another in f64.

use tch::{Device, Kind, Tensor};

use super::super::formula::{Formula, Level};
use super::{Bound, Recipe, compressed, steps};
use crate::ground::Stream;
use crate::ground::kernel::host;

/// Distances and largest levels of 1, 2 and 4 bits.
const LEVELS: [Level; 3] =
    [Level { unit: 1.596, limit: 0.5 }, Level { unit: 0.996, limit: 1.5 }, Level { unit: 0.336, limit: 7.5 }];

/// A weight, and what makes of it what its layer uses.
struct Trained {
    weight: Tensor,
    logits: Option<Tensor>,
    levels: Vec<Level>,
    scores: Option<Tensor>,
    kept: i64,
    bound: Bound,
}

/// Weights of these shapes, with the last of the forms, as many as `forms`, and so many of their
/// scores kept. Every three share their logits; scores have ties.
fn weights(shapes: &[Vec<i64>], forms: usize, kept: Option<f64>) -> Vec<Trained> {
    let mut stream = Stream::open(3, "fused_weights/tests", 0);
    let mut shared = None;
    let one = |(number, shape): (usize, &Vec<i64>)| {
        if number % 3 == 0 {
            shared = (forms > 1).then(|| stream.normal(&[forms as i64]).set_requires_grad(true));
        }
        let weight = (stream.normal(shape) * 0.4 + 0.1).set_requires_grad(true);
        let scores = kept.map(|_| (stream.normal(shape) * 4.0).round().set_requires_grad(true));
        let kept = (kept.unwrap_or(1.0) * weight.numel() as f64) as i64;
        let (logits, levels) = (shared.as_ref().map(Tensor::shallow_clone), LEVELS[3 - forms..].to_vec());
        Trained { weight, logits, levels, scores, kept, bound: Bound::default() }
    };
    shapes.iter().enumerate().map(one).collect()
}

impl Trained {
    fn recipe(&self) -> Recipe<'_> {
        let levels =
            || Formula::Levels { logits: self.logits.as_ref().map(Tensor::shallow_clone), levels: self.levels.clone() };
        let largest =
            |scores: &Tensor| Formula::Largest { scores: scores.shallow_clone(), kept: self.kept, learned: true };
        let formulas = [(!self.levels.is_empty()).then(levels), self.scores.as_ref().map(largest)];
        Recipe::new(&self.weight, formulas.into_iter().flatten().map(Some), &self.bound).expect("kernels know both")
    }

    fn step(&self, level: &Level) -> Tensor {
        self.weight.detach().to_kind(Kind::Double).std(true).to_kind(Kind::Float) * level.unit
    }

    fn mask(&self) -> Tensor {
        let Some(scores) = &self.scores else { return self.weight.ones_like() };
        let flat = scores.detach().flatten(0, -1);
        let (_, order) = flat.abs().sort_stable(true, 0, true);
        flat.zeros_like().index_fill(0, &order.narrow(0, 0, self.kept), 1.0).view_as(scores)
    }

    /// The value, and the gradients to weight, scores and the probabilities of the forms from
    /// `upstream`, by their formulas.
    fn by_operations(&self, upstream: &Tensor) -> (Tensor, Tensor, Option<Tensor>, Vec<f64>) {
        let weight = self.weight.detach();
        let forms = self.levels.iter().map(|level| {
            let step = self.step(level);
            ((&weight / &step + 0.5).round() - 0.5).clamp(-level.limit, level.limit) * step
        });
        let forms: Vec<Tensor> = forms.collect();
        let probabilities = match &self.logits {
            Some(logits) => Vec::try_from(logits.detach().softmax(0, Kind::Double)).unwrap(),
            None => vec![1.0; forms.len()],
        };
        let mixed = forms.iter().zip(&probabilities).map(|(form, probability): (_, &f64)| form * *probability);
        let mixed = mixed.reduce(|sum, next| sum + next).unwrap_or_else(|| weight.shallow_clone());
        let mask = self.mask();
        let kept = upstream * &mask;
        let to_scores = self.scores.as_ref().map(|scores| upstream * &mixed * scores.detach().sign());
        let products = forms.iter().map(|form| (&kept * form).sum(Kind::Double).double_value(&[])).collect();
        (mixed * mask, kept, to_scores, products)
    }
}

/// All gradients that a pass wrote, those of shared logits once.
fn gradients(all: &[Trained]) -> Vec<Tensor> {
    let logits = all.iter().step_by(3).filter_map(|one| one.logits.as_ref());
    let tensors = all.iter().flat_map(|one| std::iter::once(&one.weight).chain(&one.scores)).chain(logits);
    tensors.map(|tensor| tensor.grad().copy()).collect()
}

/// The stack, and the gradient to it that the tests go back from.
fn pass(all: &[Trained]) -> (Tensor, Tensor) {
    let recipes: Vec<Recipe> = all.iter().map(Trained::recipe).collect();
    let stacked = compressed(&recipes);
    let upstream = Stream::open(5, "fused_weights/upstream", 0).normal(&stacked.size());
    (&stacked * &upstream).sum(Kind::Float).backward();
    (stacked.detach(), upstream)
}

fn close(got: &Tensor, want: &Tensor, what: &str) {
    let scale = want.abs().max().double_value(&[]).max(1e-3);
    let apart = (got - want).abs().max().double_value(&[]) / scale;
    assert!(apart < 2e-5, "{what}: {apart:.1e} of {scale}");
}

/// Shapes that end within a block and a tile, more weights than a launch takes, linear layers.
fn groups() -> [Vec<Vec<i64>>; 4] {
    let convolutions = |widths: &[i64]| widths.iter().map(|&width| vec![width, 5, 3, 3]).collect();
    let many: Vec<i64> = (2..=20).collect();
    [convolutions(&[7]), convolutions(&[3, 1, 130]), convolutions(&many), vec![vec![9, 311], vec![2, 311]]]
}

#[test]
fn weights_on_a_device_are_those_of_operations() {
    for shapes in groups() {
        for (forms, kept) in [0, 1, 3].into_iter().flat_map(|forms| [(forms, None), (forms, Some(0.3))]) {
            let what = format!("{} weights, {forms} forms, {kept:?} kept", shapes.len());
            let all = weights(&shapes, forms, kept);
            if forms == 0 && kept.is_none() {
                assert!(!all[0].recipe().changes(), "{what}");
                continue;
            }
            let (stacked, upstream) = pass(&all);
            let (mut first, mut to_probabilities) = (0, Vec::new());
            for (number, one) in all.iter().enumerate() {
                let what = format!("{what}, weight {number}");
                let rows = one.weight.size()[0];
                let [got, upstream] = [&stacked, &upstream].map(|tensor| tensor.narrow(0, first, rows));
                let (value, to_weight, to_scores, products) = one.by_operations(&upstream);
                close(&got, &value, &what);
                close(&one.weight.grad(), &to_weight, &format!("{what}, gradient"));
                if let (Some(scores), Some(want)) = (&one.scores, to_scores) {
                    close(&scores.grad(), &want, &format!("{what}, gradient to scores"));
                }
                to_probabilities.push(products);
                first += rows;
            }
            // dL/dlogit_b = p_b (g_b - sum_c p_c g_c), g the sum over the weights that share them.
            for (sharing, products) in all.chunks(3).zip(to_probabilities.chunks(3)) {
                let Some(logits) = &sharing[0].logits else { continue };
                let p = Vec::<f64>::try_from(logits.detach().softmax(0, Kind::Double)).unwrap();
                let g: Vec<f64> = (0..forms).map(|form| products.iter().map(|one| one[form]).sum()).collect();
                let mean: f64 = p.iter().zip(&g).map(|(p, g)| p * g).sum();
                let want: Vec<f64> = p.iter().zip(&g).map(|(p, g)| p * (g - mean)).collect();
                let largest = g.iter().fold(1e-3f64, |most, g| most.max(g.abs()));
                let apart = (logits.grad() - Tensor::from_slice(&want)).abs().max().double_value(&[]) / largest;
                assert!(apart < 2e-5, "{what}, gradient to logits: {apart:.1e}");
            }
        }
    }
}

#[test]
fn steps_are_those_of_the_one_form() {
    for shapes in groups() {
        let all = weights(&shapes, 1, Some(0.5));
        let recipes: Vec<Recipe> = all.iter().map(Trained::recipe).collect();
        let want: Vec<Tensor> =
            all.iter().map(|one| one.step(&one.levels[0]).expand([one.weight.size()[0]], false)).collect();
        close(&steps(&recipes).expect("one form"), &Tensor::cat(&want, 0), "steps");
        let mixed = weights(&shapes, 3, None);
        assert!(steps(&mixed.iter().map(Trained::recipe).collect::<Vec<_>>()).is_none(), "three forms have no step");
    }
}

/// As many stay as are asked for, of equal scores the first: none, all, and between ties.
#[test]
fn the_largest_scores_stay_and_of_equal_ones_the_first() {
    for kept in [0, 1, 2, 3, 5, 899, 900] {
        let scores = Stream::open(kept, "fused_weights/scores", 0).normal(&[20, 5, 3, 3]);
        for scores in [(&scores * 2.0).round(), scores.shallow_clone(), scores.zeros_like(), scores * 1e-42] {
            let one = Trained {
                weight: Tensor::ones([20, 5, 3, 3], (Kind::Float, Device::Cpu)),
                logits: None,
                levels: Vec::new(),
                scores: Some(scores),
                kept: i64::try_from(kept).unwrap(),
                bound: Bound::default(),
            };
            assert!(compressed(&[one.recipe()]).equal(&one.mask()), "{kept} of 900");
        }
    }
}

/// Guards against a sum whose order depends on the threads, and against a thread that reads what
/// another one writes.
#[test]
fn the_order_of_threads_changes_no_bit() {
    let run = || {
        let all = weights(&groups()[1], 3, Some(0.3));
        let mut made = vec![pass(&all).0];
        made.extend(gradients(&all));
        made
    };
    let [first, others @ ..] = host::ORDERS.map(|order| host::in_order(order, run));
    for other in others {
        assert!(first.iter().zip(&other).all(|(a, b)| a.equal(b)));
    }
}

#[test]
fn kernels_stay_within_their_tensors() {
    host::again_under_the_address_sanitizer("network::fused_weights::tests::");
}
