//! What the paper's formulas estimate, and what is counted.

use super::{Cell, Table, TableRow};
use crate::metric::{self, Metric};
use crate::trials::ExperimentResults;

/// Sizes and operations by both ways of counting; `None` where no trial counted, as in records of
/// an older schema.
pub fn table(experiment: &ExperimentResults) -> Option<Table> {
    let counted = |metric: &Metric| experiment.groups.iter().any(|group| group.measured(metric).0.is_finite());
    if !counted(&metric::STORED_SIZE) {
        return None;
    }
    let rows = experiment.groups.iter().map(|group| {
        let cells = metric::COUNTED.iter().map(|metric| {
            let (mean, deviation) = group.measured(metric);
            Cell::of(metric.format_spread(mean, deviation), group)
        });
        TableRow::Cells(std::iter::once(Cell::of(&group.name, group)).chain(cells).collect())
    });
    Some(Table {
        title: "Formulas and counts".into(),
        headings: std::iter::once("Variant".to_owned()).chain(metric::COUNTED.iter().map(Metric::heading)).collect(),
        names: 1,
        rows: rows.collect(),
        notes: vec![
            "Model size, additions, multiplications and energy follow the formulas of LitE-SNN, as its tables do."
                .to_owned(),
            "The model size leaves out how a file says which weights are kept; the stored size has a mask for each \
             pruned layer, a bit for each weight or Golomb-Rice code, whichever is shorter. The packed file that \
             `litesnn export` writes has the stored size and the graph, names and shapes of layers in JSON."
                .to_owned(),
            "The formulas let taps on the padding count and take all neurons of a layer for equally active. Counted \
             additions are the kept weights that each spike reaches, counted multiplications those that each number \
             of the image reaches at every timestep."
                .to_owned(),
        ],
        references: Vec::new(),
    })
}
