//! What a final network takes over from the supernet that its architecture was found in.
//!
//! Retraining begins with new weights, or with those of the search (`from` of `[retrain]`). Then a
//! tensor of the final network begins as the tensor of the same path in the supernet: weights, the
//! scores that masks are made from, normalisations and their running statistics. So the masks of
//! retraining begin as those of the search end. Where several operations of an edge share a tensor, or
//! an operation has another name in the supernet, the space says where a tensor lies ([`Piece`]). What
//! the supernet does not have (an auxiliary head, the scores of a stem that it leaves uncompressed)
//! begins anew; scores that begin anew do so from the weights that were taken over.
//!
//! Operations count whole in the final network. In the supernet they were weighed with
//! softmax(alpha), and others stood beside them: the network begins as the path of its architecture
//! ([`Path`](super::Path)), and not as the supernet.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;

use super::compression::Techniques;
use super::space::{Network, SynapseLayer};
use crate::ground::{Parameters, counted};

/// Where tensors of a final network lie in the supernet, if not under their own path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The path that they lie under in the final network: `cell0.from_s0.norm`.
    pub path: String,
    /// The path that they lie under in the supernet.
    pub from: String,
    /// Which rows of the first axis; `None` where they are the whole tensors.
    pub rows: Option<Rows>,
}

/// Rows of the first axis of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// The first one, in the final network.
    pub first: i64,
    /// The first one, in the supernet.
    pub from: i64,
    /// How many.
    pub count: i64,
}

/// The tensors of a supernet whose search is over, for the final network.
pub struct Inheritance {
    tensors: Parameters,
    pieces: Vec<Piece>,
    /// Names of the layers that compressors acted on.
    compressed: BTreeSet<String>,
}

impl Inheritance {
    /// The `tensors` of `supernet`, of which `pieces` lie elsewhere than in the final network.
    pub fn of(supernet: &dyn Network, tensors: Parameters, pieces: Vec<Piece>) -> Inheritance {
        let layers = supernet.layers();
        let compressed = layers.iter().filter(|layer| layer.weight.is_compressed(Techniques::ALL));
        let compressed = compressed.map(|layer| layer.shape.name.clone()).collect();
        Inheritance { tensors, pieces, compressed }
    }

    /// Gives the tensors to the final network, whose `parameters` have their first values; what was
    /// done, in words.
    ///
    /// # Errors
    ///
    /// A tensor of another shape.
    pub fn give(self, network: &dyn Network, parameters: &Parameters) -> Result<String, String> {
        let given: BTreeMap<&str, &Tensor> = self.tensors.named().collect();
        let (mut taken, mut anew) = (0, Vec::new());
        for (name, tensor) in parameters.named() {
            let mut found = false;
            for (source, rows) in self.sources(name) {
                let Some(source_tensor) = given.get(source.as_str()) else { continue };
                let (into, value) = match rows {
                    Some(Rows { first, from, count }) => {
                        (tensor.narrow(0, first, count), source_tensor.narrow(0, from, count))
                    }
                    None => (tensor.shallow_clone(), source_tensor.shallow_clone()),
                };
                if into.size() != value.size() {
                    let (here, there) = (into.size(), value.size());
                    return Err(format!("`{name}` has the shape {here:?}, and the supernet's `{source}` {there:?}"));
                }
                tch::no_grad(|| into.shallow_clone().copy_(&value));
                found = true;
            }
            match found {
                true => taken += 1,
                false => anew.push(name),
            }
        }
        let uncompressed = |layer: &SynapseLayer| !self.compressed.contains(&layer.shape.name);
        network.layers().iter().filter(|layer| uncompressed(layer)).for_each(|layer| {
            layer.weight.switch_on(Techniques::ALL);
        });
        let anew = match anew.as_slice() {
            [] => String::new(),
            [first, ..] => format!("; {} not in the supernet and begin anew (`{first}`, ...)", are(anew.len())),
        };
        Ok(format!("retraining begins with {} of the search{anew}", counted(taken, "tensor")))
    }

    /// The names in the supernet of a tensor of the final network, each with its rows.
    fn sources(&self, name: &str) -> Vec<(String, Option<Rows>)> {
        let piece = |piece: &Piece| {
            let rest = name.strip_prefix(piece.path.as_str()).filter(|rest| rest.starts_with('.'))?;
            Some((format!("{}{rest}", piece.from), piece.rows))
        };
        let found: Vec<_> = self.pieces.iter().filter_map(piece).collect();
        if found.is_empty() { vec![(name.to_owned(), None)] } else { found }
    }
}

fn are(count: usize) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{count} {verb}")
}
