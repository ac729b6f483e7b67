//! What the network would cost that is retrained if a search ended now: the costs that targets hold
//! for.
//!
//! The final network of the architecture that the supernet decodes to is built in outline, without
//! memory, once for each architecture that a search comes by. Its layers have the widths of retraining;
//! what is known of them are the searched layers ([`Retrained`]). Timesteps count as expected, and
//! firing rates are those of the network that is searched.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tch::Tensor;

use super::{Extent, Regime, Search, SearchParts, Searched, Settle};
use crate::Result;
use crate::network::cost::{CostModel, Retrained};
use crate::network::{Architecture, Compression, Path, Response, exceedance};

/// The costs of the networks that would be retrained.
pub struct RetrainedCosts<'a> {
    settle: &'a Settle<'a>,
    known: RefCell<HashMap<Architecture, Rc<Retrained>>>,
}

impl<'a> Search<'a, '_> {
    /// Costs of the network that would be retrained. What a step counts depends on the architecture
    /// that is decoded then, so that no GPU replays it.
    pub fn retrained_costs(&mut self) -> RetrainedCosts<'a> {
        self.varies = true;
        RetrainedCosts { settle: self.settle, known: RefCell::default() }
    }
}

impl RetrainedCosts<'_> {
    /// Stored bytes and Bit-SynOps of an image (f64 scalars); the response of the network that is
    /// searched has to be measured.
    ///
    /// The layers of the decoded architecture count whole and all others not at all; the gradient to
    /// the architecture logits is that of the softmax (straight-through).
    ///
    /// # Errors
    ///
    /// A space whose supernet does not know the path of an architecture
    /// ([`Supernet::path`](crate::network::Supernet::path)), and what it cannot build.
    pub fn of(
        &self,
        parts: &SearchParts,
        response: &Response,
        epoch: usize,
        regime: Regime,
    ) -> Result<(Tensor, Tensor)> {
        let device = response.logits.device();
        let (architecture, path) = match &parts.open.network {
            Searched::Supernet(supernet) => {
                let decoded = supernet.decode();
                let path = parts.network().presence().is_some().then(|| supernet.path(&decoded)).transpose()?;
                (decoded, path.unwrap_or_else(Path::whole))
            }
            Searched::Settled(architecture, _) => (architecture.clone(), Path::whole()),
        };
        let counted = exceedance(&parts.timestep_weights(epoch, regime, device));
        let model = parts.cost_model(regime, &counted);
        let presence = match (&model.presence, path.presence(device)) {
            (Some(soft), Some(there)) => Some(there + soft - soft.detach()),
            _ => None,
        };
        let (model, layers) = (CostModel { presence, ..model }, parts.network().layers());
        let known = self.known.borrow().get(&architecture).cloned();
        let retrained = match known {
            Some(known) => known,
            None => {
                let outline = (self.settle)(&architecture, &Compression::new(), Extent::Outline)?;
                let retrained = Rc::new(Retrained::of(outline.network.network(), &layers)?);
                self.known.borrow_mut().insert(architecture, Rc::clone(&retrained));
                retrained
            }
        };
        Ok(retrained.costs(&model, &layers, &response.activity))
    }
}
