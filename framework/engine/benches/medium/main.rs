//! How long the engine takes for an image: the shapes of `lite-snn-medium` on CIFAR-10, with random
//! masks and levels (`network.rs`).
//!
//! Prints the tables of docs/engine.md, in Markdown. Every time is the least of several runs on one
//! thread.
//!
//!     cargo bench -p litesnn-engine --bench medium                         all tables
//!     cargo bench -p litesnn-engine --bench medium -- whole                the first table
//!     cargo bench -p litesnn-engine --bench medium -- growth --figure FILE its figure, too (SVG)
//!
//! `framework/benches/peers/run.sh engine` times the same network beside other programs.

mod events;
mod figure;
mod growth;
mod network;

use std::io::{self, Stdout, Write, stdout};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use litesnn_engine::{EarlyExit, Form, Made, Network, Neuron, Prepared, Processor, Reference, Reset, Times};

use network::{MEDIUM, image, network};

/// The least time of some runs: at least three, and as many as fit into half a second.
fn least(run: impl FnMut()) -> Duration {
    least_within(Duration::from_millis(500), run)
}

/// The least time of at least three runs, and of as many as fit into a time.
fn least_within(time: Duration, mut run: impl FnMut()) -> Duration {
    let (begin, mut least, mut runs) = (Instant::now(), Duration::MAX, 0);
    while runs < 3 || begin.elapsed() < time {
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

/// A table, printed.
type Table<'a> = &'a dyn Fn(&mut Stdout) -> io::Result<()>;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut only, mut figure) = (Vec::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--figure" => figure = Some(arguments.next().expect("a file stands behind --figure")),
            _ => only.push(argument),
        }
    }
    let (medium, figure) = (network(MEDIUM), figure.as_deref().map(Path::new));
    let tables: [(&str, Table); 7] = [
        ("whole", &|out| whole(out, &medium)),
        ("parts", &|out| parts(out, &medium)),
        ("exit", &|out| exit(out, &medium)),
        ("events", &|out| events::events(out)),
        ("growth", &|out| growth::growth(out, figure)),
        ("threads", &|out| threads(out, &medium)),
        ("memory", &|out| memory(out, &medium)),
    ];
    let names = tables.map(|(name, _)| name);
    if let Some(unknown) = only.iter().find(|only| !names.contains(&only.as_str())) {
        return Err(io::Error::other(format!("there is no table `{unknown}`, but {}", names.join(", "))));
    }
    let chosen = tables.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|only| only == name));
    for (_, table) in chosen {
        table(&mut stdout())?;
    }
    Ok(())
}

/// Milliseconds an image, for each processor, and what an image is.
fn whole(out: &mut impl Write, medium: &Network) -> io::Result<()> {
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
fn parts(out: &mut impl Write, medium: &Network) -> io::Result<()> {
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
fn exit(out: &mut impl Write, medium: &Network) -> io::Result<()> {
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

/// Milliseconds of an image whose layers are divided among threads.
fn threads(out: &mut impl Write, medium: &Network) -> io::Result<()> {
    writeln!(out, "| threads | ms an image |\n|---|---|")?;
    for threads in [1, 2, 4] {
        writeln!(out, "| {threads} | {:.1} |", milliseconds(&Prepared::new(medium).with_threads(threads)))?;
    }
    writeln!(out)
}

/// Bytes, and the time to prepare.
fn memory(out: &mut impl Write, medium: &Network) -> io::Result<()> {
    let time = least(|| drop(Prepared::new(medium)));
    let prepared = Prepared::new(medium);
    let mut arena = prepared.arena();
    prepared.run(&mut arena, &image(7)).expect("an image of the right size");
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    writeln!(out, "| lists of weights, MB | an arena, MB | to prepare, ms |\n|---|---|---|")?;
    let (lists, arena) = (megabytes(prepared.bytes()), megabytes(arena.bytes()));
    writeln!(out, "| {lists:.1} | {arena:.1} | {:.0} |", time.as_secs_f64() * 1e3)
}
