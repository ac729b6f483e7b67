"""Spikes and gradients of neurons in plain PyTorch: the numbers that `framework/tests/pytorch.rs` compares litesnn's with.

A neuron is a loop over timesteps and a spike is a `torch.autograd.Function`, whose backward pass multiplies by the surrogate
gradient as its paper prints it. Everything is float64.

    python3 -m venv .venv
    .venv/bin/pip install torch safetensors
    .venv/bin/python neurons.py        # writes neurons.safetensors beside this file, and prints neurons.txt

Keys of the file: `currents` [T, N], `upstream` [T, N]; for each surrogate S, number of timesteps T and form F `S/T/F/spikes`,
`S/T/F/currents` (the gradient to them) and, where they are learned, `S/T/F/leak` and `S/T/F/threshold`. F has a letter for each
choice: h or s, hard or soft reset; a or d, attached or detached; r or i, raw currents or scaled ones; f or l, fixed or learned
decay and threshold. With a T of `c4` the currents are those of the first timestep, at each of 4.
"""

import itertools
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

SEED, TIMESTEPS, COUNT = 3, 5, 24
TIME_CONSTANT, THRESHOLD = 2.5, 0.6
HERE = Path(__file__).parent


def dspike(d, b=3.0):
    return b * (1 - torch.tanh(b * d) ** 2) / (2 * math.tanh(b / 2)) * (d.abs() < 0.5)


def atan(d, alpha=2.0):
    return alpha / 2 / (1 + (math.pi / 2 * alpha * d) ** 2)


def triangle(d):
    return torch.clamp(1 - d.abs(), min=0)


def rectangle(d):
    return (d.abs() < 0.5).double()


def sigmoid(d, alpha=4.0):
    return alpha * torch.sigmoid(alpha * d) * torch.sigmoid(-alpha * d)


SURROGATES = [dspike, atan, triangle, rectangle, sigmoid]


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(context, distance, surrogate):
        context.save_for_backward(distance)
        context.surrogate = surrogate
        return (distance > 0).double()

    @staticmethod
    def backward(context, gradient):
        (distance,) = context.saved_tensors
        return gradient * context.surrogate(distance), None


def run(currents, surrogate, leak, threshold, reset, gradient, scale):
    """PLIF's convention: 1/tau = sigmoid(leak)."""
    share = torch.sigmoid(leak)
    left, spikes, margin = torch.zeros_like(currents[0]), [], math.inf
    for current in currents:
        potential = (1 - share) * left + (share * current if scale == "i" else current)
        spike = Spike.apply(potential - threshold, surrogate)
        passed = spike if gradient == "a" else spike.detach()
        left = potential * (1 - passed) if reset == "h" else potential - threshold * passed
        spikes.append(spike)
        margin = min(margin, (potential - threshold).abs().min().item())
    return torch.stack(spikes), margin


def main():
    generator = torch.Generator().manual_seed(SEED)
    normal = lambda: torch.randn(TIMESTEPS, COUNT, generator=generator, dtype=torch.float64)
    kept = {"currents": normal() * 0.8 + 0.5, "upstream": normal()}
    margin, rates = math.inf, {}
    for surrogate, steps in itertools.product(SURROGATES, ["1", "2", "5", "c4"]):
        count = int(steps[-1])
        for form in itertools.product("hs", "ad", "ri", "fl"):
            reset, gradient, scale, learned = form
            given = kept["currents"][:1] if steps[0] == "c" else kept["currents"][:count]
            given = given.clone().requires_grad_()
            # float32 values, which litesnn's parameters have
            number = lambda value: torch.tensor([value]).double().requires_grad_(learned == "l")
            leak, threshold = number(-math.log(TIME_CONSTANT - 1)), number(THRESHOLD)
            if learned == "f":
                leak = torch.tensor([-math.log(TIME_CONSTANT - 1)], dtype=torch.float64)
                threshold = torch.tensor([THRESHOLD], dtype=torch.float64)
            currents = [given[0]] * count if steps[0] == "c" else list(given)
            spikes, nearest = run(currents, surrogate, leak, threshold, reset, gradient, scale)
            (spikes * kept["upstream"][:count]).sum().backward()
            name = f"{surrogate.__name__}/{steps}/{''.join(form)}"
            kept[f"{name}/spikes"] = spikes.detach()
            kept[f"{name}/currents"] = given.grad[0] if steps[0] == "c" else given.grad
            if learned == "l":
                kept[f"{name}/leak"], kept[f"{name}/threshold"] = leak.grad, threshold.grad
            margin = min(margin, nearest)
            rates[f"{steps}/{''.join(form[:1] + form[2:3])}"] = spikes.mean().item()
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, HERE / "neurons.safetensors")
    lines = [f"torch {torch.__version__.split('+')[0]}, seed {SEED}, {len(kept)} tensors", ""]
    lines += [f"rate {rate:.4f}   {name}" for name, rate in rates.items()]
    lines += ["", f"distance of the nearest potential from the threshold: {margin:.2e}"]
    text = "\n".join(lines)
    print(text)
    (HERE / "neurons.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
