//! One pass a step: everything moves at once.
//!
//! Source: the loss is that of LitE-SNN (Liu et al., IJCAI 2024), Eq. 15; there, weights and all
//! others move in two passes.
//!
//! ```text
//! L_CE + lambda_memory · L_mem + lambda_compute · L_comp          moves the weights by SGD and all others by Adam
//! ```

use litesnn_framework::ground::Role;
use litesnn_framework::train::{Algorithm, Found, Optimizer, Rate, Search, StepReport, clip_gradients};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Kind;

/// Settings of `template-optimizer`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateOptimizer {
    /// Weight of L_mem.
    #[schemars(range(min = 0.0), extend("x-unit" = "per bit"))]
    pub lambda_memory: f64,
    /// Weight of L_comp.
    #[schemars(range(min = 0.0), extend("x-unit" = "per bit-operation of an image"))]
    pub lambda_compute: f64,
    /// Adam's learning rate.
    #[schemars(range(min = 0.0))]
    pub rate: f64,
}

impl Default for TemplateOptimizer {
    fn default() -> Self {
        TemplateOptimizer { lambda_memory: 5e-10, lambda_compute: 1.5e-12, rate: 0.01 }
    }
}

register! {
    kind: Optimizer,
    name: "template-optimizer",
    settings: TemplateOptimizer,
    version: 1,
    summary: "everything at once, in one pass a step",
    paper: "the loss of Liu et al., LitE-SNN, IJCAI 2024",
    examples: ["[optimizer.template-optimizer]\nlambda_memory = 5e-10\nlambda_compute = 1.5e-12"],
    file: "template_optimizer.rs",
}

/// All roles but the weights.
const OTHERS: [Role; 4] = [Role::Score, Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];

#[typetag::serde(name = "template-optimizer")]
impl Optimizer for TemplateOptimizer {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let adam = Algorithm::Adam { weight_decay: 0.0 };
        let mut descents =
            [search.weight_descent(), search.descent("others", &OTHERS, adam, Rate::Constant(self.rate))];
        let regime = search.parts().whole();
        let (epochs, clip) = (search.parts().training.epochs, search.parts().training.clip);
        search.stage("search", epochs, regime, &mut descents, |parts, batch, epoch, descents| {
            parts.parameters().zero_grad();
            let response = parts.forward(batch, regime, true);
            let losses = parts.losses(&response, batch, epoch, regime);
            let loss = losses.cross_entropy
                + losses.memory.to_kind(Kind::Float) * self.lambda_memory
                + losses.compute.to_kind(Kind::Float) * self.lambda_compute;
            loss.f_backward()?;
            clip_gradients(descents[0].tensors(), clip);
            descents.iter_mut().for_each(|descent| descent.step());
            let logits = response.logits.detach().mean_dim(0, false, None::<Kind>);
            Ok(StepReport { loss: loss.detach(), logits })
        })?;
        Ok(search.decode().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_the_lambdas_are_the_papers() {
        let plugin: TemplateOptimizer = serde_json::from_str("{}").unwrap();
        assert_eq!((plugin.lambda_memory, plugin.lambda_compute), (5e-10, 1.5e-12));
    }
}
