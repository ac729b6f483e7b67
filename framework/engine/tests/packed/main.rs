//! The packed file: networks come back as they were, and a damaged file is refused.

mod allocated;
mod mutations;
#[path = "../../../exchange/tests/networks/mod.rs"]
mod networks;
#[path = "../bit_sliced/random.rs"]
mod random;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Instant;

use allocated::most;
use litesnn_engine::file::{LIMIT, Provenance, Unreadable, payload, read, read_within, write};
use litesnn_engine::{Current, Made, Map, Network, Prepared, Reference, Synapses, Window, sample};
use mutations::{Parts, check_of};
use networks::Random;
use random::Draw;

#[global_allocator]
static ALLOCATOR: allocated::Counting = allocated::Counting;

fn provenance() -> Provenance {
    Provenance {
        producer: "litesnn".into(),
        name: "trial".into(),
        accuracy: 0.4567,
        measured_on: "1000 images".into(),
        claimed_bytes: 5300.0,
        input: r#"{"dataset":{"words":{"mfcc":{"frame_ms":30}}},"measured":[0.1]}"#.into(),
    }
}

fn all() -> Vec<(&'static str, Network)> {
    let mut all = networks::samples();
    all.extend([("early", networks::early()), ("sample", sample::network())]);
    all
}

#[test]
fn networks_come_back_as_they_were() {
    for (name, network) in all() {
        let file = write(&network, &provenance()).unwrap_or_else(|flaw| panic!("{name}: {flaw}"));
        assert_eq!(file, write(&network, &provenance()).unwrap(), "{name}: the same bytes at every call");
        let (again, from) = read(&file).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(again == network, "{name}");
        assert_eq!(from, provenance());
    }
}

/// What the record calls stored is all of a file but the header and the graph.
#[test]
fn the_payload_is_the_numbers_and_weights_of_the_file() {
    for (title, network) in all() {
        let file = write(&network, &provenance()).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let parts = ["numbers", "weights"].map(|part| tensors.tensor(part).unwrap().data().len());
        assert_eq!(payload(&network), parts[0] + parts[1], "{title}");
    }
}

/// As files of images are, and all that were written before sounds.
#[test]
fn a_file_that_does_not_say_what_makes_inputs_has_no_such_key() {
    let silent = Provenance { input: String::new(), ..provenance() };
    let network = sample::network();
    let file = write(&network, &silent).unwrap();
    assert!(!file.windows(7).any(|window| window == b"\"input\""));
    assert_eq!(read(&file).unwrap(), (network.clone(), silent));
    let telling = write(&network, &provenance()).unwrap();
    let key = with_graph(&telling, |graph| graph.replacen("\"input\"", "\"inputs\"", 1));
    let said = read(&key).unwrap_err().to_string();
    assert!(said.contains("unknown field `inputs`"), "{said}");
}

/// 20 % of the weights are kept, of 1 to 4 bits, and a random mask takes 0.739 bits for each
/// weight.
#[test]
fn the_medium_design_takes_as_much_as_its_weights_and_masks_do() {
    let network = networks::medium();
    let file = write(&network, &provenance()).unwrap();
    let kilobytes = file.len() as f64 / 1000.0;
    assert!((2300.0..2800.0).contains(&kilobytes), "{kilobytes} kB");
}

#[test]
fn what_is_not_known_is_refused() {
    let file = write(&sample::network(), &provenance()).unwrap();
    let said = |file: &[u8]| read(file).unwrap_err().to_string();
    assert!(said(b"").starts_with("this is no packed network"));
    assert!(said(&file[..file.len() - 1]).starts_with("this is no packed network"));
    let newer = replaced(&file, b"litesnn packed 1", b"litesnn packed 2");
    assert!(said(&newer).contains("has not the key `litesnn packed 1` alone"), "{}", said(&newer));
    let mut flipped = file.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(said(&flipped).contains("another SHA-256"), "{}", said(&flipped));
    let limit = read_within(&file, 1000).unwrap_err();
    assert!(matches!(limit, Unreadable::TooLarge { limit: 1000, .. }), "{limit}");
}

fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = file.windows(from.len()).position(|window| window == from).expect("it is there");
    [&file[..at], to, &file[at + to.len()..]].concat()
}

#[test]
fn a_code_has_a_width_that_is_known_and_numbers_come_back_to_the_bit() {
    let network = networks::early();
    let file = write(&network, &provenance()).unwrap();
    let wide = with_graph(&file, |graph| graph.replacen("\"bits\":16,\"first\"", "\"bits\":65,\"first\"", 1));
    let said = read(&wide).unwrap_err().to_string();
    assert!(said.contains("1, 2, 4, 8 or 16 bits"), "{said}");
    let unknown = Provenance { claimed_bytes: f64::NAN, accuracy: f64::NAN, ..provenance() };
    let (again, from) = read(&write(&network, &unknown).unwrap()).unwrap();
    assert!(again == network && from.claimed_bytes.is_nan() && from.accuracy.is_nan());
    let threshold = f64::from_bits(0.3f64.to_bits() + 1);
    let odd = Network { exit: Some(litesnn_engine::EarlyExit::Entropy(threshold)), ..network };
    assert!(read(&write(&odd, &provenance()).unwrap()).unwrap().0 == odd);
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    let file = write(&networks::early(), &provenance()).unwrap();
    for end in 0..file.len() {
        assert!(read(&file[..end]).is_err(), "{end} of {} bytes", file.len());
    }
}

/// The lines of numpy in docs/packed-file.md, run on a file of every sample.
#[test]
fn the_documents_lines_of_numpy_unpack_every_layer() {
    let python = match std::env::var_os("PEERS_VENV") {
        Some(venv) => std::path::Path::new(&venv).join("bin/python"),
        None => "python3".into(),
    };
    let there = std::process::Command::new(&python).args(["-c", "import numpy"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        // Not `eprintln!`, which the harness keeps to itself.
        #[allow(clippy::explicit_write)]
        writeln!(io::stderr(), "test skipped: {} has no numpy", python.display()).unwrap();
        return;
    }
    let document = include_str!("../../../../docs/packed-file.md");
    let script = document.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, network) in all() {
        let path = folder.path().join(name);
        std::fs::write(&path, write(&network, &provenance()).unwrap()).unwrap();
        let output = std::process::Command::new(&python).args(["-c", script]).arg(&path).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let want: Vec<String> = network
            .layers()
            .map(|(layer, _)| {
                let each: Vec<f64> = match &layer.values {
                    litesnn_engine::Values::Levels(levels) => levels.iter().map(|level| f64::from(*level)).collect(),
                    litesnn_engine::Values::Full(values) => values.iter().map(|value| f64::from(*value)).collect(),
                };
                let placed: f64 = each.iter().enumerate().map(|(place, value)| place as f64 * value).sum();
                format!("{} {placed:.3} {} {}", layer.name, layer.scale.len(), layer.bias.len())
            })
            .collect();
        assert_eq!(said.lines().collect::<Vec<_>>(), want, "{name}");
    }
}

/// A file with another graph, and the lengths and the digest that it then has.
fn with_graph(file: &[u8], change: impl FnOnce(String) -> String) -> Vec<u8> {
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};
    use sha2::{Digest, Sha256};
    let tensors = SafeTensors::deserialize(file).unwrap();
    let part = |name: &str| tensors.tensor(name).unwrap().data().to_vec();
    let (numbers, weights) = (part("numbers"), part("weights"));
    let before = String::from_utf8(part("graph")).unwrap();
    let graph = change(before.clone()).into_bytes();
    assert_ne!(graph, before.as_bytes(), "{before}");
    let digest: String =
        Sha256::digest([&numbers[..], &graph, &weights].concat()).iter().map(|byte| format!("{byte:02x}")).collect();
    let view = |kind, bytes| {
        TensorView::new(kind, vec![if kind == Dtype::F32 { <[u8]>::len(bytes) / 4 } else { <[u8]>::len(bytes) }], bytes)
            .unwrap()
    };
    let views = [
        ("graph", view(Dtype::U8, &graph)),
        ("numbers", view(Dtype::F32, &numbers)),
        ("weights", view(Dtype::U8, &weights)),
    ];
    safetensors::serialize(views, Some([("litesnn packed 1".to_owned(), digest)].into_iter().collect())).unwrap()
}

/// Changes bytes of a file, and gives it the digest that it then has: what is behind the digest is
/// reached.
fn mutated(file: &[u8], random: &mut Random) -> Vec<u8> {
    let header = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut changed = file.to_vec();
    for _ in 0..1 + random.below(3) {
        // Most of what can go wrong is in the graph.
        let graph = file.windows(11).position(|window| window == b"{\"producer\"").expect("it begins so");
        let (from, to) = match random.below(8) {
            0 => (0, changed.len()),
            1..=2 => (header, changed.len()),
            _ => (graph, (graph + 6000).min(changed.len())),
        };
        let at = from + random.below((to - from) as u64) as usize;
        changed[at] = match random.below(4) {
            0 => random.below(256) as u8,
            1 => b"0123456789"[random.below(10) as usize],
            2 => changed[at] ^ 1 << random.below(8),
            _ => b"[]{},:\"-"[random.below(8) as usize],
        };
    }
    let told = file[..header].windows(64).position(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if let (Some(at), true) = (told, changed[..8] == file[..8]) {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(&changed[header..]);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        changed[at..at + 64].copy_from_slice(digest.as_bytes());
    }
    changed
}

/// What a fuzzed file may make its reader, and then a run of its network, allocate.
const ALLOWED: usize = 1 << 24;

/// A file is refused, or it holds a network that is sound, is written and read again, and runs; and
/// nobody allocates more than is allowed. What a refusal says, if it is one.
fn held_to_its_word(file: &[u8], run: bool) -> Option<Unreadable> {
    let (result, held) = most(|| read_within(file, ALLOWED));
    assert!(held <= ALLOWED, "reading {} bytes held {held}: {:?}", file.len(), result.err());
    let (network, from) = match result {
        Ok(read) => read,
        Err(why) => return Some(why),
    };
    assert_eq!(network.check(), Ok(()));
    let again = write(&network, &from).expect("what is read is sound");
    assert!(read(&again).expect("what is written is read").0 == network);
    let taps = |(layer, output): (&Synapses, [usize; 3])| {
        let weights: usize = layer.shape.iter().product();
        weights * output[1] * output[2]
    };
    let work: usize = network.layers().map(taps).sum::<usize>() * network.timesteps;
    let places: usize = network.maps.iter().map(|map| map.shape.iter().product::<usize>()).sum();
    if run && work < 300_000 && places * network.timesteps < 100_000 {
        runs_within_what_it_tells(&network);
    }
    None
}

/// Both programs, with as much memory as the network says at most, and the same outcome.
fn runs_within_what_it_tells(network: &Network) {
    let image = vec![0.5; network.image.shape.iter().product()];
    let (wanted, held) = most(|| Reference::new(network).run(&image).expect("an image of its size"));
    let told = Reference::memory(network);
    assert!(held <= told, "the reference held {held} bytes, and told {told}: {network:#?}");
    let kernel = || {
        let prepared = Prepared::new(network);
        prepared.run(&mut prepared.arena(), &image).expect("an image of its size")
    };
    let (got, held) = most(kernel);
    let told = Prepared::memory(network);
    assert!(held <= told, "the kernel held {held} bytes, and told {told}: {network:#?}");
    // NaN logits, of numbers that overflow f32, are equal to nothing.
    if wanted.logits_by_timestep.iter().flatten().all(|logit| !logit.is_nan()) {
        assert_eq!(got, wanted, "{network:#?}");
    }
}

/// `LITESNN_FUZZ=SECONDS` goes on for so long, with files of another kind by turns: with bytes that
/// are changed anywhere, and with other values in a container that is valid.
#[test]
fn a_changed_file_is_refused_or_holds_a_network_that_runs() {
    let seconds: u64 = std::env::var("LITESNN_FUZZ").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let files: Vec<Vec<u8>> =
        all().iter().map(|(_, network)| write(network, &provenance()).expect("they are sound")).collect();
    let parts: Vec<Parts> = files.iter().map(|file| Parts::of(file)).collect();
    let mut random = Random(seconds);
    let (begin, mut count, mut accepted, mut checks) = (Instant::now(), 0u64, 0u64, BTreeSet::new());
    while count < 6000 || begin.elapsed().as_secs() < seconds {
        let place = (count / 2) as usize % files.len();
        let file = match count % 2 {
            0 => mutated(&files[place], &mut random),
            _ => parts[place].mutated(&mut random),
        };
        match held_to_its_word(&file, count % 16 == 1) {
            None => accepted += 1,
            Some(why) => drop(checks.insert(check_of(&why))),
        }
        count += 1;
    }
    #[allow(clippy::print_stdout)] // For who reads the log of a long run.
    {
        println!("{count} files, of which {accepted} hold a network; {} different refusals", checks.len());
    }
    assert!(accepted > 0 && accepted < count, "{accepted} of {count}");
    // Most refusals are those of JSON: what is behind it has to be reached, too.
    let behind = |words: &str| checks.iter().filter(|check| check.starts_with(words)).count();
    assert!(behind("the file holds a network that cannot run") > 20, "{checks:#?}");
    assert!(behind("the file is damaged") > 12, "{checks:#?}");
    assert!(behind("to be read and run, it needs") > 0, "{checks:#?}");
}

/// Networks of every kind hold no more than they tell, and not much less.
#[test]
fn a_run_takes_the_memory_that_is_told() {
    for seed in 0..60 {
        let mut draw = Draw(seed);
        runs_within_what_it_tells(&draw.network(5));
    }
    for (_, network) in all().into_iter().filter(|(name, _)| *name != "medium") {
        runs_within_what_it_tells(&network);
    }
    let network = networks::medium();
    let image = vec![0.5; network.image.shape.iter().product()];
    let prepared = || {
        let prepared = Prepared::new(&network);
        drop(prepared.run(&mut prepared.arena(), &image).expect("an image of its size"));
    };
    let (held, told) = (most(prepared).1, network.memory());
    assert!(held <= told && told <= 3 * held, "{held} bytes were held, and {told} told");
}

/// A small file that claims a large image, many timesteps or wide windows is refused for what a run
/// would allocate, before anything of that size is.
#[test]
fn a_run_that_does_not_fit_is_refused_by_the_reader() {
    let said = |change: &dyn Fn(&mut Network)| {
        let mut network = sample::network();
        change(&mut network);
        let file = write(&network, &provenance()).expect("it is sound");
        let (result, held) = most(|| read(&file));
        assert!(held < 2 << 20, "{held} bytes were held");
        let said = result.map(|_| "a network").unwrap_err().to_string();
        assert!(said.starts_with("to be read and run, it needs"), "{said}");
        assert!(said.ends_with(&format!("and {LIMIT} are allowed")), "{said}");
    };
    // 13 times 1250 pixels between 14 taps: 2^28 pixels drive the sample's stem.
    said(&|network| {
        network.image.shape = [1, 1 << 14, 1 << 14];
        let Made::Spikes { currents, .. } = &mut network.maps[0].made else { panic!("the stem has neurons") };
        let Current::Synapses(stem) = &mut currents[0] else { panic!("the stem has synapses") };
        stem.stride = 1250;
    });
    let more = |network: &mut Network, name: &str, shape, made| {
        network.maps.push(Map { name: name.into(), shape, made });
        network.maps.len() - 1
    };
    // Maps of 60024 channels that nobody reads, which 255 timesteps make large.
    said(&|network| {
        network.timesteps = 255;
        for name in ["more", "yet more", "most"] {
            more(network, name, [60_024, 14, 14], Made::Widened { of: 0, stride: 1, zeros: [0, 60_000] });
        }
    });
    // Sums over windows of 65,000 columns, nearly all of them outside of the map: the kernel would
    // copy the map for each of the columns.
    said(&|network| {
        for width in 65_000..65_014 {
            let window = Window { size: [1, width], stride: [1, 8192], padding: [0, width - 1] };
            let (sums, shape) = (format!("sums{width}"), [24, 14, 8]);
            let of = more(network, &sums, shape, Made::Sums { of: 0, window });
            let Made::Spikes { neuron, .. } = network.maps[0].made else { panic!("the stem has neurons") };
            let current = Current::Scaled { of, divisor: 65e3, scale: vec![], bias: vec![] };
            more(network, &format!("means{width}"), shape, Made::Spikes { neuron, currents: vec![current] });
        }
    });
}
