"""One training pass of two networks of `layers` in plain PyTorch: what `plugins/tests/layers.rs` compares litesnn with.

Written from the formulas in the plugin's documentation, one operation after another: a loop over timesteps for the neuron, one
convolution and one normalisation for each layer, autograd for everything but the surrogate. Together the two networks have every
kind of layer. SplitMix64, which draws dropout's masks, is written in integers of Python.

    python3 -m venv .venv
    .venv/bin/pip install torch safetensors numpy
    .venv/bin/python layers.py               # writes layers.safetensors and layers.txt beside this file

Everything is float64 on the CPU. Parameters have litesnn's names. Keys of the file, for both networks (`a`, `b`):

    a/images, labels           the batch
    a/parameter/NAME           weights, biases, normalisation; the state of a dropout (int64)
    a/logits                   [T, B, K]
    a/loss                     cross-entropy of the mean logits over the timesteps
    a/gradient/NAME            its gradient to each parameter
    a/running/NAME             running statistics after the pass
    a/rate/NAME                [T], spikes that arrive at an input neuron of a layer at each timestep
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

T, BATCH, CHANNELS, HEIGHT, WIDTH, CLASSES = 3, 3, 2, 16, 12, 3
TAU, THRESHOLD, TEMPERATURE = 0.4, 0.5, 3.0
MASK = 2**64 - 1

HERE = Path(__file__).parent
torch.set_default_dtype(torch.float64)


class Dspike(torch.autograd.Function):
    """A step, and its surrogate b / (2 tanh(b/2)) (1 - tanh^2(b (u - threshold))) where |u - threshold| < 1/2."""

    @staticmethod
    def forward(context, u):
        context.save_for_backward(u)
        return (u > THRESHOLD).to(u.dtype)

    @staticmethod
    def backward(context, gradient):
        (u,) = context.saved_tensors
        slope = TEMPERATURE / (2 * math.tanh(TEMPERATURE / 2)) * (1 - torch.tanh(TEMPERATURE * (u - THRESHOLD)) ** 2)
        return gradient * slope * ((u - THRESHOLD).abs() < 0.5)


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def dropout_mask(state, count, rate):
    key = mix(state & MASK)
    numbers = [mix((key + (index + 1) * 0x9E3779B97F4A7C15) & MASK) for index in range(count)]
    return torch.tensor([float((number >> 40) >= round(rate * 2**24)) for number in numbers])


class Run:
    """A pass of one network; parameters are drawn when they are first asked for."""

    def __init__(self, seed):
        self.random = torch.Generator().manual_seed(seed)
        self.parameters, self.states, self.running, self.rates = {}, {}, {}, {}
        self.margin = math.inf
        self.fired = []

    def draw(self, name, *shape, scale=1.0, shift=0.0):
        value = (torch.rand(*shape, generator=self.random) * 2 - 1) * scale + shift
        # What is stored is float32.
        self.parameters[name] = value.to(torch.float32).to(torch.float64).requires_grad_()
        return self.parameters[name]

    def neuron(self, current):
        """[T, B, ...] to spikes."""
        u, spike, spikes = 0.0, 0.0, []
        for x in current:
            u = TAU * u * (1 - spike) + x
            for edge in (THRESHOLD, THRESHOLD - 0.5, THRESHOLD + 0.5):
                self.margin = min(self.margin, (u - edge).abs().min().item())
            spike = Dspike.apply(u)
            spikes.append(spike)
        out = torch.stack(spikes)
        self.fired.append(out.detach().mean().item())
        return out

    def norm(self, name, x):
        """Over everything but the second axis."""
        gamma = self.draw(f"{name}.norm.gamma", x.shape[1], scale=0.4, shift=0.9)
        beta = self.draw(f"{name}.norm.beta", x.shape[1], scale=0.3, shift=0.3)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        mean, variance = x.mean(axes), x.var(axes, unbiased=False)
        count = x.numel() // x.shape[1]
        self.running[f"{name}.norm.running_mean"] = 0.1 * mean.detach()
        self.running[f"{name}.norm.running_variance"] = 0.9 + 0.1 * variance.detach() * count / (count - 1)
        view = [1, -1] + [1] * (x.dim() - 2)
        normalised = (x - mean.view(view)) / torch.sqrt(variance.view(view) + 1e-5)
        return gamma.view(view) * normalised + beta.view(view)

    def rate(self, name, x, spikes_each):
        self.rates[name] = x.detach().flatten(1).mean(1) * spikes_each

    def conv(self, name, x, outputs, kernel=3, stride=1, padding=1, bias=False, norm=True, spikes_each=1):
        """[T, B, C, H, W] to currents [T, B, C', H', W']."""
        self.rate(name, x, spikes_each)
        folded = x.flatten(0, 1)
        weight = self.draw(f"{name}.weight", outputs, folded.shape[1], kernel, kernel, scale=0.6)
        b = self.draw(f"{name}.bias", outputs, scale=0.3) if bias else None
        y = F.conv2d(folded, weight, b, stride, padding)
        y = self.norm(name, y) if norm else y
        return y.unflatten(0, (x.shape[0], x.shape[1]))

    def linear(self, name, x, outputs, bias=True, norm=False, spikes_each=1, counted=None):
        counted = x if counted is None else counted
        self.rate(name, counted, spikes_each)
        folded = x.flatten(2).flatten(0, 1)
        weight = self.draw(f"{name}.weight", outputs, folded.shape[1], scale=0.9)
        y = folded @ weight.T
        if bias:
            y = y + self.draw(f"{name}.bias", outputs, scale=0.3)
        y = self.norm(name, y) if norm else y
        return y.unflatten(0, (T, BATCH))

    def stem(self, images, outputs, **how):
        current = self.conv("stem", images.unsqueeze(0), outputs, **how)
        self.rates["stem"] = torch.ones(T)
        return self.neuron(current.expand(T, *current.shape[1:]))

    def pooled(self, pool, x):
        return pool(x.flatten(0, 1)).unflatten(0, (T, BATCH))

    def dropout(self, name, x, rate):
        state = int(torch.randint(-(2**62), 2**62, (1,), generator=self.random).item())
        self.states[f"{name}.state"] = torch.tensor([state])
        mask = dropout_mask(state, x[0].numel(), rate).view(x[0].shape)
        return x * mask / (1 - rate)


def network_a(run, images):
    x = run.stem(images, 4, kernel=5, padding=2, bias=True)
    x = run.pooled(lambda x: F.max_pool2d(x, 3, 2, 1), x)
    # A basic block with a projection, and one without.
    inner = run.neuron(run.conv("block1.conv1", x, 6, stride=2))
    current = run.conv("block1.conv2", inner, 6)
    x = run.neuron(current + run.conv("block1.shortcut", x, 6, kernel=1, stride=2, padding=0))
    inner = run.neuron(run.conv("block2.conv1", x, 6))
    x = run.neuron(run.conv("block2.conv2", inner, 6) + x)
    # Spike-element-wise: add, iand with a projection, and.
    a = run.neuron(run.conv("block3.conv2", run.neuron(run.conv("block3.conv1", x, 6)), 6))
    x = a + x
    a = run.neuron(run.conv("block4.conv2", run.neuron(run.conv("block4.conv1", x, 8)), 8))
    x = (1 - a) * run.neuron(run.conv("block4.shortcut", x, 8, kernel=1, padding=0))
    a = run.neuron(run.conv("block5.conv2", run.neuron(run.conv("block5.conv1", x, 8)), 8))
    x = a * x
    x = run.neuron(run.conv("block6.conv", x, 5, bias=True, norm=False))
    x = x.mean((3, 4))
    kept = run.dropout("dropout9", x, 0.4)
    x = run.neuron(run.linear("block7.linear", kept, 7, bias=False, norm=True, spikes_each=12, counted=x))
    x = run.neuron(run.linear("block8.linear", x, 6))
    votes = run.neuron(run.linear("classifier", x, 2 * CLASSES))
    return votes.unflatten(2, (CLASSES, 2)).mean(3)


def network_b(run, images):
    x = run.stem(images, 4)
    x = run.pooled(lambda x: F.avg_pool2d(x, 2), x)
    # A basic block with a narrow middle that reads averages; two channels of zeros are added.
    inner = run.neuron(run.conv("block1.conv1", x, 3, stride=2, spikes_each=4))
    padded = F.pad(x[:, :, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
    x = run.neuron(run.conv("block1.conv2", inner, 6) + padded)
    inner = run.neuron(run.conv("block2.conv1", x, 6))
    x = run.neuron(run.conv("block2.conv2", inner, 6) + x)
    kept = run.dropout("dropout4", x, 0.25)
    votes = run.linear("classifier", kept, 3 * CLASSES, bias=False, counted=x)
    return votes.unflatten(2, (CLASSES, 3)).mean(3)


def attempt(network, seed):
    run = Run(seed)
    images = torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH, generator=run.random).to(torch.float32).to(torch.float64)
    labels = torch.tensor([2, 0, 1])
    logits = network(run, images)
    loss = F.cross_entropy(logits.mean(0), labels)
    loss.backward()
    return run, images, labels, logits, loss


def main():
    stored, said = {}, []
    for name, network in (("a", network_a), ("b", network_b)):
        # No potential may lie so near to a jump that rounding would move it over, and every layer has to fire.
        best = max(range(200), key=lambda seed: attempt(network, seed)[0].margin)
        run, images, labels, logits, loss = attempt(network, best)
        silent = [rate for rate in run.fired if not 0.02 < rate < 0.98]
        moving = [p.grad is not None and bool((p.grad != 0).any()) for p in run.parameters.values()]
        said.append(
            f"{name}: seed {best}, loss {loss.item():.6f}, nearest potential to a jump {run.margin:.1e}, "
            f"firing {min(run.fired):.3f} to {max(run.fired):.3f}, {sum(moving)} of {len(moving)} tensors with a gradient"
        )
        assert run.margin > 2e-5 and not silent, said
        def keep(key, value):
            stored[f"{name}/{key}"] = value.detach().contiguous()
        single = lambda value: value.to(torch.float32)
        keep("images", single(images))
        keep("labels", labels)
        keep("logits", single(logits))
        keep("loss", single(loss))
        for parameter, value in run.parameters.items():
            keep(f"parameter/{parameter}", single(value))
            keep(f"gradient/{parameter}", single(value.grad))
        for state, value in run.states.items():
            keep(f"parameter/{state}", value)
        for statistic, value in run.running.items():
            keep(f"running/{statistic}", single(value))
        for layer, value in run.rates.items():
            keep(f"rate/{layer}", single(value))
    save_file(stored, HERE / "layers.safetensors")
    (HERE / "layers.txt").write_text("\n".join(said) + "\n")
    print("\n".join(said))


main()
