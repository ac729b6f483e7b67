"""One search step of LitE-SNN in plain PyTorch: the numbers that `plugins/tests/search_step.rs` compares litesnn with.

Written from the formulas of the papers, as literally as they can be: a loop over timesteps for the neuron, one convolution and
one normalisation for each candidate of each edge, autograd for everything but the three straight-through rules.

    python3 -m venv .venv
    .venv/bin/pip install torch safetensors numpy
    .venv/bin/python search_step.py          # writes search_step.safetensors and search_step.txt beside this file

Everything is float32 on the CPU. Parameters have litesnn's names. Keys of the file:

    images, labels             the batch
    parameter/NAME             before the step
    first/loss                 L_CE of the first pass
    first/gradient/NAME        its gradient to each weight, not yet clipped
    first/weight/NAME          each weight after clipping and one step of SGD
    second/NAME                cross_entropy, memory, compute, total of the second pass, with the new weights
    second/gradient/NAME       gradient of the total to scores, bit logits, architecture logits and timestep logits
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

SEED = 7

# The settings of the test.
T, BATCH, CHANNELS, SIZE, CLASSES = 3, 3, 1, 8, 4
LEVELS, NODES, NODE_CHANNELS = [0, 1], 2, 2
BITS, PRUNE_RATE = [1, 2, 4], 0.5
TAU, THRESHOLD, TEMPERATURE = 0.2, 0.5, 3.0
LAMBDA_MEMORY, LAMBDA_COMPUTE = 5e-4, 5e-5
CLIP, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 5.0, 0.05, 0.9, 3e-2  # a hundredth would not show in one step

# Step c_b of the Gaussian quantiser for a weight of unit standard deviation.
QUANTISER_STEP = {1: 1.596, 2: 0.996, 4: 0.336}

HERE = Path(__file__).parent


class Margins:
    """How close values come to where a function jumps: there, rounding alone would change the result."""

    def __init__(self):
        self.membrane = self.rounding = self.cut = math.inf

    def of_membrane(self, u):
        # Spikes jump at the threshold, the surrogate's slope half a unit from it.
        for edge in (THRESHOLD, THRESHOLD - 0.5, THRESHOLD + 0.5):
            self.membrane = min(self.membrane, (u - edge).abs().min().item())

    def of_rounding(self, weight, step, bits):
        levels = 2 ** (bits - 1)
        for boundary in range(-levels + 1, levels):
            self.rounding = min(self.rounding, (weight - boundary * step).abs().min().item())

    def of_cut(self, sorted_scores, removed):
        self.cut = min(self.cut, (sorted_scores[removed] - sorted_scores[removed - 1]).item())


margins = Margins()


# --- the three rules that replace a derivative ---------------------------------------------------------------------------


class Spike(torch.autograd.Function):
    """s = 1 if u > V; ds/du is Dspike's: b / (2 tanh(b/2)) (1 - tanh^2(b (u - V))) for |u - V| < 1/2, else 0."""

    @staticmethod
    def forward(ctx, u):
        margins.of_membrane(u)
        ctx.save_for_backward(u)
        return (u > THRESHOLD).float()

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        b = TEMPERATURE
        slope = b / (2 * math.tanh(b / 2)) * (1 - torch.tanh(b * (u - THRESHOLD)) ** 2)
        inside = (u - THRESHOLD).abs() < 0.5
        return gradient * torch.where(inside, slope, torch.zeros_like(u))


class Quantise(torch.autograd.Function):
    """Q_b(w) = clamp((round(w/d + 1/2) - 1/2) d, +-(2^b/2 - 1/2) d), d = c_b std(W); dQ/dw = 1."""

    @staticmethod
    def forward(ctx, weight, bits):
        step = QUANTISER_STEP[bits] * weight.std(unbiased=True)
        margins.of_rounding(weight, step, bits)
        limit = (2**bits / 2 - 0.5) * step
        return torch.minimum(torch.maximum((torch.round(weight / step + 0.5) - 0.5) * step, -limit), limit)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class Mask(torch.autograd.Function):
    """Zeros on the floor(rate n) smallest magnitudes, ones on the others; dM/d|S| = 1."""

    @staticmethod
    def forward(ctx, magnitude):
        removed = int(PRUNE_RATE * magnitude.numel())
        ascending, order = magnitude.flatten().sort()
        margins.of_cut(ascending, removed)
        mask = torch.ones_like(ascending)
        mask[order[:removed]] = 0.0
        return mask.view_as(magnitude)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


# --- the network ---------------------------------------------------------------------------------------------------------


def neuron(current):
    """u(t) = tau u(t-1) (1 - s(t-1)) + x(t), for current [T, B, C, H, W]."""
    spikes = []
    u = s = torch.zeros_like(current[0])
    for t in range(T):
        u = TAU * u * (1 - s) + current[t]
        s = Spike.apply(u)
        spikes.append(s)
    return torch.stack(spikes)


def normalise(x, gamma, beta):
    """Batch normalisation of [N, C, H, W] by the statistics of the batch."""
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * gamma.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1)


def convolve(spikes, weight, stride, gamma, beta):
    """Convolution and normalisation of [T, B, C, H, W]: the batch of all timesteps together."""
    steps, batch = spikes.shape[:2]
    current = F.conv2d(spikes.reshape(steps * batch, *spikes.shape[2:]), weight, stride=stride, padding=1)
    current = normalise(current, gamma, beta)
    return current.reshape(steps, batch, *current.shape[1:])


def source_names(node):
    return ["s0", "s1"] + [f"n{before}" for before in range(node)]


def candidates(source):
    """Candidates with a convolution; between nodes, skip is the identity."""
    return ["skip", "conv3x3"] if source in ("s0", "s1") else ["conv3x3"]


EDGES = [(node, source) for node in range(NODES) for source in source_names(node)]


def norm_slot(source, node, operation):
    """The place of a convolution in its source's list of scales and shifts: by node, then by candidate."""
    slots = [(n, o) for (n, s) in EDGES if s == source for o in candidates(s)]
    return slots.index((node, operation))


def comp_conv_weight(p, name, cell):
    """CompConv: W_out = M (.) sum_b softmax(beta)_b Q_b(W)."""
    weight, scores = p[f"{name}.weight"], p[f"{name}.scores"]
    share = torch.softmax(p[f"gaussian-quantize.cell{cell}.bit_logits"], 0)
    mixed = sum(share[i] * Quantise.apply(weight, bits) for i, bits in enumerate(BITS))
    return Mask.apply(scores.abs()) * mixed


def expected_bits(p, cell):
    """b = sum_i softmax(beta)_i b_i"""
    share = torch.softmax(p[f"gaussian-quantize.cell{cell}.bit_logits"], 0)
    return sum(share[i] * bits for i, bits in enumerate(BITS))


def forward(p, images):
    """Logits [T, B, K], and for each CompConv: cell, weights, output map, softmax(alpha), spikes read [T, B, C, H, W]."""
    alpha = torch.softmax(p["architecture_logits"], 1)
    repeated = torch.stack([images] * T)
    stem = neuron(convolve(repeated, p["stem.weight"], 1, p["stem.norm.gamma"], p["stem.norm.beta"]))
    outputs, levels = [stem, stem], [0, 0]
    layers = []
    for cell, level in enumerate(LEVELS):
        width = NODE_CHANNELS * 2**level
        signals = {"s0": outputs[-2], "s1": outputs[-1]}
        strides = {"s0": 2 ** (level - levels[-2]), "s1": 2 ** (level - levels[-1])}
        for node in range(NODES):
            current = 0
            for edge, (to, source) in enumerate(EDGES):
                if to != node:
                    continue
                if source not in ("s0", "s1"):
                    current = current + alpha[edge, 0] * signals[source]
                for operation in candidates(source):
                    name = f"cell{cell}.from_{source}.n{node}.{operation}"
                    weight = comp_conv_weight(p, name, cell)
                    first = norm_slot(source, node, operation) * width
                    gamma = p[f"cell{cell}.from_{source}.norm.gamma"][first : first + width]
                    beta = p[f"cell{cell}.from_{source}.norm.beta"][first : first + width]
                    out = convolve(signals[source], weight, strides.get(source, 1), gamma, beta)
                    share = alpha[edge, 0 if operation == "skip" else 1]
                    current = current + share * out
                    layers.append((cell, weight.numel(), out.shape[-2] * out.shape[-1], share, signals[source].detach()))
            signals[f"n{node}"] = neuron(current)
        outputs.append(torch.cat([signals[f"n{node}"] for node in range(NODES)], dim=2))
        levels.append(level)
    logits = [outputs[-1][t].mean(dim=(2, 3)) @ p["classifier.weight"].T + p["classifier.bias"] for t in range(T)]
    return torch.stack(logits), layers


# --- the losses ----------------------------------------------------------------------------------------------------------


def cross_entropy(p, logits, labels):
    """Eq. 17: sum_i w_i CE((1/i) sum_{t <= i} O(t), y), w = softmax(psi)"""
    w = torch.softmax(p["timesteps.logits"], 0)
    return sum(w[i - 1] * F.cross_entropy(logits[:i].mean(0), labels) for i in range(1, T + 1))


def memory(p, layers):
    """Eq. 18: sum over layers of (1 - p) b weights, in bits"""
    return sum((1 - PRUNE_RATE) * expected_bits(p, cell) * weights for cell, weights, *_ in layers)


def compute(p, layers):
    """Eq. 12, 14, 20: sum over layers of b softmax(alpha) (1 - p) s weights H W, for one image.

    s = sum_i w_i sum_{t <= i} s(t), with s(t) the mean over images and input neurons of the spikes at t."""
    w = torch.softmax(p["timesteps.logits"], 0)
    total = 0
    for cell, weights, area, share, spikes in layers:
        rates = [spikes[t].mean() for t in range(T)]
        s = sum(w[i - 1] * sum(rates[:i]) for i in range(1, T + 1))
        total = total + expected_bits(p, cell) * share * (1 - PRUNE_RATE) * s * weights * area
    return total


# --- parameters and data -------------------------------------------------------------------------------------------------


def initial_parameters():
    p = {}
    normal = lambda *shape: torch.randn(*shape)

    def norm(name, channels):
        p[f"{name}.gamma"] = 1 + 0.3 * normal(channels)
        p[f"{name}.beta"] = 0.2 + 0.3 * normal(channels)

    stem = NODES * NODE_CHANNELS
    p["stem.weight"] = 0.3 * normal(stem, CHANNELS, 3, 3)
    norm("stem.norm", stem)
    inputs = [stem, stem]
    for cell, level in enumerate(LEVELS):
        width = NODE_CHANNELS * 2**level
        channels = {"s0": inputs[-2], "s1": inputs[-1]}
        for source in source_names(NODES):
            count = 0
            for node in (node for node, s in EDGES if s == source):
                for operation in candidates(source):
                    name = f"cell{cell}.from_{source}.n{node}.{operation}"
                    shape = (width, channels.get(source, width), 3, 3)
                    p[f"{name}.weight"] = 0.2 * normal(*shape)
                    p[f"{name}.scores"] = 0.5 * normal(*shape)
                    count += 1
            if count:
                norm(f"cell{cell}.from_{source}.norm", count * width)
        p[f"gaussian-quantize.cell{cell}.bit_logits"] = 0.5 * normal(len(BITS))
        inputs.append(NODES * width)
    p["classifier.weight"] = 3.0 * normal(CLASSES, inputs[-1])
    p["classifier.bias"] = 0.3 * normal(CLASSES)
    p["architecture_logits"] = 0.5 * normal(len(EDGES), 2)
    p["timesteps.logits"] = 0.5 * normal(T)
    return {name: value.requires_grad_() for name, value in p.items()}


def is_weight(name):
    return not name.endswith((".scores", "_logits", "timesteps.logits"))


def main():
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    p = initial_parameters()
    images = torch.randn(BATCH, CHANNELS, SIZE, SIZE)
    labels = torch.randint(CLASSES, (BATCH,))
    weights = {name: value for name, value in p.items() if is_weight(name)}
    others = {name: value for name, value in p.items() if not is_weight(name)}
    stored = {"images": images, "labels": labels}
    stored |= {f"parameter/{name}": value.detach().clone() for name, value in p.items()}
    text = [f"torch {torch.__version__}, seed {SEED}", ""]

    # First pass: the weights.
    logits, _ = forward(p, images)
    loss = cross_entropy(p, logits, labels)
    loss.backward()
    stored["first/loss"] = loss.detach()
    stored |= {f"first/gradient/{name}": value.grad.clone() for name, value in weights.items()}
    norm = torch.nn.utils.clip_grad_norm_(weights.values(), CLIP).item()
    torch.optim.SGD(weights.values(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY).step()
    stored |= {f"first/weight/{name}": value.detach().clone() for name, value in weights.items()}
    text += [f"first pass:  L_CE {loss.item():.6f}, norm of the gradient {norm:.4f}, clipped to {CLIP:g}"]

    # Second pass: everything else.
    for value in p.values():
        value.grad = None
    logits, layers = forward(p, images)
    terms = {
        "cross_entropy": cross_entropy(p, logits, labels),
        "memory": memory(p, layers),
        "compute": compute(p, layers),
    }
    total = terms["cross_entropy"] + LAMBDA_MEMORY * terms["memory"] + LAMBDA_COMPUTE * terms["compute"]
    total.backward()
    stored |= {f"second/{name}": value.detach() for name, value in (terms | {"total": total}).items()}
    stored |= {f"second/gradient/{name}": value.grad.clone() for name, value in others.items()}
    text += [
        f"second pass: L_CE {terms['cross_entropy'].item():.6f}, L_mem {terms['memory'].item():.3f} bits "
        f"(x lambda {LAMBDA_MEMORY * terms['memory'].item():.6f}), L_comp {terms['compute'].item():.3f} bit-operations "
        f"(x lambda {LAMBDA_COMPUTE * terms['compute'].item():.6f}), total {total.item():.6f}",
        "",
    ]

    text += [
        "distance to the nearest jump:",
        f"  membrane potential from 0, the threshold, 1   {margins.membrane:.2e}",
        f"  weight from a rounding boundary               {margins.rounding:.2e}",
        f"  scores on both sides of the mask's cut        {margins.cut:.2e}",
        "",
        "gradients, largest magnitude:",
    ]
    gradients = {key: value for key, value in stored.items() if "/gradient/" in key}
    text += [f"  {key:55} {value.abs().max().item():.6e}" for key, value in gradients.items()]
    text += ["", "mean spikes read at a timestep, by layer: " + " ".join(f"{spikes.mean().item():.3f}" for *_, spikes in layers)]

    print("\n".join(text))
    assert margins.membrane > 1e-5 and margins.rounding > 1e-6 and margins.cut > 1e-6, "too close to a jump: change the seed"
    assert norm > CLIP, "the gradient has to be clipped"
    assert all(value.abs().max() > 0 for value in gradients.values()), "a gradient is all zero"
    save_file(stored, HERE / "search_step.safetensors")
    (HERE / "search_step.txt").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
