//! Neurons of every form against op-by-op autograd, which knows the forward formulas alone.

use tch::{Device, Kind, Tensor};

use super::settings::Leak;
use super::surrogate::tests::ALL;
use super::*;
use crate::ground::{Build, Parameters, Stream};

/// Every form of neurons with a surrogate.
fn forms(surrogate: Surrogate) -> Vec<NeuronSettings> {
    let mut all = Vec::new();
    for bits in 0..32 {
        let is = |bit: u32| bits >> bit & 1 == 1;
        all.push(NeuronSettings {
            leak: if is(0) { Leak::TimeConstant(2.5) } else { Leak::Decay(0.7) },
            learn_decay: is(1),
            scaled_input: is(0),
            threshold: 0.6,
            learn_threshold: is(2),
            reset: if is(3) { Reset::Soft } else { Reset::Hard },
            detach_reset: is(4),
            surrogate,
            ..NeuronSettings::default()
        });
    }
    all
}

/// A spike that is a step forward and the integral of the surrogate backward, by the detach trick.
fn spike(surrogate: Surrogate, distance: &Tensor) -> Tensor {
    let clamped = |reach: f64| distance.clamp(-reach, reach);
    let smooth: Tensor = match surrogate {
        Surrogate::Dspike(Dspike { temperature: b }) => (clamped(0.5) * b).tanh() / (2.0 * (b / 2.0).tanh()),
        Surrogate::Atan { alpha } => (distance * (std::f64::consts::FRAC_PI_2 * alpha)).atan() / std::f64::consts::PI,
        Surrogate::Triangle { reach } => {
            let d = clamped(reach) / reach;
            &d - &d * d.abs() / 2.0
        }
        Surrogate::Rectangle { reach } => clamped(reach) / (2.0 * reach),
        Surrogate::Sigmoid { alpha } => (distance * alpha).sigmoid(),
    };
    let hard = distance.detach().gt(0.0).to_kind(distance.kind());
    hard - smooth.detach() + smooth
}

/// The forward formulas, one operation of libtorch after another.
fn reference(settings: &NeuronSettings, leak: &Tensor, threshold: &Tensor, currents: &[Tensor]) -> Tensor {
    let replaced = leak.sigmoid();
    let mut left = currents[0].zeros_like();
    let mut spikes = Vec::new();
    for current in currents {
        let input = if settings.scaled_input { current * &replaced } else { current.shallow_clone() };
        let u = &left * (1.0 - &replaced) + input;
        let s = spike(settings.surrogate, &(&u - threshold));
        let of_reset = if settings.detach_reset { s.detach() } else { s.shallow_clone() };
        left = match settings.reset {
            Reset::Hard => &u * (1.0 - of_reset),
            Reset::Soft => &u - threshold * of_reset,
        };
        spikes.push(s);
    }
    Tensor::stack(&spikes, 0)
}

struct Compared {
    spikes: [Tensor; 2],
    /// To the currents, and to what is learned.
    gradients: Vec<[Tensor; 2]>,
}

fn compare(settings: &NeuronSettings, kind: Kind, steps: i64, constant: bool) -> Compared {
    let mut stream = Stream::open(5, "neurons", steps as u64);
    let shape: &[i64] = if constant { &[3, 41] } else { &[steps, 3, 41] };
    let values = (stream.normal(shape) * 0.8 + 0.5).to_kind(kind);
    let upstream = stream.normal(&[steps, 3, 41]).to_kind(kind);
    let leaf = |tensor: &Tensor| tensor.detach().copy().set_requires_grad(true);

    let mut parameters = Parameters::default();
    let neurons = Neurons::new(settings, &mut Build::new(&mut parameters, 0, Device::Cpu));
    let own = leaf(&values);
    let spikes = if constant { neurons.spikes_of_constant(&own, steps) } else { neurons.spikes(&own) };
    (&spikes * &upstream).sum(Kind::Double).backward();

    let other = leaf(&values);
    let options = (Kind::Double, Device::Cpu);
    let decay = settings.leak.decay();
    // From the parameters, which are f32.
    let of = |name: &str, value: f64| {
        let found = parameters.trainable().iter().find(|parameter| parameter.name == name);
        let value = found.map_or_else(|| Tensor::full([1], value, options), |found| found.tensor.to_kind(Kind::Double));
        leaf(&value)
    };
    let leak = of("leak", ((1.0 - decay) / decay).ln());
    let threshold = of("threshold", settings.threshold);
    let wide = other.to_kind(Kind::Double);
    let currents: Vec<Tensor> =
        (0..steps).map(|step| if constant { wide.shallow_clone() } else { wide.get(step) }).collect();
    let want = reference(settings, &leak, &threshold, &currents);
    (&want * &upstream).sum(Kind::Double).backward();

    let mut gradients = vec![[own.grad(), other.grad()]];
    for parameter in parameters.trainable() {
        let want = if parameter.name == "leak" { &leak } else { &threshold };
        gradients.push([parameter.tensor.grad(), want.grad()]);
    }
    assert_eq!(gradients.len() - 1, usize::from(settings.learn_decay) + usize::from(settings.learn_threshold));
    assert_eq!(neurons.parameters() as usize, gradients.len() - 1);
    assert!(parameters.trainable().iter().all(|parameter| !parameter.decays));
    Compared { spikes: [spikes, want], gradients }
}

fn agree(surrogate: Surrogate) {
    for settings in forms(surrogate) {
        for (steps, constant) in [(1, false), (2, false), (5, false), (1, true), (4, true)] {
            for (kind, tolerance) in [(Kind::Double, 2e-6), (Kind::Float, 2e-4)] {
                let Compared { spikes: [spikes, want], gradients } = compare(&settings, kind, steps, constant);
                let what = format!("{settings:?}, {kind:?}, {steps} timesteps, constant {constant}");
                assert!((spikes - want).abs().max().double_value(&[]) < 1e-6, "{what}");
                for (index, [got, want]) in gradients.iter().enumerate() {
                    let scale = want.abs().max().double_value(&[]).max(1.0);
                    let error = (got - want).abs().max().double_value(&[]) / scale;
                    assert!(error < tolerance, "{what}, gradient {index}: {got:?}, not {want:?}: {error}");
                }
                let [_, to_currents] = &gradients[0];
                assert!(to_currents.abs().max().double_value(&[]) > 0.1, "{what}: the gradient is 0");
            }
        }
    }
}

#[test]
fn dspike_in_every_form_agrees_with_op_by_op_autograd() {
    agree(ALL[0]);
}

#[test]
fn atan_in_every_form_agrees_with_op_by_op_autograd() {
    agree(ALL[1]);
}

#[test]
fn triangle_in_every_form_agrees_with_op_by_op_autograd() {
    agree(ALL[2]);
}

#[test]
fn rectangle_in_every_form_agrees_with_op_by_op_autograd() {
    agree(ALL[3]);
}

#[test]
fn sigmoid_in_every_form_agrees_with_op_by_op_autograd() {
    agree(ALL[4]);
}

/// The kernels are for the paper's form alone, whatever its numbers.
#[test]
fn only_the_form_of_the_paper_is_fused() {
    let paper = NeuronSettings { leak: Leak::TimeConstant(2.0), threshold: 1.0, ..NeuronSettings::default() };
    let lif = paper.fused().expect("the form of the paper");
    assert_eq!((lif.tau, lif.threshold, lif.surrogate.temperature), (0.5, 1.0, 3.0));
    for other in [
        NeuronSettings { learn_decay: true, ..paper },
        NeuronSettings { scaled_input: true, ..paper },
        NeuronSettings { learn_threshold: true, ..paper },
        NeuronSettings { reset: Reset::Soft, ..paper },
        NeuronSettings { detach_reset: true, ..paper },
        NeuronSettings { surrogate: ALL[1], ..paper },
    ] {
        assert!(other.fused().is_none(), "{other:?}");
    }
}

/// The same neuron by the kernels of the CPU and by tensor operations.
#[test]
fn the_operations_agree_with_the_kernels() {
    let mut stream = Stream::open(6, "neurons", 0);
    let values = stream.normal(&[4, 5, 300]) * 0.8 + 0.3;
    let upstream = stream.normal(&[4, 5, 300]);
    let gradient = |spikes: &dyn Fn(&Tensor) -> Tensor| {
        let x = values.copy().set_requires_grad(true);
        let spikes = spikes(&x);
        (&spikes * &upstream).sum(Kind::Float).backward();
        (spikes.detach(), x.grad())
    };
    let neurons = Neurons::from(super::super::lif::Lif::default());
    let surrogate = NeuronSettings::default().surrogate;
    let dynamics = Dynamics { scaled_input: false, reset: Reset::Hard, detached: false, surrogate };
    let (kernel, by_kernel) = gradient(&|x| neurons.spikes(x));
    let (operations, by_operations) =
        gradient(&|x| spikes(dynamics, [&Number::Fixed(0.2), &Number::Fixed(0.5)], x, 4, false));
    assert!(kernel.equal(&operations));
    assert!((by_kernel - by_operations).abs().max().double_value(&[]) < 5e-6);
}

/// Spikes of bfloat16 currents are bfloat16, and their potentials are f32.
#[test]
fn potentials_of_bfloat16_currents_are_f32() {
    let settings = NeuronSettings { reset: Reset::Soft, surrogate: ALL[1], ..NeuronSettings::default() };
    let neurons = Neurons::new(&settings, &mut Build::new(&mut Parameters::default(), 0, Device::Cpu));
    let values = Stream::open(7, "neurons", 0).normal(&[6, 50]).to_kind(Kind::BFloat16);
    let run = |kind: Kind| {
        let x = values.detach().to_kind(kind).copy().set_requires_grad(true);
        let spikes = neurons.spikes(&x);
        spikes.sum(Kind::Float).backward();
        assert_eq!((spikes.kind(), x.grad().kind()), (kind, kind));
        (spikes.to_kind(Kind::Float), x.grad())
    };
    let (narrow, wide) = (run(Kind::BFloat16), run(Kind::Float));
    assert!(narrow.0.equal(&wide.0));
    assert!(narrow.1.equal(&wide.1.to_kind(Kind::BFloat16)));
}

/// By hand, of a current of 0.6 at each timestep:
///
/// ```text
/// scaled, time constant 2, threshold 0.4:  u = 0.3, 0.45 (spike)
///   hard: h = 0, u = 0.3                   soft: h = 0.05, u = 0.325, 0.4625 (spike)
/// ```
#[test]
fn resets_and_scales_by_hand() {
    let fire = |reset, steps| {
        let settings = NeuronSettings {
            leak: Leak::TimeConstant(2.0),
            scaled_input: true,
            threshold: 0.4,
            reset,
            ..NeuronSettings::default()
        };
        let neurons = Neurons::new(&settings, &mut Build::new(&mut Parameters::default(), 0, Device::Cpu));
        let current = Tensor::from_slice(&[0.6f32]);
        Vec::<f32>::try_from(neurons.spikes_of_constant(&current, steps).view([-1])).unwrap()
    };
    assert_eq!(fire(Reset::Hard, 6), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    // h: 0.3, 0.05, 0.325, 0.0625, 0.33125, ...
    assert_eq!(fire(Reset::Soft, 6), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    let settings = NeuronSettings { leak: Leak::Decay(1.0), threshold: 1.0, reset: Reset::Soft, ..Default::default() };
    let neurons = Neurons::new(&settings, &mut Build::new(&mut Parameters::default(), 0, Device::Cpu));
    let spikes = neurons.spikes_of_constant(&Tensor::from_slice(&[0.7f32]), 9);
    // Without leak and by subtraction, the spikes of t timesteps are what the sum holds of
    // thresholds: floor(0.7 t).
    let counts = Vec::<f32>::try_from(spikes.view([-1]).cumsum(0, Kind::Float)).unwrap();
    assert_eq!(counts, [0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0]);
}

/// PLIF's parameter: a = -ln(time constant - 1), and sigmoid(a) is 1 / time constant.
#[test]
fn a_learned_decay_begins_where_the_settings_say() {
    for (steps, want) in [(2.0, 0.0), (5.0, -(4.0f64.ln()))] {
        let mut parameters = Parameters::default();
        let settings =
            NeuronSettings { leak: Leak::TimeConstant(steps), learn_decay: true, ..NeuronSettings::default() };
        Neurons::new(&settings, &mut Build::new(&mut parameters, 0, Device::Cpu));
        let leak = &parameters.trainable()[0];
        assert_eq!(leak.name, "leak");
        assert!((leak.tensor.double_value(&[0]) - want).abs() < 1e-6);
        assert!((leak.tensor.sigmoid().double_value(&[0]) - 1.0 / steps).abs() < 1e-6);
    }
}

/// Below every threshold the potential is smooth in the decay, and the loss is one of potentials:
/// finite differences see what autograd does through the surrogate's slope.
#[test]
fn gradients_of_decay_and_threshold_agree_with_finite_differences() {
    // With a rectangle that reaches beyond all potentials, s is u - V_th over its width but for the
    // step: gradients are those of the linear neuron L = sum w(t) (u(t) - V_th) / (2 r).
    const REACH: f64 = 50.0;
    let settings = NeuronSettings {
        leak: Leak::TimeConstant(3.0),
        learn_decay: true,
        scaled_input: true,
        threshold: 40.0,
        learn_threshold: true,
        reset: Reset::Hard,
        detach_reset: true,
        surrogate: Surrogate::Rectangle { reach: REACH },
        ..NeuronSettings::default()
    };
    let mut parameters = Parameters::default();
    let neurons = Neurons::new(&settings, &mut Build::new(&mut parameters, 0, Device::Cpu));
    let mut stream = Stream::open(8, "neurons", 0);
    let x = stream.normal(&[5, 20]).to_kind(Kind::Double);
    let w = stream.normal(&[5, 20]).to_kind(Kind::Double);
    (neurons.spikes(&x) * &w).sum(Kind::Double).backward();
    let linear = |a: f64, threshold: f64| {
        let replaced = 1.0 / (1.0 + (-a).exp());
        let mut u = Tensor::zeros([20], (Kind::Double, Device::Cpu));
        (0..5)
            .map(|step| {
                u = &u * (1.0 - replaced) + x.get(step) * replaced;
                (w.get(step) * (&u - threshold)).sum(Kind::Double).double_value(&[]) / (2.0 * REACH)
            })
            .sum::<f64>()
    };
    const STEP: f64 = 1e-4;
    let a = -(2.0f64.ln());
    let want = [
        (linear(a + STEP, 40.0) - linear(a - STEP, 40.0)) / (2.0 * STEP),
        (linear(a, 40.0 + STEP) - linear(a, 40.0 - STEP)) / (2.0 * STEP),
    ];
    for (parameter, want) in parameters.trainable().iter().zip(want) {
        let got = parameter.tensor.grad().double_value(&[0]);
        assert!(
            (got - want).abs() < 1e-5 * want.abs().max(1.0) && want.abs() > 1e-3,
            "{}: {got}, not {want}",
            parameter.name
        );
    }
}

/// Every timestep is by itself, and the gradient is that of max(0, x).
#[test]
fn without_spikes_a_current_above_zero_is_handed_on() {
    let settings = NeuronSettings { activation: Activation::Relu, ..NeuronSettings::default() };
    let neurons = Neurons::new(&settings, &mut Build::new(&mut Parameters::default(), 0, Device::Cpu));
    assert!(!neurons.are_fused());
    let x = Tensor::from_slice(&[0.25f32, -3.0, 0.0, 7.5]).view([2, 2, 1, 1]).set_requires_grad(true);
    let handed_on = neurons.spikes(&x.unsqueeze(1));
    assert_eq!(Vec::<f32>::try_from(handed_on.flatten(0, -1)).unwrap(), [0.25, 0.0, 0.0, 7.5]);
    let repeated = neurons.spikes_of_constant(&x, 3);
    assert_eq!(repeated.size(), [3, 2, 2, 1, 1]);
    assert!((0..3).all(|step| repeated.get(step).equal(&x.detach().relu())));
    repeated.sum(Kind::Float).backward();
    assert_eq!(Vec::<f32>::try_from(x.grad().flatten(0, -1)).unwrap(), [3.0, 0.0, 0.0, 3.0]);
}

#[test]
fn settings_come_back_as_they_were_written() {
    let read = |text: &str| serde_json::from_str::<NeuronSettings>(text).map_err(|error| error.to_string());
    let written = |settings: NeuronSettings| serde_json::to_value(settings).unwrap();
    // As trials of today have it: their hash covers this text.
    let paper = serde_json::json!({ "tau": 0.2, "threshold": 0.5, "temperature": 3.0 });
    assert_eq!(written(read("{}").unwrap()), paper);
    let relu = NeuronSettings { activation: Activation::Relu, ..NeuronSettings::default() };
    assert_eq!(written(relu), serde_json::json!({ "activation": "relu", "threshold": 0.5 }));
    for settings in ALL.into_iter().flat_map(forms).chain([relu]) {
        let text = written(settings).to_string();
        assert_eq!(read(&text), Ok(settings), "{text}");
    }
    for (text, want) in [
        (r#"{ "tau": 0.2, "time_constant": 2.0 }"#, "`tau` and `time_constant` both set the decay; leave one of them"),
        (r#"{ "tau": -0.2 }"#, "`tau` is -0.2, and has to be 0 to 1"),
        (r#"{ "time_constant": 0.5 }"#, "`time_constant` is 0.5, and has to be 1 or more"),
        (r#"{ "surrogate": "atan", "alpha": 0.0 }"#, "`alpha` is 0, and has to be more than 0"),
        (
            r#"{ "surrogate": "atan", "temperature": 3.0 }"#,
            r#"nothing reads `temperature`: the surrogate "atan" has the setting `alpha`"#,
        ),
        (r#"{ "reach": 1.0 }"#, r#"nothing reads `reach`: the surrogate "dspike" has the setting `temperature`"#),
        (
            r#"{ "tau": 1.0, "learn_decay": true }"#,
            "a decay that is learned (`learn_decay`) begins between 0 and 1, and this one is 1",
        ),
        (r#"{ "decay": 0.2 }"#, "unknown field `decay`"),
        (r#"{ "activation": "relu", "tau": 0.5 }"#, "nothing reads `tau`: neurons with the activation `relu` have no"),
        (r#"{ "activation": "relu", "threshold": 1.0 }"#, "nothing reads `threshold`"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(want), "{text}: {error}");
    }
}
