//! The network that a session trains.

use std::fmt;

/// Which network of a trial is trained: each has its own tensors in a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// The network that is searched.
    #[default]
    Search,
    /// The final network of an architecture that the search tries, by its number from 1: `candidate
    /// 17`.
    Candidate(usize),
    /// The network of the architecture that a search has settled on, with other decisions still
    /// open.
    Settled,
    /// The final network.
    Retrain,
}

const CANDIDATE: &str = "candidate ";

impl Phase {
    /// The phase of a name.
    pub fn named(name: &str) -> Option<Phase> {
        match name {
            "search" => Some(Phase::Search),
            "settled" => Some(Phase::Settled),
            "retrain" => Some(Phase::Retrain),
            _ => name.strip_prefix(CANDIDATE)?.parse().ok().map(Phase::Candidate),
        }
    }
}

impl fmt::Display for Phase {
    /// Its name in checkpoints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Search => f.write_str("search"),
            Phase::Candidate(number) => write!(f, "{CANDIDATE}{number}"),
            Phase::Settled => f.write_str("settled"),
            Phase::Retrain => f.write_str("retrain"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_its_name_and_back() {
        for phase in [Phase::Search, Phase::Candidate(17), Phase::Settled, Phase::Retrain] {
            assert_eq!(Phase::named(&phase.to_string()), Some(phase));
        }
        assert_eq!(Phase::named("candidate seventeen"), None);
    }
}
