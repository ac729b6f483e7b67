//! Leaky integrate-and-fire neurons in every form that a manifest can ask for.
//!
//! ```text
//! u(t) = lambda · h(t-1) + kappa · x(t)          membrane potential; h(0) = 0
//! s(t) = 1 if u(t) > V_th else 0                 spike
//! h(t) = u(t) · (1 - s(t))                       hard reset to 0
//!      or u(t) - V_th · s(t)                     soft reset, by subtraction
//! ```
//!
//! lambda is the decay of the membrane potential, kappa the scale of the input current x.
//!
//! | convention | setting | lambda | kappa |
//! |---|---|---|---|
//! | LitE-SNN, Eq. 1, where the decay is called tau | `tau` | tau | 1 |
//! | SpikingJelly, `decay_input=False` | `time_constant` | 1 - 1/time_constant | 1 |
//! | SpikingJelly, `decay_input=True`: u += (x - u)/tau | `time_constant`, `scaled_input` | 1 - 1/time_constant | 1/time_constant |
//!
//! With `scaled_input` kappa is 1 - lambda, whichever of the two is given.
//!
//! Backward, with D the [surrogate gradient](Surrogate) at u(t) - V_th, and gs, gu and gh the
//! gradients of the loss to s, u and h:
//!
//! ```text
//! gh(t) = lambda · gu(t+1)
//! gs'(t) = gs(t) - gh(t) · u(t)                  hard reset; soft: gs(t) - gh(t) · V_th; detached: gs(t)
//! gu(t) = gs'(t) · D(t) + gh(t) · (1 - s(t))     hard reset; soft: gs'(t) · D(t) + gh(t)
//! gx(t) = kappa · gu(t)
//! ```
//!
//! A detached reset takes s in h(t) for a number. A learned decay (PLIF, Fang et al., ICCV 2021) is
//! lambda = 1 - sigmoid(a) with a = -ln(time_constant - 1) at the start, so that sigmoid(a) =
//! 1/time_constant. The gradients to what is learned are sums over timesteps and neurons:
//!
//! ```text
//! g(V_th)   = - sum gs'(t) · D(t)                and of a soft reset  - sum gh(t) · s(t)
//! g(lambda) = sum gu(t) · h(t-1)                 and of a scaled input  - sum gu(t) · x(t)
//! ```
//!
//! Each layer of neurons has an a and a V_th of its own, trained with the weights and without weight
//! decay.
//!
//! With `activation = "relu"` there is no potential, and s(t) = max(0, x(t)): a network without spikes.
//!
//! The neuron of the paper (hard reset with its gradient, input that is not scaled, nothing learned,
//! Dspike) is computed by [`Lif`](super::Lif), in kernels. All others are tensor operations over
//! timesteps in one autograd node, which keeps the currents and computes the potentials again.

mod layer;
mod operations;
mod settings;
mod surrogate;
#[cfg(test)]
mod tests;

pub use layer::Neurons;
pub(super) use operations::{Dynamics, Number, spikes};
pub use settings::{Activation, NeuronSettings, Reset};
pub use surrogate::{Dspike, Surrogate};
