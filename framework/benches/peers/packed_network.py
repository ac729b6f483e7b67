"""A packed network of plain modules: PyTorch's, or SpikingJelly's in multi-step mode.

Time is folded into the batch of stateless modules. A convolution has scale and bias folded in, as a
program without levels would have them, and the image's is computed once. What LitE-SNN's networks
have is written here, and other maps are refused.
"""

import numpy
import packed
import torch
import torch.nn.functional as F
from torch import nn


class Loop(nn.Module):
    """LIF neurons on currents [T, B, C, H, W]: u(t) = decay u(t-1) (1 - s(t-1)) + I(t), s = u > threshold."""

    def __init__(self, decay, threshold):
        super().__init__()
        self.decay, self.threshold = decay, threshold

    def forward(self, currents):
        spikes, potential = torch.empty_like(currents), currents[0].clone()
        fired = potential > self.threshold
        spikes[0] = fired
        for t in range(1, len(currents)):
            potential.mul_(self.decay).masked_fill_(fired, 0).add_(currents[t])
            fired = potential > self.threshold
            spikes[t] = fired
        return spikes


class Folded(nn.Conv2d):
    """A convolution of all timesteps at once, [T, B, C, H, W]."""

    def forward(self, x):
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def pytorch():
    return Folded, lambda form: Loop(form["decay"], form["threshold"])


def spiking_jelly():
    from spikingjelly.activation_based import layer, neuron

    def neurons(form):
        # H = V - V / tau + X, with a spike from the threshold on: a spike above it is one from the next f32 on.
        threshold = float(numpy.nextafter(numpy.float32(form["threshold"]), numpy.float32(1)))
        tau = 1 / (1 - form["decay"])
        return neuron.LIFNode(tau=tau, decay_input=False, v_threshold=threshold, v_reset=0.0, step_mode="m")

    return lambda *sizes, **more: layer.Conv2d(*sizes, step_mode="m", **more), neurons


LIBRARIES = {"PyTorch": pytorch, "SpikingJelly": spiking_jelly}


class Network(nn.Module):
    """Logits [B, K] and the spikes [T, B, C, H, W] of each map of pixels [B, C, H, W], by the file's graph."""

    def __init__(self, path, library):
        super().__init__()
        graph = packed.read(path)
        self.maps, self.timesteps, self.logits = graph["maps"], graph["timesteps"], graph["logits"]["layer"]
        self.mean, self.std = (torch.tensor(graph[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
        self.convolve, neurons = LIBRARIES[library]()
        self.modules_of = nn.ModuleDict()
        for place, made in enumerate(self.maps):
            form, currents = made["of"].get("spikes", (None, []))
            for number, current in enumerate(currents):
                if "layer" in current:
                    self.modules_of[f"{place}-{number}"] = self.convolution(current["layer"])
            if currents:
                self.modules_of[f"{place}"] = neurons(graph["neurons"][form])
        self.classifier = self.convolution(self.logits)

    def convolution(self, layer):
        outputs, inputs, kernel, _ = layer["shape"]
        assert layer.get("groups", 1) == layer.get("stride", 1) == 1, layer["name"]
        of = self.convolve if "reads" in layer else nn.Conv2d
        made = of(inputs, outputs, kernel_size=kernel, padding=layer.get("padding", 0))
        made.weight.data = torch.from_numpy(layer["values"] * layer["scale"].reshape(-1, 1, 1, 1))
        made.bias.data = torch.from_numpy(layer["bias"].copy())
        return made

    def current(self, name, current, image, maps):
        if "scaled" in current:
            of, divisor, numbers = current["scaled"]
            scale, bias = (torch.from_numpy(numpy.array(bits, "<u4").view("<f4")) for bits in numbers)
            means = maps[of] / divisor
            means = means * scale.reshape(-1, 1, 1) if len(scale) else means
            return means + bias.reshape(-1, 1, 1) if len(bias) else means
        layer, compute = current["layer"], self.modules_of[name]
        if "reads" in layer:
            return compute(maps[layer["reads"]])
        once = compute(image)
        return once.expand(self.timesteps, *once.shape)

    def forward(self, pixels):
        image, maps, spikes = (pixels - self.mean) / self.std, [], {}
        for place, made in enumerate(self.maps):
            [(kind, of)] = made["of"].items()
            if kind == "spikes":
                currents = [self.current(f"{place}-{n}", one, image, maps) for n, one in enumerate(of[1])]
                spikes[made["name"]] = self.modules_of[f"{place}"](sum(currents[1:], currents[0]))
                maps.append(spikes[made["name"]])
            elif kind == "side_by_side":
                maps.append(torch.cat([maps[one] for one in of], dim=2))
            elif kind == "resized":
                resized = F.interpolate(maps[of].flatten(0, 1), size=made["shape"][1:])
                maps.append(resized.unflatten(0, maps[of].shape[:2]))
            elif kind == "sums" and of[1][0] == list(maps[of[0]].shape[-2:]):
                maps.append(maps[of[0]].sum((-2, -1), keepdim=True))
            else:
                raise ValueError(f"map `{made['name']}` is made in a way that is not written here: {kind}")
        return self.classifier(maps[self.logits["reads"]]).flatten(2).mean(0), spikes


def answers(path, library):
    """What answers pixels, an array [B, C, H, W], by logits and spikes; one thread."""
    torch.set_num_threads(1)
    network = Network(path, library).eval()

    def run(pixels):
        if library == "SpikingJelly":
            from spikingjelly.activation_based import functional

            functional.reset_net(network)
        with torch.inference_mode():
            return network(torch.from_numpy(pixels))

    return run
