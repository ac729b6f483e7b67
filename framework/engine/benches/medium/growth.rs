//! How the time of an image and the memory grow: one thing of the network is changed, and all else
//! stays as it is.
//!
//! All networks are there at once, and every round times each of them, so that what else the
//! machine does meets all alike; a time is the least of all rounds. Memory is the lists of weights
//! and an arena. The network itself, two bytes for each weight that is kept or not, is not in it.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use litesnn_engine::{Network, Prepared};

use crate::figure::{Panel, draw};
use crate::network::{MEDIUM, Shape, image, network};
use crate::{least_within, processors};

/// Rounds over all networks.
const ROUNDS: usize = 5;
/// How long a network is timed in a round.
const TURN: Duration = Duration::from_millis(120);

/// A size, the network that has it, and the images that it gets, one after another.
struct Point {
    size: f64,
    shape: Shape,
    images: usize,
}

impl Point {
    fn of(size: f64, shape: Shape) -> Point {
        Point { size, shape, images: 1 }
    }
}

/// What grows, and how.
fn all() -> [(&'static str, Vec<Point>); 4] {
    let timesteps = [1, 2, 4, 5, 6, 8, 10].map(|timesteps| Point::of(timesteps as f64, Shape { timesteps, ..MEDIUM }));
    let images = [1, 2, 4, 8].map(|images| Point { size: images as f64, shape: MEDIUM, images });
    let channels = [12, 24, 48, 72, 96].map(|channels| Point::of(channels as f64, Shape { channels, ..MEDIUM }));
    let kept = [0.05, 0.1, 0.2, 0.5, 1.0].map(|kept| Point::of(kept, Shape { kept, ..MEDIUM }));
    [
        ("timesteps", timesteps.into()),
        ("images, one after another", images.into()),
        ("channels of a node at level 0", channels.into()),
        ("fraction of weights that are kept", kept.into()),
    ]
}

/// The table, and the figure of all instructions where a file is named for it.
pub fn growth(out: &mut impl Write, figure: Option<&Path>) -> std::io::Result<()> {
    let (all, processors, images) = (all(), processors(), [1, 2, 3, 4, 5, 6, 7, 8].map(image));
    let points = || all.iter().flat_map(|(_, points)| points);
    let networks: Vec<Network> = points().map(|point| network(point.shape)).collect();
    let mut prepared: Vec<Prepared> = networks.iter().map(Prepared::new).collect();
    let mut arenas: Vec<_> = prepared.iter().map(Prepared::arena).collect();
    let mut times = vec![vec![f64::MAX; processors.len()]; networks.len()];
    for _ in 0..ROUNDS {
        for (place, (_, processor)) in processors.iter().enumerate() {
            prepared = prepared.into_iter().map(|prepared| prepared.with_processor(*processor)).collect();
            for (((point, prepared), arena), times) in points().zip(&prepared).zip(&mut arenas).zip(&mut times) {
                let images = &images[..point.images];
                let time = least_within(TURN, || images.iter().for_each(|image| drop(prepared.run(arena, image))));
                times[place] = times[place].min(time.as_secs_f64() * 1e3);
            }
        }
    }
    let bytes = prepared.iter().zip(&arenas).map(|(prepared, arena)| prepared.bytes() + arena.bytes());
    let mut measured = times.into_iter().zip(bytes.map(|bytes| bytes as f64 / 1e6));
    let panel = |(name, points): &(&'static str, Vec<Point>)| {
        let sizes = points.iter().map(|point| point.size).collect();
        let (times, megabytes) = measured.by_ref().take(points.len()).unzip();
        Panel { name, sizes, times, megabytes }
    };
    let panels: Vec<Panel> = all.iter().map(panel).collect();
    table(out, &all, &panels)?;
    let names: Vec<&str> = processors.iter().map(|(name, _)| *name).collect();
    figure.map_or(Ok(()), |file| std::fs::write(file, draw(&panels, &names)))
}

/// Milliseconds of an image by the widest instructions, and megabytes.
fn table(out: &mut impl Write, all: &[(&str, Vec<Point>)], panels: &[Panel]) -> std::io::Result<()> {
    writeln!(out, "| changed | ms an image | MB |\n|---|---|---|")?;
    for ((name, points), panel) in all.iter().zip(panels) {
        let row = |value: &dyn Fn(usize) -> f64| {
            let of = |(place, point): (usize, &Point)| format!("{}: {:.1}", point.size, value(place));
            points.iter().enumerate().map(of).collect::<Vec<String>>().join(", ")
        };
        let times = row(&|place| panel.times[place][0] / points[place].images as f64);
        writeln!(out, "| {name} | {times} | {} |", row(&|place| panel.megabytes[place]))?;
    }
    writeln!(out)
}
