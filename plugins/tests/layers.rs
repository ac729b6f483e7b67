//! Networks of `layers`: their sizes against published ones, one pass of each kind of layer against
//! plain PyTorch, spikes counted one by one, and messages.
//!
//! `reference/layers.py` says what the reference does and how to run it; `reference/layers.safetensors`
//! holds its parameters, batches and results, `reference/layers.txt` what it printed.

use std::collections::BTreeMap;
use std::path::Path;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::cost::model_size_bytes;
use litesnn_framework::network::{
    CompressedWeight, Compression, Compressor, Decision, Input, Network, Pass, Place, SearchSpace, SynapseLayer,
    Techniques,
};
use litesnn_plugins as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const CIFAR: [i64; 3] = [3, 32, 32];

fn space(settings: &Value) -> Box<dyn SearchSpace> {
    serde_json::from_value(json!({ "layers": settings })).unwrap()
}

fn named(name: &str) -> Value {
    json!({ "network": name })
}

fn built(settings: &Value, shape: [i64; 3], classes: usize, build: &mut Build) -> Box<dyn Network> {
    let (space, data) = (space(settings), DataInfo::of_form((shape, classes)));
    let only = space.fixed().unwrap();
    space.network(&only, &Compression::new(), false, &data, &[], build).unwrap()
}

/// The network without values, for images of this shape.
fn outline(settings: &Value, shape: [i64; 3], classes: usize) -> Box<dyn Network> {
    built(settings, shape, classes, &mut Build::outline(&mut Parameters::default()))
}

/// Weights, and all other parameters.
fn parameters(network: &dyn Network) -> (u64, u64) {
    let weights = network.layers().iter().map(|layer| layer.weight.raw().numel() as u64).sum();
    (weights, network.full_precision_parameters())
}

/// Sources: counts that the sizes of published tables rest on; for `sew-resnet18` torchvision's
/// ResNet-18, 11,689,512 parameters.
#[test]
fn named_networks_have_the_published_sizes() {
    let of = |name: &str, shape, classes| parameters(outline(&named(name), shape, classes).as_ref());
    assert_eq!(of("vgg16", CIFAR, 10), (14_715_584, 12_682));
    assert_eq!(of("resnet19-stem64", CIFAR, 10), (12_619_968, 10_890));
    assert_eq!(of("resnet19-stem64", CIFAR, 100), (12_643_008, 10_980));
    assert_eq!(of("resnet19", CIFAR, 10), (12_558_720, 10_506));
    assert_eq!(of("resnet18", CIFAR, 10), (11_164_352, 9_610));
    assert_eq!(of("6conv2fc", CIFAR, 10).0, 36_715_264);
    let (weights, others) = of("sew-resnet18", [3, 224, 224], 1000);
    assert_eq!(weights + others, 11_689_512);
    // Not published: by hand. 8 · 9 convolutions of VGG-11 and 512 · 10; 7 of VGG-9, 4096 · 1024, 1024 · 10.
    let convolutions = |pairs: &[(u64, u64)]| pairs.iter().map(|(from, to)| 9 * from * to).sum::<u64>();
    let vgg11 = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)];
    assert_eq!(of("vgg11", CIFAR, 10).0, convolutions(&vgg11) + 5120);
    let vgg9 = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)];
    assert_eq!(of("vgg9", CIFAR, 10).0, convolutions(&vgg9) + 4096 * 1024 + 10_240);
}

/// Table 2 of LitE-SNN, Kim et al. (2022b): what is left of all parameters when a ticket has removed
/// 76.20 and 94.29 % of them, none of a normalisation or bias. The masks themselves are not needed.
#[test]
fn tickets_of_the_published_sparsity_have_the_sizes_of_the_table() {
    let (space, data) = (space(&named("resnet19-stem64")), DataInfo::of_form((CIFAR, 10)));
    let ticket: Box<dyn Compressor> = serde_json::from_value(json!({ "ticket": {} })).unwrap();
    let outline = |decided: &Compression| {
        let (only, mut parameters) = (space.fixed().unwrap(), Parameters::default());
        let compressors: [(&str, &dyn Compressor); 1] = [("ticket", ticket.as_ref())];
        space.network(&only, decided, false, &data, &compressors, &mut Build::outline(&mut parameters)).unwrap()
    };
    let dense = outline(&Compression::new());
    let (weights, others) = parameters(dense.as_ref());
    for (percent, published) in [(76.20, 12.02), (94.29, 2.88)] {
        let rate = Some(percent / 100.0 * (weights + others) as f64 / weights as f64);
        let of_layer = |layer: &SynapseLayer| (layer.shape.name.clone(), Decision { bits: None, rate });
        let decided = dense.layers().iter().map(of_layer).collect();
        let network = outline(&Compression::from([("ticket".to_owned(), decided)]));
        let kept = |layer: &SynapseLayer| layer.weight.density(Techniques::ALL).number() * layer.shape.weights();
        let bits = 32.0 * network.layers().iter().map(kept).sum::<f64>();
        let size = model_size_bytes(bits, network.full_precision_parameters()) / 1e6;
        assert!((size - published).abs() < 0.005, "{percent} %: {size} MB, published {published}");
    }
}

/// Megabytes at four bytes a number, as Table 2 of LitE-SNN has them.
#[test]
fn dense_sizes_are_those_of_the_table() {
    let megabytes = |name: &str| {
        let (weights, others) = parameters(outline(&named(name), CIFAR, 10).as_ref());
        4.0 * (weights + others) as f64 / 1e6
    };
    let size = |name: &str, want: f64| {
        let got = megabytes(name);
        assert!((got - want).abs() < 0.005, "{name}: {got} MB, published {want}");
    };
    size("resnet18", 44.70);
    // 36.715 million weights; BN has another 12,288 bytes.
    assert!((megabytes("6conv2fc") - 0.012_288 - 146.861).abs() < 5e-4);
}

/// Megabytes of the weights that are kept, at four bytes each: Grad R (Chen et al., IJCAI 2021) at the kept
/// fractions and STDS (Chen et al., ICML 2022, released logs) at the sparsities that they print, and ESL-SNN
/// (Shen et al., CVPR 2023), whose size is that of half of ResNet-19.
#[test]
fn pruned_networks_have_the_published_sizes() {
    let megabytes = |name: &str, pruner: &str, settings: Value| {
        let (space, data) = (space(&named(name)), DataInfo::of_form((CIFAR, 10)));
        let compressor: Box<dyn Compressor> = serde_json::from_value(json!({ pruner: settings })).unwrap();
        let only = space.fixed().unwrap();
        let (mut parameters, compressors) = (Parameters::default(), [(pruner, compressor.as_ref())]);
        let build = &mut Build::outline(&mut parameters);
        let network = space.network(&only, &Compression::new(), false, &data, &compressors, build).unwrap();
        let layers = network.layers();
        let kept = |weight: &CompressedWeight| weight.raw().numel() as f64 * weight.density(Techniques::ALL).number();
        4.0 * layers.iter().map(|layer| kept(layer.weight)).sum::<f64>() / 1e6
    };
    // A printed sparsity is rounded to a thousandth of a percent, a kept fraction to a hundredth.
    let size = |pruner: &str, settings: Value, name: &str, want: f64, rounded: f64| {
        let got = megabytes(name, pruner, settings);
        assert!((got - want).abs() < rounded, "{name}: {got} MB, published {want}");
    };
    let all = 146.861;
    for (sparsity, want) in [(0.97770, 3.276), (0.99254, 1.096)] {
        size("magnitude-prune", json!({ "rate": sparsity }), "6conv2fc", want, all * 5e-6 + 1e-3);
    }
    for (kept, want) in [(0.2841, 41.72), (0.1204, 17.68)] {
        size("magnitude-prune", json!({ "rate": 1.0 - kept }), "6conv2fc", want, all * 5e-5 + 5e-3);
    }
    size("evolve-prune", json!({ "rate": 0.5 }), "resnet19", 25.117, 1e-3);
}

/// QP-SNN (Wei et al., ICLR 2025), Table 1: networks with so many channels pruned, the quantised
/// weights at 8, 4 and 2 bits, and stem, classifier, normalisation and bias at 32.
#[test]
fn qp_snn_has_its_24_published_sizes() {
    let kept = |channels: f64, rate: f64| (channels * (1.0 - rate)) as i64;
    let resnet = |outer: f64, inner: f64| {
        let basic = |channels: i64, inner: i64, times: u64, stride: i64| json!({ "basic": channels, "inner": inner, "times": times, "stride": stride, "shortcut": "zero-padding" });
        let first = kept(128.0, outer);
        json!({ "layers": [
            { "conv": kept(64.0, 0.1) },
            basic(first, first, 1, 1),
            basic(first, kept(128.0, inner), 2, 1),
            basic(kept(256.0, outer), kept(256.0, inner), 3, 2),
            basic(512, kept(512.0, inner), 3, 2),
            { "global_average": true },
            { "classifier": 1 },
        ] })
    };
    let vgg = |first: f64, next: f64| {
        let conv = |channels: f64, rate: f64, times: u64| json!({ "conv": kept(channels, rate), "times": times });
        let pool = json!({ "max_pool": 2 });
        json!({ "layers": [
            conv(64.0, first, 2), pool, conv(128.0, first, 2), pool, conv(256.0, first, 3), pool,
            conv(512.0, next, 3), pool, conv(512.0, next, 2), conv(512.0, 0.0, 1), pool, { "classifier": 1 },
        ] })
    };
    let check = |settings: Value, classes: usize, quantised: u64, published: [f64; 3]| {
        let network = outline(&settings, CIFAR, classes);
        let layers = network.layers();
        let in_body = layers.iter().filter(|layer| layer.shape.place.is_body());
        let body: u64 = in_body.map(|layer| layer.weight.raw().numel() as u64).sum();
        assert_eq!(body, quantised, "{settings}");
        let (weights, others) = parameters(network.as_ref());
        for (bits, want) in [8.0, 4.0, 2.0].into_iter().zip(published) {
            let megabytes = (body as f64 * bits / 8.0 + 4.0 * (weights - body + others) as f64) / 1e6;
            assert!((megabytes - want).abs() <= 0.000_501, "{bits} bits: {megabytes} MB, published {want}: {settings}");
        }
    };
    check(resnet(0.3, 0.6), 10, 6_212_466, [6.267, 3.161, 1.608]);
    check(resnet(0.35, 0.75), 10, 3_866_436, [3.918, 1.984, 1.018]);
    check(resnet(0.3, 0.6), 100, 6_212_466, [6.452, 3.346, 1.793]);
    check(resnet(0.35, 0.75), 100, 3_866_436, [4.102, 2.169, 1.202]);
    check(vgg(0.45, 0.51), 10, 4_235_175, [4.279, 2.161, 1.102]);
    check(vgg(0.49, 0.80), 10, 1_410_111, [1.447, 0.742, 0.389]);
    check(vgg(0.45, 0.70), 100, 2_258_703, [2.483, 1.354, 0.789]);
    check(vgg(0.45, 0.78), 100, 1_626_975, [1.850, 1.036, 0.629]);
}

/// Q-SNN (Wei et al., ACM MM 2024): one bit in every block of ResNet-19, eight at stem and classifier, 32 in
/// normalisation.
#[test]
fn q_snn_has_one_bit_in_blocks_and_eight_outside() {
    let (space, data) = (space(&named("resnet19")), DataInfo::of_form((CIFAR, 10)));
    let compressor: Box<dyn Compressor> = serde_json::from_value(json!({ "binary-standardize": {} })).unwrap();
    let only = space.fixed().unwrap();
    let (mut parameters, compressors) = (Parameters::default(), [("binary-standardize", compressor.as_ref())]);
    let build = &mut Build::outline(&mut parameters);
    let network = space.network(&only, &Compression::new(), false, &data, &compressors, build).unwrap();
    let bits = |weight: &CompressedWeight| weight.raw().numel() as f64 * weight.bits(Techniques::ALL).number();
    let weights = network.layers().iter().map(|layer| bits(layer.weight)).sum::<f64>() / 8e6;
    let (_, others) = self::parameters(outline(&named("resnet19"), CIFAR, 10).as_ref());
    let megabytes = weights + 4e-6 * others as f64;
    assert!((megabytes - 1.619).abs() < 5e-4, "{megabytes} MB");
}

/// A width scales all channels but the classifier's, and every named network is built and runs.
#[test]
fn every_named_network_runs_at_a_small_width() {
    for name in
        ["vgg9", "vgg11", "vgg16", "resnet18", "resnet19", "resnet19-stem64", "resnet20", "sew-resnet18", "6conv2fc"]
    {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 1, Device::Cpu);
        let network = built(&json!({ "network": name, "width": 0.03 }), CIFAR, 10, &mut build);
        let images = Stream::numbered(1).normal(&[2, 3, 32, 32]);
        let pass = Pass { training: true, measure: true, ..Pass::new(2) };
        let response = network.forward(&images, &pass);
        assert_eq!(response.logits.size(), [2, 2, 10], "{name}");
        assert_eq!(response.activity.len(), network.layers().len(), "{name}");
        response.logits.square().sum(Kind::Float).backward();
        assert!(network.layers()[0].weight.raw().grad().defined(), "{name}");
    }
}

/// The two networks of the reference.
fn reference_networks() -> [(&'static str, Value); 2] {
    let a = json!([
        { "conv": 4, "kernel": 5, "bias": true },
        { "max_pool": 3, "stride": 2, "padding": 1 },
        { "basic": 6, "stride": 2 },
        { "basic": 6 },
        { "sew": 6 },
        { "sew": 8, "connect": "iand" },
        { "sew": 8, "connect": "and" },
        { "conv": 5, "bias": true, "norm": false },
        { "global_average": true },
        { "dropout": 0.4 },
        { "linear": 7, "bias": false, "norm": true },
        { "linear": 6 },
        { "classifier": 2, "spiking": true },
    ]);
    let b = json!([
        { "conv": 4 },
        { "average_pool": 2 },
        { "basic": 6, "stride": 2, "inner": 3, "shortcut": "zero-padding" },
        { "basic": 6 },
        { "dropout": 0.25 },
        { "classifier": 3, "bias": false },
    ]);
    [("a", a), ("b", b)]
}

#[test]
fn a_pass_equals_the_reference_in_pytorch() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/layers.safetensors");
    let stored = Tensor::read_safetensors(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut stored: BTreeMap<String, Tensor> = stored.into_iter().collect();
    let mut failures = Vec::new();
    for (name, layers) in reference_networks() {
        let mut take = |key: &str| {
            let key = format!("{name}/{key}");
            stored.remove(&key).unwrap_or_else(|| panic!("the reference has no `{key}`"))
        };
        let largest = |of: &Tensor| of.abs().max().double_value(&[]);
        // `least` is the size of the numbers that a value is a sum of, where that is known to be larger
        // than the value: of those, the rounding is seen.
        let mut compare_with = |what: String, got: &Tensor, want: &Tensor, least: f64| {
            let (got, want) = (got.detach().to_kind(Kind::Double), want.to_kind(Kind::Double));
            let scale = largest(&want).max(least);
            let apart = (&got - &want).abs().max().double_value(&[]) / scale;
            // NaN is apart, too.
            if got.size() != want.size() || apart.is_nan() || apart > 2e-4 {
                failures.push(format!("{name}, {what}: {apart:.1e} apart of {scale:.1e}"));
            }
        };
        let settings = json!({ "layers": layers, "tau": 0.4 });
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let network = built(&settings, [2, 16, 12], 3, &mut build);
        let states = parameters.buffers().iter().filter(|(buffer, _)| buffer.ends_with(".state"));
        let trainable = parameters.trainable().iter().map(|parameter| (&parameter.name, &parameter.tensor));
        for (parameter, tensor) in trainable.chain(states.map(|(name, tensor)| (name, tensor))) {
            let value = take(&format!("parameter/{parameter}"));
            assert_eq!(value.size(), tensor.size(), "shape of `{parameter}`");
            tch::no_grad(|| tensor.shallow_clone().copy_(&value));
        }
        let pass = Pass { training: true, measure: true, maps: true, ..Pass::new(3) };
        let response = network.forward(&take("images"), &pass);
        let loss = response.logits.mean_dim(0, false, None::<Kind>).cross_entropy_for_logits(&take("labels"));
        loss.backward();
        // The gradient of a bias before a normalisation is zero but for rounding.
        let gradients: Vec<(String, Tensor, Tensor)> = parameters
            .of(&[Role::Weight])
            .map(|parameter| (format!("gradient/{}", parameter.name), parameter.tensor.grad()))
            .map(|(what, got)| (what.clone(), got, take(&what)))
            .collect();
        let of_all = gradients.iter().map(|(.., want)| largest(want)).fold(0.0, f64::max);
        for (what, got, want) in gradients {
            compare_with(what, &got, &want, 0.01 * of_all);
        }
        let mut compare = |what: String, got: &Tensor, want: &Tensor| compare_with(what, got, want, 1e-3);
        compare("logits".into(), &response.logits, &take("logits"));
        compare("loss".into(), &loss, &take("loss"));
        for (buffer, tensor) in parameters.buffers().iter().filter(|(buffer, _)| !buffer.ends_with(".state")) {
            compare(buffer.clone(), tensor, &take(&format!("running/{buffer}")));
        }
        for (activity, layer) in response.activity.iter().zip(network.layers()) {
            let what = format!("rate/{}", layer.shape.name);
            compare(what.clone(), &activity.rate, &take(&what));
            let neurons = layer.shape.input_neurons().iter().product::<i64>() as f64;
            let by_map = activity.map.as_ref().unwrap().sum(Kind::Double) / neurons;
            compare(format!("map of {}", layer.shape.name), &by_map, &activity.rate.sum(Kind::Double));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(stored.is_empty(), "not compared: {:?}", stored.keys());
}

/// Each spike of an average is an addition for each connection, and so is each spike of a sum: what
/// a network without pooling and sums would do that has the pooling in its kernel.
#[test]
fn sums_and_averages_count_as_the_spikes_in_them() {
    let layers = json!([
        { "conv": 4 }, { "sew": 4 }, { "average_pool": 2 }, { "conv": 5 }, { "max_pool": 2 }, { "global_average": true },
        { "classifier": 1 },
    ]);
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 4, Device::Cpu);
    let network = built(&json!({ "layers": layers }), [1, 8, 8], 3, &mut build);
    let reads: Vec<Input> = network.layers().iter().map(|layer| layer.shape.reads).collect();
    assert_eq!(reads, [Input::Image, Input::Spikes, Input::Spikes, Input::Sums, Input::Sums]);
    let places: Vec<String> = network.layers().iter().map(|layer| layer.shape.name.clone()).collect();
    assert_eq!(places, ["stem", "block1.conv1", "block1.conv2", "block2.conv", "classifier"]);
    assert_eq!(network.layers()[4].shape.place, Place::Classifier);
    let images = Stream::numbered(2).normal(&[3, 1, 8, 8]);
    let pass = Pass { measure: true, maps: true, ..Pass::new(2) };
    let activity = network.forward(&images, &pass).activity;
    // Of the sums of two spikes, four to a window: whole numbers of spikes an image.
    let map = activity[3].map.as_ref().unwrap() * 3.0;
    assert!((&map - map.round()).abs().max().double_value(&[]) < 1e-9, "{map:?}");
    assert!(map.max().double_value(&[]) > 0.0 && map.max().double_value(&[]) <= f64::from(3 * 2 * 2 * 4));
}

/// What `check` says of settings, for images of CIFAR-10.
fn misfits(settings: Value) -> Vec<String> {
    let all = space(&settings).check(&DataInfo::of_form((CIFAR, 10)));
    all.into_iter().map(|misfit| format!("{}: {}", misfit.key, misfit.message)).collect()
}

#[test]
fn each_mistake_in_a_list_has_its_place() {
    let list = |between: Value| {
        let mut layers = vec![json!({ "conv": 8 })];
        layers.extend(between.as_array().unwrap().iter().cloned());
        layers.push(json!({ "classifier": 1 }));
        misfits(json!({ "layers": layers }))
    };
    assert!(list(json!([])).is_empty());
    for (between, said) in [
        (
            json!([{ "max_pool": 3 }]),
            "layers.1: windows of 3 at a stride of 3 and a padding of 0 do not fill the map of 32 x 32 that they pool",
        ),
        (
            json!([{ "average_pool": 2 }, { "average_pool": 5 }]),
            "layers.2: windows of 5 at a stride of 5 and a padding of 0 do not fill the map of 16 x 16 that they pool",
        ),
        (
            json!([{ "conv": 4, "kernel": 40, "padding": 0 }]),
            "layers.1: a kernel of 40 x 40 does not fit into the map of 32 x 32 that it reads, with a padding of 0",
        ),
        (
            json!([{ "basic": 16, "shortcut": "identity" }]),
            "layers.1.shortcut: an identity hands on 8 channels, and the block has 16 at a stride of 1",
        ),
        (
            json!([{ "basic": 4, "shortcut": "zero-padding" }]),
            "layers.1.shortcut: zeros cannot make 4 channels of the 8 that the block reads",
        ),
        (
            json!([{ "average_pool": 2 }, { "sew": 8 }]),
            "layers.2.sew: the shortcut would join averages to spikes, and the functions of `sew` are of spikes",
        ),
        (
            json!([{ "linear": 5, "stride": 2 }]),
            "layers.1.stride: `stride` says nothing about `linear`; keys beside it: `bias`, `norm`, `times`",
        ),
        (
            json!([{ "linear": 5, "conv": 2 }]),
            "layers.1.linear: a layer is of one kind, and `linear` is another one than `conv`",
        ),
        (
            json!([{ "stride": 2 }]),
            "layers.1: a layer has the key of its kind: one of `conv`, `basic`, `sew`, `linear`, `max_pool`, `average_pool`, `global_average`, `dropout`, `classifier`",
        ),
        (json!([{ "global_average": false }]), "layers.1.global_average: it is `true`, or the layer is left out"),
        (
            json!([{ "max_pool": 2, "padding": 2 }]),
            "layers.1.padding: a padding of 2 is more than half of the window of 2",
        ),
        (json!([{ "classifier": 1 }]), "layers.1: a `classifier` is the last layer, and others follow"),
    ] {
        assert_eq!(list(between), [said]);
    }
    // Keys are looked at in all layers before sizes are.
    assert_eq!(list(json!([{ "max_pool": 3 }, { "dropout": 0.1, "bias": true }, { "norm": true }])).len(), 2);
    assert_eq!(misfits(json!({ "layers": [{ "conv": 4 }] })), ["layers.0: the last layer has to be a `classifier`"]);
    assert_eq!(
        misfits(json!({ "layers": [{ "linear": 4 }, { "classifier": 1 }] })),
        ["layers.0.linear: the first layer reads the image, and has to be a `conv`"]
    );
    assert_eq!(misfits(json!({})), [": neither `network` nor `layers` is given"]);
    assert_eq!(
        misfits(json!({ "network": "vgg9", "layers": [{ "conv": 4 }] })),
        [": both `network` and `layers` are given"]
    );
    let small = space(&named("vgg16")).check(&DataInfo::of_form(([1, 28, 28], 10)));
    assert_eq!(
        format!("{}: {}; {}", small[0].key, small[0].message, small[0].help.as_ref().unwrap()),
        "network: layer 6 of the network: windows of 2 at a stride of 2 and a padding of 0 do not fill the map of 7 x 7 \
         that they pool; a window that divides the map, a convolution with a stride in its place, or `global_average`; \
         `litesnn plugins layers` shows the list, to copy and change it"
    );
}
