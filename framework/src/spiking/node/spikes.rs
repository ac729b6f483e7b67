//! The spikes of a node.

use tch::{Device, Kind, Tensor};

use super::super::cuda::has_kernels_for;
use super::super::neuron::Neurons;
use super::super::time::{firing_rate, fold_time, unfold_time};
use super::currents::{Backend, Term};
use super::device::device_spikes;
use super::fused::fused_spikes;

/// Spikes `[T·B, width, H, W]` of the node that `terms` drive, and their rate `[T]` if `measure`;
/// `alpha` holds the scales.
///
/// # Panics
///
/// Where a part is of currents that were made to [drive](super::Drives) neurons of another form.
pub fn node_spikes(
    neurons: &Neurons,
    terms: &[Term],
    width: i64,
    alpha: Option<&Tensor>,
    timesteps: i64,
    measure: bool,
) -> (Tensor, Option<Tensor>) {
    let kernel = terms.iter().all(|term| match term {
        Term::Part { of, .. } => matches!(of.backend, Backend::Kernel(_)),
        Term::Spikes { spikes, .. } => spikes.device() == Device::Cpu && spikes.kind() == Kind::Float,
    });
    let device = |term: &Term| match term {
        Term::Part { of, .. } => matches!(of.backend, Backend::Device(_)),
        Term::Spikes { spikes, .. } => spikes.dim() == 4 && has_kernels_for(spikes, &[Kind::Float], timesteps),
    };
    if let Some(lif) = neurons.fused() {
        // The parts decide about the spikes: both lie on one device.
        let parts_first = |term: &&Term| matches!(term, Term::Spikes { .. });
        if terms.iter().min_by_key(parts_first).is_some_and(device) {
            return device_spikes(&lif, terms, width, alpha, timesteps, measure);
        }
        if kernel {
            return fused_spikes(&lif, terms, width, alpha, timesteps, measure);
        }
    }
    let by_operations = |term: &Term| match term {
        Term::Part { of, .. } => matches!(of.backend, Backend::Operations),
        Term::Spikes { .. } => true,
    };
    assert!(terms.iter().all(by_operations), "currents drive neurons of the form that they were made for");
    let scaled = |value: Tensor, scale: Option<i64>| match (alpha, scale) {
        (Some(alpha), Some(index)) => value * alpha.get(index),
        _ => value,
    };
    let current = terms.iter().map(|term| match term {
        Term::Part { of, first, scale } => scaled(of.x.narrow(1, *first, width), *scale),
        Term::Spikes { spikes, scale } => scaled(spikes.shallow_clone(), *scale),
    });
    let current = current.reduce(|sum, next| sum + next).expect("a node has a term");
    let spikes = neurons.spikes(&unfold_time(&current, timesteps));
    let rate = measure.then(|| firing_rate(&spikes));
    (fold_time(&spikes), rate)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::super::batch_norm::{BatchNorm, Statistics};
    use super::super::super::lif::Lif;
    use super::super::super::maps::channels_last;
    use super::super::currents::{Currents, Drives};
    use super::*;
    use crate::ground::{Build, Parameters, Stream};

    const STEPS: i64 = 3;
    const WIDTH: i64 = 13;

    struct Case {
        threshold: f64,
        /// One of the two convolutions has the same maps at every timestep.
        constant: bool,
        statistics: Statistics,
        spiking: bool,
        training: bool,
        scaled: bool,
    }

    #[derive(Clone, Copy)]
    enum By {
        Loops,
        /// The kernels of a device, on the host.
        Kernels,
        Operations,
    }

    struct NodeRun {
        spikes: Tensor,
        rate: Tensor,
        gradients: Vec<Tensor>,
        running: Vec<Tensor>,
    }

    /// Two nodes; the first reads two parts of one convolution and one of another, the second what
    /// is left and the first.
    fn run(case: &Case, by: By) -> NodeRun {
        // Not libtorch's own generator, which tests that run beside this one draw from.
        let mut stream = Stream::open(3, "node", 0);
        let neurons = Neurons::from(Lif { threshold: case.threshold, ..Lif::default() });
        let mut random = |channels: i64| channels_last(&(stream.normal(&[STEPS * 2, channels, 5, 4]) * 0.6 + 0.3));
        let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
        let (a, b) = (leaf(random(3 * WIDTH)), random(2 * WIDTH));
        let b = leaf(channels_last(&b.narrow(0, 0, if case.constant { 2 } else { STEPS * 2 }).contiguous()));
        let upstream = random(2 * WIDTH);
        let alpha = leaf(stream.uniform(&[6], 0.2, 1.2));
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let norms = [(3 * WIDTH, "a"), (2 * WIDTH, "b")]
            .map(|(channels, name)| BatchNorm::new(channels, case.statistics, &mut build.at(name)));
        tch::no_grad(|| {
            for parameter in parameters.trainable() {
                parameter.tensor.shallow_clone().copy_(&stream.uniform(&parameter.tensor.size(), 0.3, 1.3));
            }
            parameters.buffers().iter().for_each(|(_, buffer)| drop(buffer.shallow_clone().fill_(0.4)));
        });
        let given = case.scaled.then_some(&alpha);
        let scale = |index: i64| case.scaled.then_some(index);
        let drives = if case.spiking { Drives::Candidates(&neurons) } else { Drives::Nodes(&neurons) };
        let currents = |x: &Tensor, norm: &BatchNorm, readers| {
            let constant = x.size()[0] == 2;
            match by {
                By::Loops => Currents::new(x, norm, STEPS, constant, case.training, drives, readers),
                By::Kernels => Currents::by_kernels(x, norm, STEPS, constant, case.training, drives, readers),
                By::Operations => Currents::by_operations(x, norm, STEPS, constant, case.training, drives),
            }
        };
        let (ca, cb) = (Rc::new(currents(&a, &norms[0], 3)), Rc::new(currents(&b, &norms[1], 2)));
        let part = |of: &Rc<Currents>, part: i64, index| Term::Part {
            of: of.clone(),
            first: part * WIDTH,
            scale: scale(index),
        };
        let terms = [part(&ca, 0, 0), part(&ca, 1, 1), part(&cb, 1, 2)];
        let (first, rate) = node_spikes(&neurons, &terms, WIDTH, given, STEPS, true);
        let skip = Term::Spikes { spikes: first.shallow_clone(), scale: scale(3) };
        let terms = [part(&cb, 0, 4), skip, part(&ca, 2, 5)];
        let (second, _) = node_spikes(&neurons, &terms, WIDTH, given, STEPS, false);
        let spikes = Tensor::cat(&[first, second], 1);
        (&spikes * upstream).sum(Kind::Float).backward();
        let mut gradients = vec![a.grad(), b.grad()];
        if case.scaled {
            gradients.push(alpha.grad());
        }
        gradients.extend(parameters.trainable().iter().map(|parameter| parameter.tensor.grad()));
        let running = parameters.buffers().iter().map(|(_, buffer)| buffer.copy()).collect();
        NodeRun { spikes, rate: rate.unwrap(), gradients, running }
    }

    fn close(got: &Tensor, want: &Tensor, what: &str) {
        assert_eq!(got.size(), want.size(), "{what}");
        let scale = want.abs().max().double_value(&[]);
        let error = (got - want).abs().max().double_value(&[]);
        assert!(scale > 0.0 && error < 2e-5 * scale.max(1.0), "{what}: {error}, largest value {scale}");
    }

    #[test]
    fn the_kernel_agrees_with_op_by_op_autograd_in_every_form() {
        agree_in_every_form(By::Loops);
    }

    /// The same source as on a GPU, compiled for the host; new memory is poisoned by NaN there.
    #[test]
    fn the_kernels_of_a_device_agree_with_op_by_op_autograd_in_every_form() {
        agree_in_every_form(By::Kernels);
    }

    fn agree_in_every_form(by: By) {
        // A surrogate that does not follow the threshold differs at 1.
        let forms = [(Statistics::AllTimesteps, 0.5), (Statistics::EachTimestep, 0.5), (Statistics::EachTimestep, 1.0)];
        for (statistics, threshold) in forms {
            for (constant, spiking, training, scaled) in [
                (false, true, true, true),
                (false, false, true, true),
                (false, false, true, false),
                (false, true, false, true),
                (false, false, false, false),
                (true, true, true, true),
                (true, false, true, true),
                (true, false, false, false),
            ] {
                let case = Case { threshold, constant, statistics, spiking, training, scaled };
                let what = format!(
                    "threshold {threshold}, {statistics:?}, constant {constant}, candidates {spiking}, training {training}, alpha {scaled}"
                );
                let (got, want) = (run(&case, by), run(&case, By::Operations));
                assert!(got.spikes.equal(&want.spikes), "{what}");
                close(&got.rate, &want.rate, &what);
                for (index, (got, want)) in got.gradients.iter().zip(&want.gradients).enumerate() {
                    close(got, want, &format!("{what}, gradient {index}"));
                }
                for (got, want) in got.running.iter().zip(&want.running) {
                    close(got, want, &format!("{what}, running statistics"));
                }
            }
        }
    }

    /// Guards the running variance against the 0/0 of one value, in the kernel and by operations.
    #[test]
    fn one_value_leaves_the_running_statistics_as_they_are() {
        let neurons = Neurons::from(Lif::default());
        let drives = Drives::Nodes(&neurons);
        for constant in [false, true] {
            let mut parameters = Parameters::default();
            let mut build = Build::new(&mut parameters, 0, Device::Cpu);
            let norm = BatchNorm::new(4, Statistics::EachTimestep, &mut build);
            let x = Stream::numbered(1).normal(&[if constant { 1 } else { STEPS }, 4, 1, 1]) + 1.0;
            let spikes = |currents: Currents| {
                let term = Term::Part { of: Rc::new(currents), first: 0, scale: None };
                node_spikes(&neurons, &[term], 4, None, STEPS, false).0
            };
            let evaluated = spikes(Currents::new(&x, &norm, STEPS, constant, false, drives, 1));
            for trained in [
                Currents::new(&x, &norm, STEPS, constant, true, drives, 1),
                Currents::by_operations(&x, &norm, STEPS, constant, true, drives),
            ] {
                assert!(spikes(trained).equal(&evaluated), "constant {constant}");
                assert_eq!(norm.running(), (vec![0.0; 4], vec![1.0; 4]), "constant {constant}");
            }
        }
    }

    #[test]
    fn the_same_numbers_come_out_to_the_bit() {
        let case = Case {
            threshold: 0.5,
            constant: false,
            statistics: Statistics::EachTimestep,
            spiking: true,
            training: true,
            scaled: true,
        };
        for by in [By::Loops, By::Kernels] {
            let (first, second) = (run(&case, by), run(&case, by));
            assert!(first.gradients.iter().zip(&second.gradients).all(|(a, b)| a.equal(b)));
        }
    }

    #[test]
    fn other_types_are_computed_by_tensor_operations() {
        let neurons = Neurons::from(Lif::default());
        let x = Stream::numbered(2).normal(&[4, 3, 2, 2]).to_kind(Kind::Double).set_requires_grad(true);
        let terms = [Term::Spikes { spikes: x.shallow_clone(), scale: None }];
        let (spikes, _) = node_spikes(&neurons, &terms, 3, None, 2, false);
        assert!(spikes.equal(&fold_time(&neurons.spikes(&unfold_time(&x, 2)))));
    }
}
