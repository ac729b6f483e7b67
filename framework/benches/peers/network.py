"""The medium design of LitE-SNN, retrained and evaluated: litesnn beside SpikingJelly and snnTorch, in one run.

    framework/benches/peers/run.sh network           # makes a virtual environment, then runs this

Each library is used as its documentation has it: SpikingJelly in its multi-step mode, time folded into the batch of stateless layers by
SeqToANNContainer; snnTorch in a loop over timesteps with Leaky neurons, every module called at each of them, so that its weights are
quantised and pruned each time, as the code that the authors released does. Both have the weights, the images and the quantiser, masks,
surrogate and heads of litesnn's network, which `litesnn bench ... --save` writes.

Before anything is timed, logits of a training pass are compared with litesnn's. A potential that rounding moves over the threshold
changes what follows, and through the batch's statistics all images: so seeds are tried until the logits agree. A network that differs
anywhere, in its threshold by 1e-4 for example, agrees for none.

SpikingJelly's normalisation takes its statistics over all timesteps, snnTorch's over each: litesnn is compared and timed with the same.
Every measurement is a process of its own, in turn: litesnn, SpikingJelly, snnTorch, litesnn, ... Its memory is the largest resident size
beyond that before the network was built.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import torch
import torch.nn.functional as F
from dspike import TAU, THRESHOLD, Dspike
from torch import nn

ROOT = Path(__file__).resolve().parents[3]
DESIGN = ROOT / "experiments/designs/lite-snn-medium.toml"
LEVELS, WIDTH, NODES, CLASSES = [0, 0, 1, 1, 1, 2, 2, 2], 48, 3, 10
PRUNED, OUTSIDE_BITS, AUXILIARY = 0.8, 4, 0.4
# Step of the Gaussian quantiser for a weight of unit standard deviation.
STEP = {1: 1.596, 2: 0.996, 4: 0.336}
# Seeds of weights and images that are tried.
SEEDS = 8
PEERS = {"SpikingJelly": "all-timesteps", "snnTorch": "each-timestep"}


class Straight(torch.autograd.Function):
    """The second argument, with the gradient to the first."""

    @staticmethod
    def forward(context, value, replaced):
        return replaced.view_as(replaced)

    @staticmethod
    def backward(context, gradient):
        return gradient, None


class Compressed(nn.Module):
    """A weight that is quantised and pruned whenever it is used."""

    def __init__(self, shape, bits):
        super().__init__()
        self.weight, self.scores = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape))
        self.bits = bits

    def value(self):
        weight = self.weight.detach()
        step, limit = STEP[self.bits] * weight.std(), 2**self.bits / 2 - 0.5
        levels = (torch.round(weight / step + 0.5) - 0.5).clamp(-limit, limit) * step
        magnitude = self.scores.abs()
        kept = magnitude.numel() - int(PRUNED * magnitude.numel())
        mask = torch.zeros_like(magnitude.detach()).flatten()
        mask[magnitude.detach().flatten().topk(kept, sorted=False).indices] = 1
        return Straight.apply(self.weight, levels) * Straight.apply(magnitude, mask.view_as(magnitude))


class Convolution(Compressed):
    """Convolution and normalisation; the input is resized first where it is larger."""

    def __init__(self, inputs, outputs, kernel, padding, bits, size=None):
        super().__init__((outputs, inputs, kernel, kernel), bits)
        self.norm = nn.BatchNorm2d(outputs)
        self.padding, self.size = padding, size

    def forward(self, x):
        if self.size is not None:
            x = F.interpolate(x, size=(self.size, self.size))
        return self.norm(F.conv2d(x, self.value(), padding=self.padding))


class Linear(Compressed):
    def __init__(self, inputs):
        super().__init__((CLASSES, inputs), OUTSIDE_BITS)
        self.norm = nn.BatchNorm1d(CLASSES)

    def forward(self, x):
        return self.norm(F.linear(x, self.value()))


class Network(nn.Module):
    """The network for one step, or for all of them at once: `stateless` wraps what has no state, `neuron` makes neurons."""

    def __init__(self, design, stateless, neuron):
        super().__init__()
        edges = [(edge["node"], edge["from"]) for edge in design["edge"]]
        bits = design["compression"]["gaussian-quantize"]
        stem = NODES * WIDTH
        self.stem, self.fire_stem = Convolution(3, stem, 3, 1, OUTSIDE_BITS), neuron()
        self.cells, self.neurons = nn.ModuleList(), nn.ModuleList()
        maps = [(stem, 0), (stem, 0)]
        for index, level in enumerate(LEVELS):
            width, cell = WIDTH << level, nn.ModuleDict()
            for node, source in edges:
                channels, before = maps[int(source[1])] if source[0] == "s" else (width, level)
                size = 32 >> level if before < level else None
                convolution = Convolution(channels, width, 3, 1, bits[f"cell{index}"]["bits"], size)
                cell[f"from_{source}_n{node}"] = stateless(convolution)
            self.cells.append(cell)
            self.neurons.append(nn.ModuleList(neuron() for _ in range(NODES)))
            maps = [maps[1], (NODES * width, level)]
        self.edges = edges
        self.fire_pooled, self.classifier = neuron(), stateless(Linear(NODES * (WIDTH << 2)))
        self.fire_auxiliary = nn.ModuleList(neuron() for _ in range(3))
        self.pool = stateless(nn.AvgPool2d(5, 3))
        self.reduce = stateless(Convolution(NODES * (WIDTH << 2), 128, 1, 0, OUTSIDE_BITS))
        self.gather = stateless(Convolution(128, 768, 2, 0, OUTSIDE_BITS))
        self.auxiliary = stateless(Linear(768))

    def forward(self, stem):
        """From the stem's current, of one timestep or of all."""
        spikes = self.fire_stem(stem)
        before, last, auxiliary = spikes, spikes, None
        for index, (cell, neurons) in enumerate(zip(self.cells, self.neurons)):
            signals = {"s0": before, "s1": last}
            for node in range(NODES):
                currents = [cell[f"from_{s}_n{node}"](signals[s]) for to, s in self.edges if to == node]
                signals[f"n{node}"] = neurons[node](sum(currents[1:], currents[0]))
            before, last = last, torch.cat([signals[f"n{node}"] for node in range(NODES)], dim=-3)
            if self.training and index == 2 * len(LEVELS) // 3:
                x = self.fire_auxiliary[0](self.pool(last))
                x = self.fire_auxiliary[1](self.reduce(x))
                x = self.fire_auxiliary[2](self.gather(x))
                auxiliary = self.auxiliary(x.flatten(-3))
        return self.classifier(self.fire_pooled(last.mean(dim=(-2, -1)))), auxiliary


def spiking_jelly(design, timesteps):
    from spikingjelly.activation_based import functional, layer, neuron

    def make():
        # H = V - V / tau + X: tau = 1.25 keeps a fifth.
        return neuron.LIFNode(
            tau=1 / (1 - TAU),
            decay_input=False,
            v_threshold=THRESHOLD,
            v_reset=0.0,
            surrogate_function=Dspike.apply,
            detach_reset=False,
            step_mode="m",
        )

    network = Network(design, layer.SeqToANNContainer, make)

    def run(images):
        functional.reset_net(network)
        stem = network.stem(images)
        return network(stem.unsqueeze(0).expand(timesteps, *stem.shape))

    return network, run


def snn_torch(design, timesteps):
    import snntorch
    from snntorch import utils

    def make():
        return snntorch.Leaky(
            beta=TAU, threshold=THRESHOLD, reset_mechanism="zero", spike_grad=Dspike.apply, init_hidden=True
        )

    network = Network(design, lambda module: module, make)

    def run(images):
        utils.reset(network)
        stem = network.stem(images)
        outputs = [network(stem) for _ in range(timesteps)]
        logits = torch.stack([logits for logits, _ in outputs])
        auxiliary = None if outputs[0][1] is None else torch.stack([auxiliary for _, auxiliary in outputs])
        return logits, auxiliary

    return network, run


def load(network, saved):
    """litesnn's parameters by their names; its normalisations are one for all convolutions that read a source."""

    def take(module, name, norm, first=0):
        module = module[0] if isinstance(module, nn.Sequential) else module
        module.weight.data.copy_(saved[f"parameter/{name}.weight"])
        module.scores.data.copy_(saved[f"parameter/{name}.scores"])
        count = module.weight.shape[0]
        module.norm.weight.data.copy_(saved[f"parameter/{norm}.gamma"][first : first + count])
        module.norm.bias.data.copy_(saved[f"parameter/{norm}.beta"][first : first + count])

    take(network.stem, "stem", "stem.norm")
    for index, cell in enumerate(network.cells):
        next_channel = {}
        for node, source in network.edges:
            at, first = f"cell{index}.from_{source}", next_channel.get(source, 0)
            take(cell[f"from_{source}_n{node}"], f"{at}.n{node}.conv3x3", f"{at}.norm", first)
            next_channel[source] = first + (WIDTH << LEVELS[index])
    take(network.classifier, "classifier", "classifier.norm")
    for module, name in [(network.reduce, "reduce"), (network.gather, "gather"), (network.auxiliary, "classifier")]:
        take(module, f"auxiliary.{name}", f"auxiliary.{name}.norm")


def memory():
    """Resident now, and the largest so far, in bytes."""
    now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return now, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def child(options):
    """One peer: compares, or times the two works."""
    from safetensors.torch import load_file

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    design = tomllib.loads(DESIGN.read_text())
    saved = load_file(options.saved)
    idle, _ = memory()
    network, run = {"SpikingJelly": spiking_jelly, "snnTorch": snn_torch}[options.child](design, design["timesteps"])
    load(network, saved)
    images = saved["images"]
    if options.compare:
        with torch.no_grad():
            made = dict(zip(["logits", "auxiliary"], run(images)))
        print(json.dumps({key: (value - saved[key]).abs().flatten().tolist() for key, value in made.items()}))
        return
    labels = torch.randint(CLASSES, (len(images),))
    descent = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=3e-4)

    def step():
        descent.zero_grad()
        logits, auxiliary = run(images)
        loss = F.cross_entropy(logits.mean(0), labels) + AUXILIARY * F.cross_entropy(auxiliary.mean(0), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        descent.step()

    def evaluate():
        with torch.no_grad():
            run(images)

    def seconds(work):
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    step()
    step()
    _, peak = memory()
    retrain = [seconds(step) for _ in range(options.repeats)]
    network.eval()
    evaluate()
    evaluation = [seconds(evaluate) for _ in range(options.repeats)]
    print(json.dumps({"retrain-step": retrain, "evaluate": evaluation, "memory": peak - idle}))


def litesnn(options, work, normalisation, *more, repeats=None):
    command = [options.litesnn, "bench", work, "--json", "--device", "cpu", "--threads", str(options.threads)]
    command += ["--batch", str(options.batch), "--repeats", str(repeats or options.repeats)]
    command += ["--set", f'space.spike-dhs.normalisation="{normalisation}"', *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def peer(options, name, saved, *more):
    command = [sys.executable, __file__, "--child", name, "--saved", saved, *more]
    command += ["--threads", str(options.threads), "--repeats", str(options.repeats)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    arguments = argparse.ArgumentParser(description="Retraining and evaluation: litesnn, SpikingJelly, snnTorch")
    arguments.add_argument("--litesnn", default="target/release/litesnn", help="the built command")
    arguments.add_argument("--batch", type=int, default=4)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    for hidden in ["--child", "--saved"]:
        arguments.add_argument(hidden, help=argparse.SUPPRESS)
    arguments.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        return child(options)
    options.litesnn = str(Path(options.litesnn).resolve())

    result = {"batch": options.batch, "threads": options.threads, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as folder:
        saved = {name: f"{folder}/{name}.safetensors" for name in PEERS}
        for name, normalisation in PEERS.items():
            found = []
            for seed in range(SEEDS):
                arguments = ["--save", saved[name], "--set", f"experiment.seeds=[{seed}]"]
                litesnn(options, "retrain-step", normalisation, *arguments, repeats=1)
                apart = peer(options, name, saved[name], "--compare")
                found.append({key: [statistics.median(all), max(all)] for key, all in apart.items()})
                if all(median < 1e-3 for median, _ in found[-1].values()):
                    break
            else:
                raise AssertionError(f"{name}: logits agree for no seed; median and largest difference {found}")
            result[f"{name}: differences, median and largest, by seed"] = found
        for name, normalisation in PEERS.items():
            rounds = []
            for _ in range(options.rounds):
                own = {work: litesnn(options, work, normalisation) for work in ["retrain-step", "evaluate"]}
                other = peer(options, name, saved[name])
                rounds.append((own, other))
            of = lambda values: statistics.median(values)
            for work in ["retrain-step", "evaluate"]:
                result[f"{name}: {work}"] = {
                    "seconds": of(of(other[work]) for _, other in rounds),
                    "litesnn_seconds": of(own[work]["seconds"]["median"] for own, _ in rounds),
                    "times_slower": of(of(other[work]) / own[work]["seconds"]["median"] for own, other in rounds),
                }
            step = [(own["retrain-step"], other) for own, other in rounds]
            result[f"{name}: memory of the retrain step in MB, and litesnn's"] = [
                of(other["memory"] for _, other in step) / 1e6,
                of(own["peak_memory_bytes"] - own["idle_memory_bytes"] for own, _ in step) / 1e6,
            ]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
