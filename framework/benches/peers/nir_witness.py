"""snnTorch and SpikingJelly beside the engine's reference: are predictions and spikes the same?

    nir_witness.py FOLDER

FOLDER has a folder for each network, which litesnn's tests write;
framework/exchange/tests/cases/mod.rs says what is in it. `nir.read` checks the types of each file. Then
both importers build a network of it, which gets the normalised images at every timestep, and whose
logits are averaged over the timesteps.

Importers add branches in an order of their own and round what the engine does not, so a potential
next to the threshold may fall to the other side. Exit status 1 where a prediction differs whose two
largest logits are not as good as equal, or where more than one spike in 10,000 does.

Needs nir 1.0.8, nirtorch 2.6, snntorch 1.0.0, spikingjelly 2.0.0 and numpy.
"""

import contextlib
import importlib.metadata
import os
import pathlib
import sys

import nir
import numpy
import snntorch.import_nir
import torch
from spikingjelly.activation_based import nir_exchange

PACKAGES = ["nir", "nirtorch", "snntorch", "spikingjelly", "torch", "numpy"]
CLIENTS = {
    "snnTorch": snntorch.import_nir.import_from_nir,
    "SpikingJelly": lambda graph: nir_exchange.import_from_nir(graph, dt=1e-4),
}
SPIKES = 1e-4
EQUAL = 1e-5


def numbers(path, shape):
    return numpy.fromfile(path, "<f4").reshape(shape)


def answers(graph, build, images):
    """Mean logits [B, K], and the spikes [T, B, ...] of each LIF node."""
    with contextlib.redirect_stdout(open(os.devnull, "w")):  # snnTorch prints what it does.
        network = build(graph)
    modules = dict(network.named_modules())
    spikes = {name: [] for name, node in graph.nodes.items() if isinstance(node, nir.LIF)}

    def keep(name):
        return lambda _, __, result: spikes[name].append(result[0] if isinstance(result, tuple) else result)

    for name in spikes:
        modules[name].register_forward_hook(keep(name))
    logits, state = [], None
    with torch.no_grad():
        for _ in range(int(graph.metadata["timesteps"])):
            result, state = network(images, state)
            logits.append(result.flatten(1))
    return torch.stack(logits).mean(0).numpy(), {name: torch.stack(all).numpy() for name, all in spikes.items()}


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(0)
    print(", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES))
    wrong = 0
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(case.glob("*.nir")):
            for client, build in CLIENTS.items():
                graph = nir.read(path)
                shape = graph.nodes["0000_input"].output_type["output"]
                mean, std = (graph.metadata[key].reshape(-1, 1, 1) for key in ("mean", "std"))
                pixels = numbers(case / "pixels.f32", (-1, *shape))
                logits, spikes = answers(graph, build, torch.from_numpy((pixels - mean) / std))
                wanted = numbers(case / "logits.f32", logits.shape)
                first, second = numpy.sort(wanted)[:, :-3:-1].T
                differing = logits.argmax(1) != wanted.argmax(1)
                predictions = int((differing & (first - second > EQUAL)).sum())
                ties = int(differing.sum()) - predictions
                found, other, of = {name.split("_", 1)[1]: all for name, all in spikes.items()}, 0, 0
                for file in sorted((case / "spikes").glob("*.f32")):
                    map = found[file.stem.replace(".", "_")]
                    other += int((map != numbers(file, map.shape)).sum())
                    of += map.size
                bad = predictions > 0 or other > SPIKES * of
                wrong += bad
                print(
                    f"{case.name:10} {path.stem:6} {client:12} {predictions} of {len(logits)} predictions"
                    + (f" ({ties} between equals)" if ties else "")
                    + f" and {other} of {of} spikes differ, logits by {abs(logits - wanted).max():.1e}"
                    + (" (WRONG)" if bad else "")
                )
    sys.exit(1 if wrong else 0)


main()
