//! The steps of an epoch on a GPU: the first ones run operation by operation, and the others as one
//! graph, which does the same operations in the same order.
//!
//! A step at paper scale is thousands of small operations, and each takes the host about ten
//! microseconds to order. A graph is recorded anew in every epoch, because rates and the weights of
//! the timesteps are numbers in it, and it fits batches of one size. Where a step cannot be
//! recorded, the steps of the stage run operation by operation.

use tch::{Device, Tensor};

use super::{Batch, StepReport};
use crate::Result;
use crate::ground::{Graph, Parameters};
use crate::spiking::changed;

/// Steps before the graph is recorded: libraries choose their algorithms and load their code, and
/// descents make their state.
const WARM: usize = 2;

/// The steps of one epoch.
pub(super) struct Replay {
    state: State,
}

enum State {
    /// Steps run operation by operation, and so many more do.
    Warming(usize),
    /// Steps are replayed.
    Recorded(Recorded),
    /// All steps run operation by operation.
    Off,
    /// The same, since none can be recorded.
    Refused,
}

struct Recorded {
    graph: Graph,
    /// What the graph reads.
    batch: Batch,
    /// What it writes.
    report: StepReport,
}

impl Replay {
    /// The steps of an epoch on a device, all of them operation by operation unless `graphs`.
    pub(super) fn new(device: Device, graphs: bool) -> Replay {
        let state = if graphs && Graph::prepare(device) { State::Warming(WARM) } else { State::Off };
        Replay { state }
    }

    /// Whether a step could not be recorded.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused)
    }

    /// Trains `parameters` on a batch by `step`, or by the record of an earlier one. Tells `note`
    /// once where a step cannot be recorded.
    pub(super) fn step(
        &mut self,
        batch: &Batch,
        parameters: &Parameters,
        mut step: impl FnMut(&Batch) -> Result<StepReport>,
        note: impl Fn(&str),
    ) -> Result<StepReport> {
        match &mut self.state {
            State::Off | State::Refused => return step(batch),
            State::Warming(0) => match Recorded::of(batch, &mut step) {
                Ok(recorded) => self.state = State::Recorded(recorded),
                Err(error) => {
                    note(&format!("steps run one operation at a time, since they cannot be a graph: {error}"));
                    self.state = State::Refused;
                    return step(batch);
                }
            },
            State::Warming(left) => {
                *left -= 1;
                return step(batch);
            }
            State::Recorded(_) => {}
        }
        match &self.state {
            State::Recorded(recorded) if recorded.fits(batch) => recorded.replay(batch, parameters),
            _ => step(batch),
        }
    }
}

impl Recorded {
    fn of(batch: &Batch, step: &mut impl FnMut(&Batch) -> Result<StepReport>) -> Result<Recorded> {
        let batch = Batch { images: batch.images.copy(), labels: batch.labels.copy(), number: batch.number };
        let (graph, report) = Graph::record(|| step(&batch))?;
        Ok(Recorded { graph, batch, report })
    }

    fn fits(&self, batch: &Batch) -> bool {
        self.batch.images.size() == batch.images.size()
    }

    fn replay(&self, batch: &Batch, parameters: &Parameters) -> Result<StepReport> {
        let fill = |to: &Tensor, from: &Tensor| to.shallow_clone().copy_(from);
        fill(&self.batch.images, &batch.images);
        fill(&self.batch.labels, &batch.labels);
        self.graph.replay()?;
        // libtorch does not see what a graph writes, and masks are kept while scores do not change.
        parameters.trainable().iter().for_each(|parameter| changed(&parameter.tensor));
        let StepReport { loss, logits } = &self.report;
        Ok(StepReport { loss: loss.shallow_clone(), logits: logits.shallow_clone() })
    }
}
