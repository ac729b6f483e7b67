"""Operations of a network of LitE-SNN as NeuroBench counts them: the numbers that `plugins/tests/effective_acs.rs` compares
litesnn's counted operations with.

The network is plain PyTorch, one module for each convolution, a loop over timesteps for the neurons. NeuroBench's metric
`SynapticOperations` hangs on its convolutions: Effective_ACs are kept weights that spikes reach, Effective_MACs those that numbers
of the image reach. The classifier is no module, because litesnn counts it in the size alone.

    python3 -m venv .venv
    .venv/bin/pip install neurobench==2.3.0 safetensors
    .venv/bin/python effective_acs.py        # writes effective_acs.safetensors and effective_acs.txt beside this file

Keys of the file, all float32: `images`; `parameter/NAME` and `buffer/NAME` by litesnn's names; `DOWNSAMPLING/acs` and
`DOWNSAMPLING/macs` per image, in float64, for the same parameters.
"""

import importlib.metadata
from pathlib import Path

import torch
import torch.nn.functional as F
from neurobench.metrics.workload import SynapticOperations
from neurobench.models import TorchModel
from safetensors.torch import save_file
from torch import nn

SEED = 5

# The settings of the test.
T, IMAGES, CHANNELS, SIZE, CLASSES = 3, 4, 2, 9, 3
LEVELS, NODE_CHANNELS = [0, 1, 2], 2
EDGES = [(0, "s0"), (0, "s1"), (1, "s1"), (1, "n0")]
TAU, THRESHOLD = 0.2, 0.5
KEPT = 0.4

HERE = Path(__file__).parent


class Margin:
    """How close a potential comes to the threshold: there, rounding alone would change a spike."""

    value = float("inf")


class Neuron:
    """u(t) = tau u(t-1) (1 - s(t-1)) + x(t), s = u > V_th."""

    def __init__(self):
        self.potential = self.spike = None

    def __call__(self, current):
        kept = 0 if self.potential is None else TAU * self.potential * (1 - self.spike)
        self.potential = kept + current
        self.spike = (self.potential > THRESHOLD).float()
        Margin.value = min(Margin.value, (self.potential - THRESHOLD).abs().min().item())
        return self.spike


def convolution(inputs, outputs, stride, generator):
    """3x3 without bias; a part of its weights is zero."""
    module = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    weight = torch.randn(module.weight.shape, generator=generator) * (2 / (9 * outputs)) ** 0.5
    weight[torch.rand(weight.shape, generator=generator) > KEPT] = 0
    module.weight.data = weight
    return module


def normalisation(channels, generator):
    norm = nn.BatchNorm2d(channels)
    norm.weight.data = 1 + 0.3 * torch.randn(channels, generator=generator)
    norm.bias.data = 0.2 + 0.3 * torch.randn(channels, generator=generator)
    norm.running_mean = 0.1 * torch.randn(channels, generator=generator)
    norm.running_var = 0.3 + torch.rand(channels, generator=generator)
    return norm


class Network(nn.Module):
    """Stem, cells of two nodes on the edges EDGES, mean over the map, classifier."""

    def __init__(self, downsampling):
        super().__init__()
        self.resize = downsampling == "resize"
        generator = torch.Generator().manual_seed(SEED)
        self.stem = convolution(CHANNELS, 2 * NODE_CHANNELS, 1, generator)
        self.stem_norm = normalisation(2 * NODE_CHANNELS, generator)
        self.convolutions, self.norms = nn.ModuleDict(), nn.ModuleDict()
        self.drops = []
        inputs = [(2 * NODE_CHANNELS, 0)] * 2
        for cell, level in enumerate(LEVELS):
            width = NODE_CHANNELS << level
            self.drops.append({f"s{index}": level - of for index, (_, of) in enumerate(inputs)} | {"n0": 0})
            channels = {f"s{index}": count for index, (count, _) in enumerate(inputs)} | {"n0": width}
            for node, source in EDGES:
                stride = 1 if self.resize else 1 << self.drops[cell][source]
                self.convolutions[f"{cell}-{source}-{node}"] = convolution(channels[source], width, stride, generator)
                self.norms[f"{cell}-{source}-{node}"] = normalisation(width, generator)
            inputs = [inputs[1], (2 * width, level)]
        self.classifier = torch.randn(CLASSES, inputs[1][0], generator=generator) * 0.3
        self.bias = torch.randn(CLASSES, generator=generator) * 0.1

    def edge(self, cell, node, source, spikes):
        drop = self.drops[cell][source]
        if self.resize and drop:
            size = [(side + (1 << drop) - 1) >> drop for side in spikes.shape[2:]]
            spikes = F.interpolate(spikes, size=size, mode="nearest")
        name = f"{cell}-{source}-{node}"
        return self.norms[name](self.convolutions[name](spikes))

    def forward(self, images):
        stem = Neuron()
        neurons = [[Neuron(), Neuron()] for _ in LEVELS]
        logits = []
        for _ in range(T):
            first = stem(self.stem_norm(self.stem(images)))
            s0, s1 = first, first
            for cell in range(len(LEVELS)):
                sources = {"s0": s0, "s1": s1}
                for node in (0, 1):
                    currents = [self.edge(cell, to, source, sources[source]) for to, source in EDGES if to == node]
                    sources[f"n{node}"] = neurons[cell][node](sum(currents))
                s0, s1 = s1, torch.cat([sources["n0"], sources["n1"]], 1)
            logits.append(F.linear(s1.mean((2, 3)), self.classifier, self.bias))
        return torch.stack(logits).mean(0)

    def stored(self):
        """Parameters and buffers by litesnn's names; edges with one source share a normalisation."""
        def of(norm, parts):
            yield from ((f"{norm}.{ours}", torch.cat([getattr(part, theirs).data for part in parts])) for ours, theirs in NORM)

        NORM = [("gamma", "weight"), ("beta", "bias"), ("running_mean", "running_mean"), ("running_variance", "running_var")]
        found = {"stem.weight": self.stem.weight.data, "classifier.weight": self.classifier, "classifier.bias": self.bias}
        found |= dict(of("stem.norm", [self.stem_norm]))
        for cell in range(len(LEVELS)):
            for source in ("s0", "s1", "n0"):
                nodes = [node for node, other in EDGES if other == source]
                for node in nodes:
                    weight = self.convolutions[f"{cell}-{source}-{node}"].weight.data
                    found[f"cell{cell}.from_{source}.n{node}.conv3x3.weight"] = weight
                found |= dict(of(f"cell{cell}.from_{source}.norm", [self.norms[f"{cell}-{source}-{node}"] for node in nodes]))
        return {f"{'buffer' if '.running_' in name else 'parameter'}/{name}": value for name, value in found.items()}


def count(downsampling, images):
    network = Network(downsampling)
    model = TorchModel(network)
    model.register_hooks()
    metric = SynapticOperations()
    with torch.no_grad():
        predictions = model(images)
        found = metric(model, predictions, (images, None))
    model.cleanup_hooks()
    return network, {name: float(value) for name, value in found.items()}


def main():
    images = torch.randn(IMAGES, CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(SEED + 1))
    stored = {"images": images}
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("neurobench", "torch")]
    text = [f"{', '.join(versions)}, seed {SEED}, {T} timesteps, {IMAGES} images, operations an image", ""]
    for downsampling in ("stride", "resize"):
        network, found = count(downsampling, images)
        stored |= network.stored()
        stored[f"{downsampling}/acs"] = torch.tensor(found["Effective_ACs"], dtype=torch.float64)
        stored[f"{downsampling}/macs"] = torch.tensor(found["Effective_MACs"], dtype=torch.float64)
        text.append(f"{downsampling:8}" + "".join(f"{name} {value:12.2f}   " for name, value in found.items()).rstrip())
    text += ["", f"distance of the nearest potential from the threshold: {Margin.value:.2e}"]
    print("\n".join(text))
    assert Margin.value > 1e-5, "too close to a jump: change the seed"
    save_file({name: value.contiguous() for name, value in stored.items()}, HERE / "effective_acs.safetensors")
    (HERE / "effective_acs.txt").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
