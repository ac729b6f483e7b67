//! Where the tensors of a final network of `spike-dhs` lie in its supernet.
//!
//! Both are built from the same paths, so that most tensors have the same name in both. But the
//! convolutions of a cell that read the same spikes share one normalisation (`stack.rs`), which in the
//! supernet has the channels of all candidates, and in the final network those of the edges that are
//! left. And a `skip` that is a convolution is called `conv3x3` in the final network.

use litesnn_framework::Result;
use litesnn_framework::network::{Architecture, Misfit, Piece, Rows};

use super::edges::{Candidate, all_candidates, predecessor_name};
use super::operation::Form;
use super::settings::SpikeDhs;

/// The kinds of candidates that share a normalisation.
const SHARED: [Form; 4] = [Form::Convolution(3), Form::Convolution(5), Form::Convolution(1), Form::PooledConvolution];

impl SpikeDhs {
    /// Widths that keep a final network from the weights of the supernet.
    pub(super) fn unequal_widths(&self) -> Option<Misfit> {
        let (search, retrain) = (self.channels.search, self.channels.retrain);
        let (key, unequal) = if search != retrain {
            ("channels.retrain", format!("`channels.search` is {search}, and `channels.retrain` is {retrain}"))
        } else if self.kept_nodes() != self.nodes {
            let (nodes, kept) = (self.nodes, self.kept_nodes());
            ("final_nodes", format!("`nodes` is {nodes}, and `final_nodes` is {kept}"))
        } else {
            return None;
        };
        Some(Misfit {
            key: key.into(),
            message: format!("the weights of the search have other shapes in the final network: {unequal}"),
            help: Some("give both the same number".into()),
        })
    }

    /// What lies elsewhere in the supernet, of the final network of an architecture.
    pub(super) fn pieces(&self, architecture: &Architecture) -> Result<Vec<Piece>> {
        let (kept, all) = (self.candidates_of(architecture)?, all_candidates(self.nodes, &self.columns()));
        let mut pieces = Vec::new();
        for (index, level) in self.cells.iter().enumerate() {
            let width = self.channels.search << level;
            for predecessor in 0..self.nodes + 2 {
                let path = format!("cell{index}.from_{}", predecessor_name(predecessor));
                for form in SHARED {
                    let of = |candidates: &[Candidate]| {
                        let here = candidates.iter().filter(|one| one.link.predecessor == predecessor);
                        here.copied().filter(|one| one.form == form).collect::<Vec<Candidate>>()
                    };
                    pieces.extend(shared(&path, &of(&kept), &of(&all), width));
                }
            }
        }
        Ok(pieces)
    }
}

/// Of candidates that share a normalisation below `path`: those that are `kept` among `all`.
fn shared(path: &str, kept: &[Candidate], all: &[Candidate], width: i64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (place, one) in kept.iter().enumerate() {
        let same_edge = |other: &&Candidate| other.link == one.link;
        let same = |other: &&Candidate| same_edge(other) && other.operation == one.operation;
        // An identity that became a convolution is none of them.
        let Some(found) = all.iter().find(same).or_else(|| all.iter().find(same_edge)) else { continue };
        let from = all.iter().position(|other| std::ptr::eq(other, found)).expect("it is one of them") as i64;
        let rows = Rows { first: place as i64 * width, from: from * width, count: width };
        pieces.push(Piece { path: norm(path, kept), from: norm(path, all), rows: Some(rows) });
        if found.operation != one.operation {
            let layer = |candidate: &Candidate| format!("{path}.n{}.{}", candidate.link.node, candidate.operation);
            pieces.push(Piece { path: layer(one), from: layer(found), rows: None });
        }
    }
    pieces
}

/// The path of the normalisation that candidates share.
fn norm(path: &str, candidates: &[Candidate]) -> String {
    match candidates[0].form {
        Form::Convolution(3) => format!("{path}.norm"),
        _ => format!("{path}.{}.norm", candidates[0].operation),
    }
}
