//! What a search believed of architectures against what training them gave, a mark for each.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{INK, anchored, axis_decimals, key_height, key_places, limits, mark, mesh, shortened};
use super::{Content, Drawn, Figure};
use crate::ranking::pairs;
use crate::trials::{ExperimentResults, SeedGroup};

pub struct Ranking {
    /// The rows of the experiment with the architectures of all their seeds: believed and trained
    /// accuracy in percent.
    series: Vec<(String, Vec<(f64, f64)>)>,
}

const WIDTH: u32 = 720;
const PANEL: u32 = 480;

/// One figure for all rows that believed and trained architectures; `None` where there is none.
pub fn figure(experiment: &ExperimentResults) -> Option<Figure> {
    let of_group = |group: &SeedGroup| {
        let all = group.trials.iter().flat_map(pairs);
        (group.name.clone(), all.map(|pair| (100.0 * pair.believed, 100.0 * pair.trained)).collect::<Vec<_>>())
    };
    let series: Vec<_> = experiment.groups.iter().map(of_group).filter(|(_, pairs)| !pairs.is_empty()).collect();
    if series.is_empty() {
        return None;
    }
    let caption = "A mark for each architecture and seed. A search that ranks well has marks that rise from left to right: only \
                   their order counts, because paths share their weights and are less accurate than trained networks.";
    let ranking = Ranking { series };
    let height = ranking.head() + PANEL;
    Some(Figure::new("ranking", "Ranking quality", caption.into(), (WIDTH, height), Content::Ranking(ranking)))
}

impl Ranking {
    fn names(&self) -> Vec<String> {
        self.series.iter().map(|(name, _)| shortened(name, 48)).collect()
    }

    fn key_places(&self) -> Vec<(u32, u32)> {
        key_places(&self.names(), 18, WIDTH - 40)
    }

    fn head(&self) -> u32 {
        12 + key_height(&self.key_places())
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (head, body) = area.split_vertically(self.head());
        for ((index, name), (line, x)) in self.names().into_iter().enumerate().zip(self.key_places()) {
            let (x, y) = (30 + x as i32, 16 + 20 * line as i32);
            mark(&head, (x, y), index, 5, true)?;
            head.draw(&Text::new(name, (x + 12, y), anchored(12.0, INK, HPos::Left, VPos::Center)))?;
        }
        let all = || self.series.iter().flat_map(|(_, pairs)| pairs);
        let (left, right) = limits(all().map(|pair| pair.0), 0.5);
        let (bottom, top) = limits(all().map(|pair| pair.1), 0.5);
        let mut chart = ChartBuilder::on(&body)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d(left..right, bottom..top)?;
        let [across, up] = [right - left, top - bottom].map(axis_decimals);
        mesh(&mut chart)
            .x_desc("Believed: validation accuracy of the path in the supernet (%)")
            .y_desc("Trained: validation accuracy (%)")
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|value| format!("{value:.across$}"))
            .y_label_formatter(&|value| format!("{value:.up$}"))
            .draw()?;
        let plot = chart.plotting_area();
        for (index, (_, pairs)) in self.series.iter().enumerate() {
            for &pair in pairs {
                mark(plot, pair, index, 4, true)?;
            }
        }
        Ok(())
    }
}
