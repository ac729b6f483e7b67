//! Searched bits and firing rate, layer by layer.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{GREY, INK, PALE, anchored, colour, mark, shortened, text};
use super::{Content, Drawn, Figure};
use crate::trials::FinishedTrial;

pub struct Layers {
    rows: Vec<LayerBar>,
}

struct LayerBar {
    name: String,
    place: String,
    bits: f64,
    /// Mean spikes of an input neuron at each timestep; empty where no spikes are read.
    firing: Vec<f64>,
}

const TOP: i32 = 76;
const STEP: i32 = 19;
const NAMES: i32 = 215;
const PANEL: i32 = 250;
const GAP: i32 = 40;

pub fn figure(trial: &FinishedTrial, name: &str, suffix: &str) -> Figure {
    let rows: Vec<LayerBar> = trial
        .layers
        .iter()
        .map(|layer| LayerBar {
            name: layer.layer.clone(),
            place: layer.place.clone(),
            bits: layer.bits,
            firing: layer.firing_rate.clone(),
        })
        .collect();
    let height = TOP + STEP * rows.len() as i32 + 40;
    let caption = "First seed. The name of a layer begins with its place in the network; in a cell, node, source and operation follow. \
                   Firing rate: spikes of an input neuron at one timestep, mean over the test images, a mark for each timestep; \
                   more than 1 where sums of spikes are read, none where no spikes are.";
    let title = format!("Bits and firing rate by layer: {name}");
    let size = ((NAMES + 2 * PANEL + 2 * GAP) as u32, height as u32);
    Figure::new(&format!("layers{suffix}"), &title, caption.into(), size, Content::Layers(Layers { rows }))
}

impl Layers {
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let bottom = TOP + STEP * self.rows.len() as i32;
        let most_bits = self.rows.iter().map(|row| row.bits).fold(4.0, f64::max);
        let most_firing = self.rows.iter().flat_map(|row| &row.firing).fold(0.0, |a: f64, b| a.max(*b));
        let firing_top = ((most_firing * 1.1 * 10.0).ceil() / 10.0).max(0.1);
        let second = NAMES + PANEL + GAP;
        let bits_step = if most_bits > 8.0 { 8.0 } else { 1.0 };
        axis(area, NAMES, bottom, "Bits of a weight", most_bits, bits_step, 0)?;
        // Sums of a pooling fire more than once at a timestep.
        let firing_step = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0].into_iter().find(|step| firing_top / step <= 5.5);
        let firing_step = firing_step.unwrap_or(firing_top);
        axis(area, second, bottom, "Firing rate (spikes / neuron / timestep)", firing_top, firing_step, 2)?;
        for step in 0..self.rows.iter().map(|row| row.firing.len()).max().unwrap_or(0) {
            let x = second + 6 + 58 * step as i32;
            mark(area, (x, 36), step, 4, true)?;
            area.draw(&Text::new(
                format!("t = {}", step + 1),
                (x + 9, 36),
                anchored(11.0, INK, HPos::Left, VPos::Center),
            ))?;
        }
        let mut shade = 0;
        for (index, row) in self.rows.iter().enumerate() {
            let y = TOP + STEP * index as i32 + STEP / 2;
            if index > 0 && row.place != self.rows[index - 1].place {
                shade += 1;
                area.draw(&PathElement::new(vec![(8, y - STEP / 2), (second + PANEL, y - STEP / 2)], PALE))?;
            }
            let colour = colour(if shade % 2 == 0 { 0 } else { 6 });
            let label = anchored(12.0, INK, HPos::Right, VPos::Center);
            area.draw(&Text::new(shortened(&row.name, 27), (NAMES - 8, y), label))?;
            let width = (row.bits / most_bits * f64::from(PANEL)) as i32;
            area.draw(&Rectangle::new([(NAMES, y - 6), (NAMES + width, y + 6)], colour.filled()))?;
            let value = if row.bits.fract() == 0.0 { format!("{:.0}", row.bits) } else { format!("{:.2}", row.bits) };
            if width > 30 {
                area.draw(&Text::new(value, (NAMES + width - 6, y), anchored(11.0, WHITE, HPos::Right, VPos::Center)))?;
            } else {
                area.draw(&Text::new(value, (NAMES + width + 5, y), anchored(11.0, INK, HPos::Left, VPos::Center)))?;
            }
            for (step, firing) in row.firing.iter().enumerate() {
                let x = second + (firing / firing_top * f64::from(PANEL)) as i32;
                mark(area, (x, y), step, 4, true)?;
            }
            if row.firing.is_empty() {
                area.draw(&Text::new("–", (second + 6, y), anchored(12.0, GREY, HPos::Left, VPos::Center)))?;
            }
        }
        Ok(())
    }
}

/// A horizontal axis on top of a panel, with grid lines down to `bottom`.
fn axis<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    left: i32,
    bottom: i32,
    title: &str,
    high: f64,
    step: f64,
    decimals: usize,
) -> Drawn<DB> {
    area.draw(&Text::new(title.to_owned(), (left, 12), text(13.0, INK)))?;
    let count = (high / step + 1e-9) as i32;
    for tick in 0..=count {
        let value = f64::from(tick) * step;
        let x = left + (value / high * f64::from(PANEL)) as i32;
        area.draw(&PathElement::new(vec![(x, TOP - 6), (x, bottom)], PALE))?;
        let style = anchored(11.0, GREY, HPos::Center, VPos::Bottom);
        area.draw(&Text::new(format!("{value:.decimals$}"), (x, TOP - 9), style))?;
    }
    area.draw(&PathElement::new(vec![(left, TOP - 6), (left + PANEL, TOP - 6)], GREY))
}
