//! The network that a session trains.

use std::fmt;

/// Which network of a trial is trained: each has its own tensors in a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// The network that is searched.
    #[default]
    Search,
    /// The network of the architecture that a search has settled on, with other decisions still
    /// open.
    Settled,
    /// The final network.
    Retrain,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Search, Phase::Settled, Phase::Retrain];

    /// Its name in checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Search => "search",
            Phase::Settled => "settled",
            Phase::Retrain => "retrain",
        }
    }

    /// The phase of a name.
    pub fn named(name: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
