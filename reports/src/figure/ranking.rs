//! What a search believed of architectures against what training them gave, a mark for each.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{HeadKey, axis_decimals, limits, mark, mesh};
use super::{Content, Drawn, Figure};
use crate::ranking::pairs;
use crate::trials::{ExperimentResults, SeedGroup};

pub struct Ranking {
    /// The rows of the experiment with the architectures of all their seeds: believed accuracy in
    /// percent or score, and trained accuracy in percent.
    series: Vec<(String, Vec<(f64, f64)>)>,
    scored: bool,
}

const WIDTH: u32 = 720;
const PANEL: u32 = 480;

/// One figure for all rows that believed architectures by an accuracy and trained them, and one for
/// all that did so by a score, whose unit is another one.
pub fn figures(experiment: &ExperimentResults) -> Vec<Figure> {
    [false, true].into_iter().filter_map(|scored| figure(experiment, scored)).collect()
}

fn figure(experiment: &ExperimentResults, scored: bool) -> Option<Figure> {
    let unit = if scored { 1.0 } else { 100.0 };
    let of_group = |group: &SeedGroup| {
        // A score of minus infinity has no place.
        let all = group.trials.iter().flat_map(pairs).filter(|pair| pair.scored == scored && pair.believed.is_finite());
        (group.name.clone(), all.map(|pair| (unit * pair.believed, 100.0 * pair.trained)).collect::<Vec<_>>())
    };
    let series: Vec<_> = experiment.groups.iter().map(of_group).filter(|(_, pairs)| !pairs.is_empty()).collect();
    if series.is_empty() {
        return None;
    }
    let rises =
        "A mark for each architecture and seed. A search that ranks well has marks that rise from left to right";
    let (name, title, why) = match scored {
        false => {
            let why = "only their order counts, because paths share their weights and are less accurate than trained networks.";
            ("ranking", "Ranking quality", why)
        }
        true => ("ranking-score", "Ranking quality of a score before training", "only their order counts."),
    };
    let ranking = Ranking { series, scored };
    let height = ranking.head_key().height() + PANEL;
    Some(Figure::new(name, title, format!("{rises}: {why}"), (WIDTH, height), Content::Ranking(ranking)))
}

impl Ranking {
    fn head_key(&self) -> HeadKey {
        HeadKey::new(self.series.iter().map(|(name, _)| name), 30, WIDTH - 40)
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (head, body) = area.split_vertically(self.head_key().height());
        self.head_key().draw(&head)?;
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
            .x_desc(match self.scored {
                false => "Believed: validation accuracy of the path in the supernet (%)",
                true => "Believed: score before training",
            })
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
