//! Files and settings that are wrong, by chance and by malice: none ends in a panic or takes memory
//! without bound, and every error says which file it is about.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use litesnn_framework::data::{DataStore, Dataset};
use litesnn_framework::manifest::{self, Request};
use litesnn_framework::network::Design;
use litesnn_framework::record::{self, EpochRow, Outcome};
use litesnn_framework::train::Checkpoint;
use litesnn_framework::{Error, Result};
use litesnn_plugins as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use crate::support::{manifest as test_manifest, root};
use crate::tally::{INPUTS, count};
use crate::trials::{folder, stopped, undisturbed};

/// The system's memory, with the largest piece that anyone asked for.
pub struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);
/// No input of these tests has a megabyte.
const BOUND: usize = 256 << 20;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Tries `cases` (ten times as many in the full form) of a strategy.
fn try_all<S: Strategy>(kind: &str, cases: u32, strategy: S, check: impl Fn(S::Value))
where
    S::Value: Clone,
{
    let cases = if crate::full() { 10 * cases } else { cases };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let outcome = TestRunner::new_with_rng(config, random).run(&strategy, |input| {
        check(input);
        let largest = LARGEST.load(Ordering::Relaxed);
        prop_assert!(largest < BOUND, "a piece of {} bytes was asked for", largest);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{kind}: {error}"));
    count(INPUTS, kind, u64::from(cases));
}

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    /// A number in a header: 2^60, -1, 0 and their like.
    Number(usize, u64, bool),
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Change> {
        let place = any::<usize>();
        let number = prop_oneof![
            Just(0u64),
            Just(u64::MAX),
            Just(1 << 60),
            Just(1 << 31),
            Just(u64::from(u32::MAX)),
            any::<u64>()
        ];
        prop_oneof![
            (place, 1u8..).prop_map(|(at, bits)| Change::Flip(at, bits)),
            (place, number, any::<bool>()).prop_map(|(at, number, long)| Change::Number(at, number, long)),
            place.prop_map(Change::Cut),
            (place, 1usize..40).prop_map(|(at, length)| Change::Remove(at, length)),
            (place, proptest::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
            (place, 1usize..200).prop_map(|(at, length)| Change::Repeat(at, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let within = |at: usize| if length == 0 { 0 } else { at % length };
        match self {
            Change::Flip(at, bits) if length > 0 => bytes[within(*at)] ^= bits,
            Change::Number(at, number, long) => {
                let number = number.to_be_bytes();
                let number = if *long { &number[..] } else { &number[4..] };
                let start = within(*at);
                let end = (start + number.len()).min(length);
                bytes[start..end].copy_from_slice(&number[..end - start]);
            }
            Change::Cut(at) => bytes.truncate(within(*at)),
            Change::Remove(at, count) => {
                let start = within(*at);
                bytes.drain(start..(start + count).min(length));
            }
            Change::Insert(at, more) => {
                let start = within(*at);
                bytes.splice(start..start, more.iter().copied());
            }
            Change::Repeat(at, count) => {
                let start = within(*at);
                let piece = bytes[start..(start + count).min(length)].to_vec();
                bytes.splice(start..start, piece);
            }
            Change::Flip(..) => {}
        }
    }
}

/// A whole file with one to four changes; `head` of it is changed more often than the rest.
fn changed(whole: Vec<u8>, head: usize) -> impl Strategy<Value = Vec<u8>> {
    (proptest::collection::vec(Change::any(), 1..5), any::<bool>()).prop_map(move |(changes, in_head)| {
        let head = if in_head { head.min(whole.len()) } else { whole.len() };
        let mut bytes = whole[..head].to_vec();
        changes.iter().for_each(|change| change.apply(&mut bytes));
        bytes.extend_from_slice(&whole[head..]);
        bytes
    })
}

/// An error says which file it is about, in words.
fn names<T>(outcome: Result<T>, file: &str) {
    if let Err(error) = outcome {
        let text = match &error {
            Error::Manifest(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            other => other.to_string(),
        };
        assert!(text.contains(file), "`{file}` is not in: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

pub fn manifests() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("bad.toml");
    let load = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        names(manifest::load(&Request { manifest: path.clone(), ..Request::default() }), "bad.toml");
    };
    let tiny = fs::read(test_manifest("tiny.toml")).unwrap();
    try_all("manifest, bytes changed", 300, changed(tiny.clone(), 200), |bytes| load(&bytes));
    // Tokens of the format in another order.
    let tokens: Vec<String> =
        String::from_utf8(tiny).unwrap().split_inclusive(['\n', ' ', '=', '"']).map(str::to_owned).collect();
    let count = tokens.len();
    let shuffled = proptest::collection::vec(0..count, 1..60)
        .prop_map(move |order| order.into_iter().map(|index| tokens[index].as_str()).collect::<String>());
    try_all("manifest, tokens shuffled", 200, shuffled, |text| load(text.as_bytes()));
    let deep = [("[", "]"), ("{a=", "}")]
        .map(|(open, close)| format!("a = {}{}", open.repeat(100_000), close.repeat(100_000)));
    let long = ["a.".repeat(50_000) + "b = 1", format!("[sweep]\n{}", "\"search.epochs\" = [1, 2]\n".repeat(500))];
    let tiny = fs::read_to_string(test_manifest("tiny.toml")).unwrap();
    let axes = ["search.epochs", "search.batch_size", "retrain.epochs", "retrain.batch_size", "experiment.seeds"];
    let values = format!("{:?}", (1..100).collect::<Vec<_>>());
    let axes: String = axes.iter().map(|axis| format!("\"{axis}\" = {values}\n")).collect();
    let extends = ["/dev/null", "../../../../etc/passwd", "bad.toml", "/", "missing.toml"]
        .map(|file| format!("extends = \"{file}\"\n"));
    let names = ["../../escaped", "a/b", "", "..", &"x".repeat(5000), "a\\u0000b"]
        .map(|name| tiny.replacen("\"tiny\"", &format!("\"{name}\""), 1));
    let more = [
        format!("{tiny}[sweep]\n{axes}"),
        tiny.replacen("seeds = [0]", "seeds = [18446744073709551615, -1]", 1),
        String::new(),
    ];
    let all: Vec<String> = deep.into_iter().chain(long).chain(extends).chain(names).chain(more).collect();
    for text in &all {
        fs::write(&path, text).unwrap();
        // A stack that overflows cannot be caught: it would end this program.
        let outcome = manifest::load(&Request { manifest: path.clone(), ..Request::default() });
        assert!(outcome.is_err(), "{}", text.chars().take(200).collect::<String>());
    }
    crate::tally::count(
        INPUTS,
        "manifest, made by hand: depth, circles, paths with `..`, millions of trials",
        all.len() as u64,
    );
}

pub fn settings() {
    let key =
        "(search|retrain|checkpoint|compressor|dataset|space|[a-z_]{0,6})(\\.|__|=|\\[|\"|)[a-zA-Z_.\\-0-9]{0,20}";
    let value = prop_oneof![
        "[0-9.eE+\\-]{0,20}",
        "\\PC{0,40}",
        "[\\[\\]{}\"'=,a-z0-9]{0,30}",
        Just("[".repeat(5000)),
        Just("1e999".to_owned()),
        Just("9223372036854775808".to_owned()),
    ];
    let load = |set: Vec<String>, environment: Vec<(String, String)>| {
        let outcome =
            manifest::load(&Request { manifest: test_manifest("tiny.toml"), set, environment, ..Request::default() });
        if let Err(error) = outcome {
            assert!(matches!(error, Error::Manifest(_)), "{error}");
        }
    };
    try_all("setting of the command line", 200, (key, value.clone()), |(key, value)| {
        load(vec![format!("{key}={value}")], Vec::new())
    });
    let name = "[A-Z_]{0,20}|SEARCH__EPOCHS|SPACE__SPIKE_DHS__CELLS|COMPRESSOR__SCORE_PRUNE__RATE";
    try_all("setting of the environment", 200, (name, value), |(name, value)| {
        load(Vec::new(), vec![(format!("LITESNN_{name}"), value)])
    });
}

pub fn designs() {
    let whole = undisturbed(&crate::trials::SHORT).end["design"].clone().into_bytes();
    try_all("design", 400, changed(whole, 200), |bytes| {
        names(Design::parse(&String::from_utf8_lossy(&bytes), Path::new("bad.toml")), "bad.toml")
    });
}

pub fn checkpoints() {
    let runs = stopped();
    let path = folder(runs.path()).join("checkpoint/latest.safetensors");
    let whole = fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let outcome = Checkpoint::read(&path);
        assert!(outcome.is_err() || bytes == whole, "a checkpoint that was changed is taken");
        names(outcome, "latest.safetensors");
    };
    try_all("checkpoint", 300, changed(whole.clone(), 3000), |bytes| read(&bytes));
    let header = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 8]].concat();
    let made = [
        header(r#"{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,8]}}"#),
        header(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#),
        header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#),
        header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#),
        header(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        (1u64 << 60).to_le_bytes().to_vec(),
        Vec::new(),
    ];
    made.iter().for_each(|bytes| read(bytes));
    count(INPUTS, "checkpoint, made by hand: sizes of 2^60, depth, empty", made.len() as u64);
}

pub fn tables() {
    let runs = stopped();
    let path = folder(runs.path()).join("history.parquet");
    let whole = fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let outcome = record::read::<EpochRow>(&path);
        assert!(outcome.is_err() || bytes == whole, "a table that was changed is taken");
        names(outcome, "history.parquet");
    };
    try_all("table", 200, changed(whole.clone(), 300), |bytes| read(&bytes));
    // Without a digest the library itself has to stand it: a table of an older program, or of
    // another one.
    let key = whole.windows(14).rposition(|window| window == b"litesnn-blake3").expect("the file has a digest");
    let mut foreign = whole.clone();
    foreign[key] = b'L';
    let end = foreign.len() - 2000;
    let changed_end =
        changed(foreign[end..].to_vec(), usize::MAX).prop_map(move |tail| [&foreign[..end], &tail].concat());
    try_all("table without a digest", 200, changed_end, |bytes| {
        fs::write(&path, &bytes).unwrap();
        names(record::read::<EpochRow>(&path), "history.parquet");
    });
    fs::write(&path, &whole).unwrap();
    names(record::read::<Outcome>(&path), "history.parquet");
    assert!(record::read::<Outcome>(&path).is_err(), "a table of another kind is taken");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    names(record::read::<EpochRow>(&path), "history.parquet");
    count(INPUTS, "table, made by hand: of another kind, of a terabyte", 2);
}

fn open(settings: serde_json::Value) -> Result<()> {
    let dataset: Box<dyn Dataset> = serde_json::from_value(settings).unwrap();
    dataset.open(&DataStore::new(Vec::new())).map(|_| ())
}

/// Folders of images in their official forms, and the file of each that is changed.
pub fn images() {
    let place = tempfile::tempdir().unwrap();
    let mnist = place.path().join("mnist");
    fs::create_dir(&mnist).unwrap();
    for (name, count) in [("train", 20u32), ("t10k", 10)] {
        let labels: Vec<u8> = (0..count).map(|index| (index % 10) as u8).collect();
        let idx = |kind: u8, sizes: &[u32], content: &[u8]| -> Vec<u8> {
            let header = [0, 0, 8, kind].into_iter().chain(sizes.iter().flat_map(|size| size.to_be_bytes()));
            header.chain(content.iter().copied()).collect()
        };
        fs::write(
            mnist.join(format!("{name}-images-idx3-ubyte")),
            idx(3, &[count, 28, 28], &vec![7; count as usize * 784]),
        )
        .unwrap();
        fs::write(mnist.join(format!("{name}-labels-idx1-ubyte")), idx(1, &[count], &labels)).unwrap();
    }
    let ten = place.path().join("cifar-10-batches-bin");
    fs::create_dir(&ten).unwrap();
    let record = |labels: &[u8]| -> Vec<u8> { labels.iter().copied().chain(std::iter::repeat_n(9, 3072)).collect() };
    let records: Vec<u8> = (0..10).flat_map(|label| record(&[label])).collect();
    for number in 1..=5 {
        fs::write(ten.join(format!("data_batch_{number}.bin")), &records).unwrap();
    }
    fs::write(ten.join("test_batch.bin"), &records).unwrap();
    fs::write(ten.join("batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n").unwrap();
    let hundred = place.path().join("cifar-100-binary");
    fs::create_dir(&hundred).unwrap();
    let records: Vec<u8> = (0..100).flat_map(|label| record(&[label / 5, label])).collect();
    for name in ["train.bin", "test.bin"] {
        fs::write(hundred.join(name), &records).unwrap();
    }
    let list = |count: usize| (0..count).map(|index| format!("class {index}\n")).collect::<String>();
    fs::write(hundred.join("fine_label_names.txt"), list(100)).unwrap();
    fs::write(hundred.join("coarse_label_names.txt"), list(20)).unwrap();

    let files = [
        ("fashion-mnist", &mnist, "train-images-idx3-ubyte", 200),
        ("fashion-mnist", &mnist, "t10k-labels-idx1-ubyte", 100),
        ("cifar10", &ten, "data_batch_3.bin", 100),
        ("cifar10", &ten, "batches.meta.txt", 50),
        ("cifar100", &hundred, "test.bin", 50),
    ];
    for (name, root, file, cases) in files {
        let settings = json!({ name: { "root": root } });
        open(settings.clone()).unwrap();
        let path = root.join(file);
        let whole = fs::read(&path).unwrap();
        try_all(&format!("{name}, {file}"), cases, changed(whole.clone(), 20), |bytes| {
            fs::write(&path, bytes).unwrap();
            names(open(settings.clone()), file);
        });
        // Larger than any memory, and empty.
        for size in [0, 3073 << 30] {
            fs::File::create(&path).unwrap().set_len(size).unwrap();
            assert!(open(settings.clone()).is_err() || file.starts_with("train-images"), "{file} of {size} bytes");
            names(open(settings.clone()), file);
            count(INPUTS, format!("{name}, empty and of terabytes"), 1);
        }
        fs::write(&path, whole).unwrap();
    }
    let path = mnist.join("train-images-idx3-ubyte");
    let whole = fs::read(&path).unwrap();
    for promised in [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0; 4]] {
        fs::write(&path, [&whole[..4], &promised, &whole[8..]].concat()).unwrap();
        let error = open(json!({ "fashion-mnist": { "root": mnist } })).unwrap_err().to_string();
        assert!(error.contains("promises"), "{error}");
        count(INPUTS, "fashion-mnist, header that promises what no file has", 1);
    }
}

/// A recording as the official set has it, with what its header says of rate, channels and bits.
fn wave(rate: u32, channels: u16, bits: u16, samples: u32, promised: u32) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(promised.saturating_add(36).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(u32::from(frame)).to_le_bytes());
    bytes.extend(frame.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(promised.to_le_bytes());
    bytes.extend((0..samples * u32::from(frame)).map(|index| index as u8));
    bytes
}

pub fn sounds() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let right = wave(16_000, 1, 16, 400, 800);
    for word in ["yes", "no", "cat"] {
        fs::create_dir(root.join(word)).unwrap();
        for index in 0..6 {
            fs::write(root.join(word).join(format!("{index}.wav")), &right).unwrap();
        }
    }
    fs::create_dir(root.join("_background_noise_")).unwrap();
    fs::write(root.join("_background_noise_/a.wav"), wave(16_000, 1, 16, 16_000, 32_000)).unwrap();
    fs::write(root.join("testing_list.txt"), "yes/0.wav\nno/0.wav\ncat/0.wav\n").unwrap();
    fs::write(root.join("validation_list.txt"), "yes/1.wav\nno/1.wav\ncat/1.wav\n").unwrap();
    let settings = json!({ "speech-commands": { "root": root, "words": ["yes", "no"] } });
    open(settings.clone()).unwrap();
    let path = root.join("yes/0.wav");
    try_all("speech-commands, recording", 60, changed(right.clone(), 44), |bytes| {
        fs::write(&path, bytes).unwrap();
        names(open(settings.clone()), "yes/0.wav");
    });
    let made = [
        wave(8_000, 1, 16, 400, 800),
        wave(44_100, 1, 16, 400, 800),
        wave(16_000, 2, 16, 400, 1600),
        wave(16_000, 1, 8, 400, 400),
        wave(0, 0, 0, 400, 800),
        wave(16_000, 1, 16, 0, 0),
        wave(16_000, 1, 16, 10, u32::MAX - 1),
        Vec::new(),
    ];
    for bytes in &made {
        fs::write(&path, bytes).unwrap();
        let outcome = open(settings.clone());
        assert!(outcome.is_err(), "{:?}", &bytes[..bytes.len().min(44)]);
        names(outcome, "yes/0.wav");
    }
    count(INPUTS, "speech-commands, other rates, channels, bits, no sound, 2^32 samples", made.len() as u64);
    fs::write(&path, &right).unwrap();
    // What a list leaves out may be said of the data set as a whole.
    let list = root.join("testing_list.txt");
    let whole = fs::read(&list).unwrap();
    try_all("speech-commands, list", 40, changed(whole, 1000), |bytes| {
        fs::write(&list, bytes).unwrap();
        let outcome = open(settings.clone());
        let of_the_set = |error: &Error| error.to_string().contains("dataset `speech-commands`");
        if !outcome.as_ref().is_err_and(of_the_set) {
            names(outcome, "_list.txt");
        }
    });
}

/// Links in a circle, to folders and to nowhere, folders where files belong.
pub fn links() {
    let place = tempfile::tempdir().unwrap();
    let here = |name: &str| place.path().join(name);
    symlink("circle.toml", here("circle.toml")).unwrap();
    symlink("/nowhere/at/all", here("nowhere.toml")).unwrap();
    symlink("/", here("folder.toml")).unwrap();
    symlink("/dev/null", here("null.toml")).unwrap();
    symlink("/dev/zero", here("endless.toml")).unwrap();
    fs::create_dir(here("real-folder.toml")).unwrap();
    for name in ["circle.toml", "nowhere.toml", "folder.toml", "null.toml", "real-folder.toml", "endless.toml"] {
        let path = here(name);
        let outcome = manifest::load(&Request { manifest: path.clone(), ..Request::default() });
        assert!(outcome.is_err(), "{name}");
        names(outcome, name);
        for outcome in [
            Design::read(&path).map(|_| ()),
            Checkpoint::read(&path).map(|_| ()),
            record::read::<EpochRow>(&path).map(|_| ()),
        ] {
            assert!(outcome.is_err(), "{name}");
            names(outcome, name);
        }
        count(INPUTS, "links in a circle, to nowhere, to folders and devices, read as four kinds of file", 4);
    }
    // A folder of data may be a link, and its files too.
    let bundled = root().join("experiments/data/fashion-mnist");
    symlink(&bundled, here("linked")).unwrap();
    open(json!({ "fashion-mnist": { "root": here("linked") } })).unwrap();
    let copy = here("data");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&bundled).unwrap() {
        let entry = entry.unwrap();
        symlink(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    open(json!({ "fashion-mnist": { "root": copy } })).unwrap();
    fs::remove_file(copy.join("train-images-idx3-ubyte.gz")).unwrap();
    symlink("train-images-idx3-ubyte.gz", copy.join("train-images-idx3-ubyte.gz")).unwrap();
    names(open(json!({ "fashion-mnist": { "root": copy } })), "train-images-idx3-ubyte");
    assert!(open(json!({ "fashion-mnist": { "root": copy } })).is_err());
    count(INPUTS, "links in folders of data", 3);
}
