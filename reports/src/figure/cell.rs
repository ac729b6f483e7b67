//! The searched cell, drawn as a graph.

use std::collections::BTreeSet;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{GREY, INK, anchored, colour, colour_name, text};
use super::{Content, Drawn, Figure};
use litesnn_framework::network::Edge;

use crate::trials::FinishedTrial;

pub struct CellDrawing {
    edges: Vec<Edge>,
    nodes: usize,
    /// Below the graph.
    facts: Vec<String>,
}

/// How the edges of an operation are drawn: a colour, and of every `dashes[0]` points of the curve
/// the first `dashes[1]`; all of them without.
#[derive(Clone, Copy)]
struct Line {
    colour: usize,
    dashes: Option<[usize; 2]>,
}

const CONVOLUTION: Line = Line { colour: 0, dashes: None };
const SKIP: Line = Line { colour: 1, dashes: Some([4, 3]) };
/// Of operations that are neither, one after another: the lines say again what the colours do.
const OTHERS: [(&str, Option<[usize; 2]>); 3] =
    [("", None), (", dotted", Some([2, 2])), (", long dashes", Some([8, 7]))];

const WIDTH: i32 = 860;
const BOX: (i32, i32) = (104, 44);

/// The cell of a trial's design; `None` for a network without cells.
pub fn figure(trial: &FinishedTrial, name: &str, suffix: &str) -> Option<Figure> {
    let design = &trial.design;
    if design.edges.is_empty() {
        return None;
    }
    let nodes = design.edges.iter().map(|edge| edge.node + 1).max().unwrap_or(0);
    let mut facts = vec![format!("T = {} timestep{}", design.timesteps, if design.timesteps == 1 { "" } else { "s" })];
    for (compressor, decisions) in &design.compression {
        let decided: Vec<String> = decisions
            .iter()
            .map(|(group, decision)| {
                let bits = decision.bits.map(|bits| format!("{bits} bit{}", if bits == 1 { "" } else { "s" }));
                let rate = decision.rate.map(|rate| format!("{:.0} % removed", 100.0 * rate));
                let what: Vec<String> = bits.into_iter().chain(rate).collect();
                format!("{group}: {}", what.join(", "))
            })
            .collect();
        facts.push(format!("{compressor} — {}", decided.join(";  ")));
    }
    let height = 380 + 24 * facts.len() as u32;
    let caption = "First seed; all cells of the network share these edges. s0 and s1 are the outputs of the two cells before, n0, n1, … the \
                   cell's nodes (layers of LIF neurons), and the cell's output is all nodes side by side. Blue: 3x3 convolution; \
                   orange, dashed: skip";
    let content = CellDrawing { edges: design.edges.clone(), nodes, facts };
    let others = content.others().into_iter().enumerate().map(|(index, operation)| {
        let (words, _) = OTHERS[index % OTHERS.len()];
        format!("; {}{words}: {operation}", colour_name(2 + index))
    });
    let caption = format!("{caption}{}.", others.collect::<String>());
    let title = format!("The searched cell: {name}");
    let size = (WIDTH as u32, height);
    Some(Figure::new(&format!("cell{suffix}"), &title, caption, size, Content::Cell(content)))
}

impl CellDrawing {
    /// Operations that are neither a convolution 3x3 nor a skip, by their names.
    fn others(&self) -> BTreeSet<&str> {
        let names = self.edges.iter().map(|edge| edge.operation.as_str());
        names.filter(|name| !matches!(*name, "conv3x3" | "skip")).collect()
    }

    /// The line of an operation.
    fn line(&self, operation: &str) -> Line {
        match (operation, self.others().iter().position(|other| *other == operation)) {
            (_, Some(index)) => Line { colour: 2 + index, dashes: OTHERS[index % OTHERS.len()].1 },
            ("skip", _) => SKIP,
            _ => CONVOLUTION,
        }
    }

    /// Centre of a source or node.
    fn centre(&self, name: &str) -> (i32, i32) {
        match name {
            "s0" => (90, 100),
            "s1" => (90, 280),
            "out" => (WIDTH - 80, 190),
            _ => {
                let index: i32 = name.trim_start_matches('n').parse().unwrap_or(0);
                let room = (WIDTH - 390) / (self.nodes.max(1) as i32);
                // Alternate heights, so that an edge past a node does not run through it.
                let y = [120, 260, 120][index as usize % 2];
                (250 + room / 2 + room * index - 20, y)
            }
        }
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        for node in 0..self.nodes {
            self.arrow(area, &format!("n{node}"), "out", GREY, None, 0)?;
        }
        for (index, edge) in self.edges.iter().enumerate() {
            let target = format!("n{}", edge.node);
            // Edges into one node end side by side, the one from further up above.
            let height = |edge: &Edge| self.centre(&edge.from).1;
            let place = self.edges.iter().enumerate().filter(|(other_index, other)| {
                other.node == edge.node && (height(other), *other_index) < (height(edge), index)
            });
            let place = place.count() as i32;
            let line = self.line(&edge.operation);
            self.arrow(area, &edge.from, &target, colour(line.colour), line.dashes, 12 * place - 6)?;
        }
        let mut names: Vec<(String, &str)> =
            vec![("s0".into(), "cell k-2"), ("s1".into(), "cell k-1"), ("out".into(), "all nodes")];
        names.extend((0..self.nodes).map(|node| (format!("n{node}"), "LIF")));
        for (name, below) in &names {
            let (x, y) = self.centre(name);
            let corners = [(x - BOX.0 / 2, y - BOX.1 / 2), (x + BOX.0 / 2, y + BOX.1 / 2)];
            area.draw(&Rectangle::new(corners, WHITE.filled()))?;
            area.draw(&Rectangle::new(corners, INK.stroke_width(2)))?;
            let title = if name == "out" { "output" } else { name };
            area.draw(&Text::new(title.to_owned(), (x, y - 9), anchored(14.0, INK, HPos::Center, VPos::Center)))?;
            area.draw(&Text::new((*below).to_owned(), (x, y + 10), anchored(11.0, GREY, HPos::Center, VPos::Center)))?;
        }
        let mut y = 356;
        for fact in &self.facts {
            area.draw(&Text::new(fact.clone(), (38, y), text(13.0, INK)))?;
            y += 24;
        }
        Ok(())
    }

    /// From the right side of one box to the left side of another.
    fn arrow<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        from: &str,
        to: &str,
        colour: RGBColor,
        dashes: Option<[usize; 2]>,
        shift: i32,
    ) -> Drawn<DB> {
        let (start, end) = (self.centre(from), self.centre(to));
        let begin = (f64::from(start.0 + BOX.0 / 2), f64::from(start.1));
        let tip = (f64::from(end.0 - BOX.0 / 2), f64::from(end.1 + shift));
        let reach = ((tip.0 - begin.0) * 0.5).max(30.0);
        // A cubic curve that leaves and arrives level.
        let curve = |bow: f64| -> Vec<(i32, i32)> {
            let at = |t: f64| {
                let s = 1.0 - t;
                let (a, b, c, d) = (s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t);
                let x = a * begin.0 + b * (begin.0 + reach) + c * (tip.0 - reach) + d * tip.0;
                let y = a * begin.1 + b * (begin.1 + bow) + c * (tip.1 + bow) + d * tip.1;
                (x as i32, y as i32)
            };
            (0..=40).map(|step| at(f64::from(step) / 40.0)).collect()
        };
        // It bows as little as it must to pass the boxes of other nodes; outwards first.
        let others: Vec<(i32, i32)> = (0..self.nodes)
            .map(|node| format!("n{node}"))
            .filter(|name| name != from && name != to)
            .map(|name| self.centre(&name))
            .collect();
        let free = |points: &[(i32, i32)]| {
            let inside = |(x, y): (i32, i32)| {
                others.iter().any(|other| (x - other.0).abs() < BOX.0 / 2 + 6 && (y - other.1).abs() < BOX.1 / 2 + 6)
            };
            !points.iter().any(|point| inside(*point))
        };
        let outwards = if begin.1 < 190.0 { -1.0 } else { 1.0 };
        let bows = [0.0, 70.0, -70.0, 110.0, -110.0, 150.0, -150.0].map(|bow| bow * outwards);
        let curve = bows.into_iter().map(curve).find(|points| free(points)).unwrap_or_else(|| curve(0.0));
        let style = colour.stroke_width(2);
        if let Some([period, drawn]) = dashes {
            for dash in curve.chunks(period) {
                area.draw(&PathElement::new(dash[..dash.len().min(drawn)].to_vec(), style))?;
            }
        } else {
            area.draw(&PathElement::new(curve, style))?;
        }
        let (x, y) = (tip.0 as i32, tip.1 as i32);
        area.draw(&Polygon::new(vec![(x, y), (x - 9, y - 5), (x - 9, y + 5)], colour.filled()))
    }
}
