//! How long the engine takes for an image: the shapes of `lite-snn-medium` (Liu et al., LitE-SNN,
//! IJCAI 2024) on CIFAR-10, with random masks and levels.
//!
//! Prints the tables of docs/engine.md, in Markdown. Every time is the least of several runs on one
//! thread. Masks, levels and images are drawn; neither the counts of kept weights nor the time
//! depends on which are kept.
//!
//!     cargo bench -p litesnn-engine --bench medium            all tables
//!     cargo bench -p litesnn-engine --bench medium -- whole   the first table

use std::io::{Write, stdout};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use litesnn_engine::{
    Current, EarlyExit, Form, Image, Logits, Made, Map, Network, Neuron, Prepared, Processor, Reference, Reset, Source,
    Synapses, Times, Values, Window,
};

/// Level of each cell: a level halves the map and doubles the channels.
const CELLS: [usize; 8] = [0, 0, 1, 1, 1, 2, 2, 2];
/// Bits of each cell's weights.
const BITS: [u32; 8] = [4, 4, 4, 4, 2, 4, 1, 4];
/// The two predecessors of each node: 0 and 1 are the cells before, 2 the first node.
const EDGES: [[usize; 2]; 3] = [[0, 1], [1, 2], [1, 2]];

/// What a network is made with.
#[derive(Clone, Copy)]
struct Shape {
    timesteps: usize,
    /// Channels of a node at level 0.
    channels: usize,
    /// Fraction of weights that are kept.
    kept: f64,
}

const MEDIUM: Shape = Shape { timesteps: 5, channels: 48, kept: 0.2 };

/// Numbers that look drawn (splitmix64), from 0 to 1.
struct Draw(u64);

impl Draw {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A level in half steps, an odd number of a bell curve over four sigma.
    fn level(&mut self, bits: u32) -> i16 {
        let normal = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        let most = (1 << bits) - 1;
        let step = (normal / 2.0 * f64::from(1 << (bits - 1))).floor();
        (2 * step as i32 + 1).clamp(-most, most) as i16
    }

    /// A convolution 3x3. The scale is such that about 13 % of neurons spike.
    fn convolution(&mut self, of: Source, inputs: usize, outputs: usize, bits: u32, kept: f64) -> Synapses {
        let count = outputs * inputs * 9;
        let (values, spread) = match of {
            Source::Image => {
                (Values::Full((0..count).map(|_| (self.unit() - 0.5) as f32).collect()), (27f64 / 12.0).sqrt() / 0.55)
            }
            Source::Map(_) => {
                let mut square = 0.0;
                let mut draw = || if self.unit() < kept { self.level(bits) } else { 0 };
                let levels: Vec<i16> = (0..count).map(|_| draw()).collect();
                levels.iter().for_each(|level| square += f64::from(*level).powi(2));
                (Values::Levels(levels), (square / outputs as f64 * 0.13).sqrt() / 0.35)
            }
        };
        let shape = [outputs, inputs, 3, 3];
        let (scale, bias) = (vec![(1.0 / spread) as f32; outputs], vec![-0.055; outputs]);
        Synapses {
            name: String::from("conv3x3"),
            of,
            shape,
            groups: 1,
            stride: 1,
            padding: 1,
            values,
            bits,
            scale,
            bias,
        }
    }
}

/// The final network of the published design.
fn network(Shape { timesteps, channels, kept }: Shape) -> Network {
    let mut draw = Draw(1);
    let neuron = Neuron { decay: 0.2, threshold: 0.5, reset: Reset::Hard, gain: None };
    let mut maps: Vec<Map> = Vec::new();
    let push = |maps: &mut Vec<Map>, shape: [usize; 3], made: Made| {
        maps.push(Map { name: format!("map{}", maps.len()), shape, made });
        maps.len() - 1
    };
    let spikes = |currents: Vec<Current>| Made::Spikes { neuron, currents };
    let stem = draw.convolution(Source::Image, 3, 3 * channels, 32, 1.0);
    let stem = push(&mut maps, [3 * channels, 32, 32], spikes(vec![Current::Synapses(stem)]));
    let mut before = [stem, stem];
    for (level, bits) in CELLS.into_iter().zip(BITS) {
        let (width, side) = (channels << level, 32 >> level);
        let mut read = before.map(|of| match maps[of].shape {
            [_, height, _] if height == side => of,
            [channels, ..] => push(&mut maps, [channels, side, side], Made::Resized(of)),
        });
        if before[0] == before[1] {
            read = [read[0]; 2];
        }
        let mut nodes: Vec<usize> = Vec::new();
        for edges in EDGES {
            let mut current = |from: usize| {
                let of = if from < 2 { read[from] } else { nodes[from - 2] };
                Current::Synapses(draw.convolution(Source::Map(of), maps[of].shape[0], width, bits, kept))
            };
            let currents = vec![current(edges[0]), current(edges[1])];
            nodes.push(push(&mut maps, [width, side, side], spikes(currents)));
        }
        before = [before[1], push(&mut maps, [3 * width, side, side], Made::SideBySide(nodes))];
    }
    let [features, side, _] = maps[before[1]].shape;
    let window = Window { size: [side; 2], stride: [1; 2], padding: [0; 2] };
    let sums = push(&mut maps, [features, 1, 1], Made::Sums { of: before[1], window });
    let divisor = (side * side) as f32;
    let mean = Current::Scaled { of: sums, divisor, scale: vec![], bias: vec![] };
    let pooled = push(&mut maps, [features, 1, 1], spikes(vec![mean]));
    let weights = (0..10 * features).map(|_| (draw.unit() - 0.5) as f32).collect();
    let synapses = Synapses {
        name: String::from("classifier"),
        of: Source::Map(pooled),
        shape: [10, features, 1, 1],
        groups: 1,
        stride: 1,
        padding: 0,
        values: Values::Full(weights),
        bits: 32,
        scale: vec![1.0; 10],
        bias: vec![0.0; 10],
    };
    Network {
        image: Image { shape: [3, 32, 32], mean: vec![0.5; 3], std: vec![0.25; 3] },
        classes: (0..10).map(|class| format!("{class}")).collect(),
        timesteps,
        maps,
        logits: Logits { synapses, neuron: None, votes: 1 },
        exit: None,
    }
}

fn image(seed: u64) -> Vec<f32> {
    let mut draw = Draw(seed);
    (0..3 * 32 * 32).map(|_| draw.unit() as f32).collect()
}

/// The least time of some runs: at least three, and as many as fit into half a second.
fn least(mut run: impl FnMut()) -> Duration {
    let (begin, mut least, mut runs) = (Instant::now(), Duration::MAX, 0);
    while runs < 3 || begin.elapsed() < Duration::from_millis(500) {
        let before = Instant::now();
        run();
        least = least.min(before.elapsed());
        runs += 1;
    }
    least
}

fn milliseconds(prepared: &Prepared) -> f64 {
    let (mut arena, image) = (prepared.arena(), image(7));
    least(|| drop(prepared.run(&mut arena, &image).expect("an image of the right size"))).as_secs_f64() * 1e3
}

/// Nanoseconds since the first call.
fn now() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn processors() -> Vec<(&'static str, Processor)> {
    let all = [
        #[cfg(target_arch = "x86_64")]
        ("AVX-512", Processor::Avx512),
        #[cfg(target_arch = "x86_64")]
        ("AVX2", Processor::Avx2),
        ("baseline", Processor::Baseline),
    ];
    all.into_iter().filter(|(_, processor)| processor.is_here()).collect()
}

fn main() -> std::io::Result<()> {
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let asked = |table: &str| only.is_empty() || only.iter().any(|only| only == table);
    let medium = network(MEDIUM);
    let mut out = stdout();
    if asked("whole") {
        whole(&mut out, &medium)?;
    }
    if asked("parts") {
        parts(&mut out, &medium)?;
    }
    if asked("exit") {
        exit(&mut out, &medium)?;
    }
    if asked("events") {
        events(&mut out)?;
    }
    if asked("growth") {
        growth(&mut out)?;
    }
    if asked("memory") {
        memory(&mut out, &medium)?;
    }
    Ok(())
}

/// Milliseconds an image, for each processor, and what an image is.
fn whole(out: &mut impl Write, medium: &Network) -> std::io::Result<()> {
    writeln!(out, "| instructions | ms an image |\n|---|---|")?;
    for (name, processor) in processors() {
        let prepared = Prepared::new(medium).with_processor(processor);
        writeln!(out, "| {name} | {:.1} |", milliseconds(&prepared))?;
    }
    let prepared = Prepared::new(medium);
    let outcome = prepared.run(&mut prepared.arena(), &image(7)).expect("an image of the right size");
    let before = Instant::now();
    let reference = Reference::new(medium).run(&image(7)).expect("an image of the right size");
    writeln!(out, "| the reference's loops | {:.0} |\n", before.elapsed().as_secs_f64() * 1e3)?;
    assert_eq!(outcome, reference, "the kernel and the reference differ");
    let neurons = medium.maps.iter().filter(|map| matches!(map.made, Made::Spikes { .. })).zip(&outcome.spikes);
    let places: usize = neurons.map(|(map, _)| map.shape.iter().product::<usize>()).sum();
    let fired = medium.maps.iter().zip(&outcome.spikes).filter(|(map, _)| matches!(map.made, Made::Spikes { .. }));
    let fired: u64 = fired.map(|(_, spikes)| spikes).sum();
    let rate = 100.0 * fired as f64 / (places * medium.timesteps) as f64;
    let operations = outcome.operations();
    writeln!(
        out,
        "{places} neurons, {rate:.1} % spikes a timestep, {:.1} M additions, {:.1} M multiplications\n",
        operations.additions as f64 / 1e6,
        operations.multiplications as f64 / 1e6
    )
}

/// Where the time goes.
fn parts(out: &mut impl Write, medium: &Network) -> std::io::Result<()> {
    writeln!(out, "| instructions | counting | currents | neurons | image | maps | loops | counts |")?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    for (name, processor) in processors() {
        let prepared = Prepared::new(medium).with_processor(processor);
        let (mut arena, image) = (prepared.arena(), image(7));
        let mut best: Option<Times> = None;
        least(|| {
            let (_, times) = prepared.run_timed(&mut arena, &image, now).expect("an image of the right size");
            if best.as_ref().is_none_or(|best| times.total() < best.total()) {
                best = Some(times);
            }
        });
        let Times { layers, scaled, neurons, maps, counts } = best.expect("it ran");
        let layers = || layers.iter().zip(prepared.forms());
        let sums = |forms: &[Form]| -> u64 {
            layers().filter(|(_, form)| forms.contains(form)).map(|(time, _)| time.sums).sum()
        };
        let currents: u64 = layers().map(|(time, _)| time.currents).sum();
        let (counting, image) = (sums(&[Form::ByMagnitude, Form::ByBit]), sums(&[Form::Image]));
        let loops = sums(&[Form::Loops]) + scaled;
        let all =
            [counting, currents, neurons, image, maps, loops, counts].map(|time| format!("{:.2}", time as f64 / 1e6));
        writeln!(out, "| {name} | {} |", all.join(" | "))?;
    }
    writeln!(out)
}

/// Milliseconds of an image that exits after each number of timesteps, for groups of each size. The
/// weights of the logits count nothing, and a neuron in their place says a class for the first time
/// at the timestep that is wanted: its potential grows by 1 at each.
fn exit(out: &mut impl Write, medium: &Network) -> std::io::Result<()> {
    let timesteps = medium.timesteps;
    let sure_after = |count: usize| {
        let mut network = Network { exit: Some(EarlyExit::Confidence(0.1001)), ..medium.clone() };
        let synapses = &mut network.logits.synapses;
        synapses.scale.fill(0.0);
        synapses.bias[0] = 1.0;
        let threshold = count as f32 - 0.5;
        network.logits.neuron = Some(Neuron { decay: 1.0, threshold, reset: Reset::Hard, gain: None });
        network
    };
    let heads: Vec<String> = (1..=timesteps).map(|count| format!("sure after {count}")).collect();
    writeln!(out, "| timesteps in a group | {} |\n|---|{}", heads.join(" | "), "---|".repeat(timesteps))?;
    for group in 1..=timesteps {
        let of = |count: usize| {
            let (network, image) = (sure_after(count), image(7));
            let prepared = Prepared::in_groups(&network, group);
            let mut arena = prepared.arena();
            let time = least(|| {
                let outcome = prepared.run(&mut arena, &image).expect("an image of the right size");
                assert_eq!(outcome.timesteps, count, "the image exits when it is sure");
            });
            format!("{:.1}", time.as_secs_f64() * 1e3)
        };
        let row: Vec<String> = (1..=timesteps).map(of).collect();
        writeln!(out, "| {group} | {} |", row.join(" | "))?;
    }
    writeln!(out)
}

/// A layer of level 1 at several firing rates: its counting by the kernel, and a loop over its
/// spikes. For each spike and tap, the loop adds the levels of all outputs, side by side in i16, to
/// the sums of a pixel, `[T, H, W, O]`. Lists of spikes are there before.
fn events(out: &mut impl Write) -> std::io::Result<()> {
    const SIDE: usize = 16;
    let (inputs, outputs, timesteps) = (288, 96, MEDIUM.timesteps);
    writeln!(out, "| firing rate | counting, ms | events, ms | events, zeros left out, ms |\n|---|---|---|---|")?;
    for rate in [0.01, 0.02, 0.05, 0.1, 0.2, 0.3] {
        let mut draw = Draw(3);
        let layer = draw.convolution(Source::Map(0), inputs, outputs, 4, MEDIUM.kept);
        let Values::Levels(levels) = &layer.values else { unreachable!("its weights have levels") };
        let spikes: Vec<bool> = (0..timesteps * inputs * SIDE * SIDE).map(|_| draw.unit() < rate).collect();
        // Of each input and tap, the levels of all outputs, and those of the kept weights alone.
        let level = |from: usize, tap: usize, to: usize| levels[(to * inputs + from) * 9 + tap];
        let all = (0..inputs * 9).map(|place| (0..outputs).map(|to| level(place / 9, place % 9, to)).collect());
        let dense: Vec<Vec<i16>> = all.collect();
        let kept = |row: &Vec<i16>| {
            let kept = row.iter().enumerate().filter(|(_, level)| **level != 0);
            kept.map(|(to, level)| (to as u16, *level)).collect()
        };
        let sparse: Vec<Vec<(u16, i16)>> = dense.iter().map(kept).collect();
        // Place of the spike's input and tap, and of the sums that it reaches.
        let mut reached: Vec<(u32, u32)> = Vec::new();
        for place in (0..spikes.len()).filter(|place| spikes[*place]) {
            let (t, from) = (place / (inputs * SIDE * SIDE), place / (SIDE * SIDE) % inputs);
            for tap in 0..9 {
                let y = (place / SIDE % SIDE + 1).wrapping_sub(tap / 3);
                let x = (place % SIDE + 1).wrapping_sub(tap % 3);
                if y < SIDE && x < SIDE {
                    reached.push(((from * 9 + tap) as u32, (((t * SIDE + y) * SIDE + x) * outputs) as u32));
                }
            }
        }
        let mut sums = vec![0i16; timesteps * SIDE * SIDE * outputs];
        let by_rows = least(|| {
            sums.fill(0);
            add_rows(&reached, &dense, &mut sums);
        });
        let wanted = sums.clone();
        let by_weights = least(|| {
            sums.fill(0);
            for (row, at) in &reached {
                let sums = &mut sums[*at as usize..][..outputs];
                sparse[*row as usize].iter().for_each(|(to, level)| sums[usize::from(*to)] += level);
            }
        });
        assert_eq!(sums, wanted, "both loops count the same");
        let counting = counting(layer, &mut draw);
        let milliseconds = [counting, by_rows, by_weights].map(|time| format!("{:.2}", time.as_secs_f64() * 1e3));
        writeln!(out, "| {:.0} % | {} |", 100.0 * rate, milliseconds.join(" | "))?;
    }
    writeln!(out)
}

/// The time that the kernel counts for a layer on a map of 16x16.
fn counting(layer: Synapses, draw: &mut Draw) -> Duration {
    let [outputs, inputs, ..] = layer.shape;
    let stem = Synapses { name: "stem".into(), ..draw.convolution(Source::Image, 3, inputs, 32, 1.0) };
    let neuron = Neuron { decay: 0.2, threshold: 0.5, reset: Reset::Hard, gain: None };
    let spikes = |name: &str, channels: usize, layer: Synapses| {
        let made = Made::Spikes { neuron, currents: vec![Current::Synapses(layer)] };
        Map { name: name.into(), shape: [channels, 16, 16], made }
    };
    let flat = Map { name: "flat".into(), shape: [outputs * 256, 1, 1], made: Made::Flat(1) };
    let weights = Values::Levels(vec![0; outputs * 256]);
    let shape = [1, outputs * 256, 1, 1];
    let head =
        Synapses { name: "head".into(), of: Source::Map(2), shape, padding: 0, values: weights, ..layer.clone() };
    let head = Synapses { scale: vec![], bias: vec![], ..head };
    let network = Network {
        image: Image { shape: [3, 16, 16], mean: vec![0.5; 3], std: vec![0.25; 3] },
        classes: vec!["one".into()],
        timesteps: MEDIUM.timesteps,
        maps: vec![spikes("stem", inputs, stem), spikes("layer", outputs, layer), flat],
        logits: Logits { synapses: head, neuron: None, votes: 1 },
        exit: None,
    };
    network.check().expect("it is sound");
    let prepared = Prepared::new(&network);
    let (mut arena, image) = (prepared.arena(), image(7)[..3 * 256].to_vec());
    let mut best = u64::MAX;
    least(|| {
        let (_, times) = prepared.run_timed(&mut arena, &image, now).expect("an image of the right size");
        best = best.min(times.layers[1].sums);
    });
    Duration::from_nanos(best)
}

/// Adds rows of levels to sums, by the widest instructions that the kernel has, too.
fn add_rows(reached: &[(u32, u32)], rows: &[Vec<i16>], sums: &mut [i16]) {
    #[inline(always)]
    fn add(reached: &[(u32, u32)], rows: &[Vec<i16>], sums: &mut [i16]) {
        for (row, at) in reached {
            let row = &rows[*row as usize];
            sums[*at as usize..][..row.len()].iter_mut().zip(row).for_each(|(sum, level)| *sum += level);
        }
    }
    #[cfg(target_arch = "x86_64")]
    if Processor::Avx512.is_here() {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        unsafe fn wide(reached: &[(u32, u32)], rows: &[Vec<i16>], sums: &mut [i16]) {
            add(reached, rows, sums);
        }
        // SAFETY: the processor has these instructions.
        return unsafe { wide(reached, rows, sums) };
    }
    add(reached, rows, sums);
}

/// Milliseconds an image, with one thing changed.
fn growth(out: &mut impl Write) -> std::io::Result<()> {
    let of = |shape: Shape| milliseconds(&Prepared::new(&network(shape)));
    writeln!(out, "| changed | ms an image |\n|---|---|")?;
    let mut row = |name: &str, values: Vec<(String, f64)>| {
        let all: Vec<String> = values.iter().map(|(value, time)| format!("{value}: {time:.1}")).collect();
        writeln!(out, "| {name} | {} |", all.join(", "))
    };
    row(
        "T",
        [1, 2, 4, 5, 6, 8, 10].map(|timesteps| (timesteps.to_string(), of(Shape { timesteps, ..MEDIUM }))).into(),
    )?;
    row("channels", [12, 24, 48, 72].map(|channels| (channels.to_string(), of(Shape { channels, ..MEDIUM }))).into())?;
    row("kept", [0.05, 0.1, 0.2, 0.5, 1.0].map(|kept| (kept.to_string(), of(Shape { kept, ..MEDIUM }))).into())?;
    let medium = network(MEDIUM);
    let prepared = Prepared::new(&medium);
    let (mut arena, images) = (prepared.arena(), [1, 2, 3, 4, 5, 6, 7, 8].map(image));
    let mut batch = |count: usize| {
        let run = || images[..count].iter().for_each(|image| drop(prepared.run(&mut arena, image)));
        (count.to_string(), least(run).as_secs_f64() * 1e3 / count as f64)
    };
    row("images after one another, each", [1, 2, 4, 8].map(&mut batch).into())?;
    let threads =
        [1, 2, 4].map(|threads| (threads.to_string(), milliseconds(&Prepared::new(&medium).with_threads(threads))));
    row("threads", threads.into())?;
    writeln!(out)
}

/// Bytes, and the time to prepare.
fn memory(out: &mut impl Write, medium: &Network) -> std::io::Result<()> {
    let time = least(|| drop(Prepared::new(medium)));
    let prepared = Prepared::new(medium);
    let mut arena = prepared.arena();
    prepared.run(&mut arena, &image(7)).expect("an image of the right size");
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    writeln!(out, "| lists of weights, MB | an arena, MB | to prepare, ms |\n|---|---|---|")?;
    let (lists, arena) = (megabytes(prepared.bytes()), megabytes(arena.bytes()));
    writeln!(out, "| {lists:.1} | {arena:.1} | {:.0} |", time.as_secs_f64() * 1e3)
}
