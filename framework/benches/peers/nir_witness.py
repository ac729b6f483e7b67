"""snnTorch and SpikingJelly beside the engine's reference: are predictions and spikes the same?

    nir_witness.py FOLDER [--threshold NUMBER]
    nir_witness.py FILE.nir IMAGES LABELS

FOLDER has a folder for each network, which litesnn's tests write;
framework/exchange/tests/cases/mod.rs says what is in it. `nir.read` checks the types of each file. Then
both importers build a network of it, which gets the normalised images at every timestep, and whose
logits are averaged over the timesteps.

Importers add branches in an order of their own and round what the engine does not, so a potential
next to the threshold may fall to the other side. Exit status 1 where more than one spike in 10,000
differs, or a prediction does whose two largest logits are not as good as equal. --threshold gives
neurons whose threshold is next to NUMBER that NUMBER.

The second form says how many images of a data set (IDX files, gzip) a file answers right.

Needs nir 1.0.8, nirtorch 2.6, snntorch 1.0.0, spikingjelly 2.0.0 and numpy.
"""

import argparse
import contextlib
import gzip
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


def neurons(graph):
    return {name: node for name, node in graph.nodes.items() if isinstance(node, nir.LIF)}


def answers(graph, build, pixels):
    """Mean logits [B, K] of pixels from 0 to 1, and the spikes [T, B, C, H, W] of each LIF node."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # snnTorch prints what it does.
        network = build(graph)
    modules = dict(network.named_modules())
    spikes = {name: [] for name in neurons(graph)}

    def keep(name):
        return lambda _, __, result: spikes[name].append(result[0] if isinstance(result, tuple) else result)

    for name in spikes:
        modules[name].register_forward_hook(keep(name))
    mean, std = (graph.metadata[key].reshape(-1, 1, 1) for key in ("mean", "std"))
    images = torch.from_numpy((pixels - mean) / std)
    logits, state = [], None
    with torch.no_grad():
        for _ in range(int(graph.metadata["timesteps"])):
            result, state = network(images, state)
            logits.append(result.flatten(1))
    return torch.stack(logits).mean(0).numpy(), {name: torch.stack(all).numpy() for name, all in spikes.items()}


def compare(case, path, client, threshold):
    """Whether a file's network answers as the engine does; prints what differs."""
    graph = nir.read(path)
    for node in neurons(graph).values():
        if threshold and numpy.nextafter(numpy.float32(threshold), numpy.float32(1)) == node.v_threshold.flat[0]:
            node.v_threshold[:] = threshold
    pixels = numbers(case / "pixels.f32", (-1, *graph.nodes["0000_input"].output_type["output"]))
    logits, spikes = answers(graph, CLIENTS[client], pixels)
    wanted = numbers(case / "logits.f32", logits.shape)
    first, second = numpy.sort(wanted)[:, :-3:-1].T
    differing = logits.argmax(1) != wanted.argmax(1)
    predictions = int((differing & (first - second > EQUAL)).sum())
    # A node is called by its place and its map: `0007_cell0_n1`.
    found, other, of = {name.split("_", 1)[1]: all for name, all in spikes.items()}, 0, 0
    for file in sorted((case / "spikes").glob("*.f32")):
        map = found[file.stem.replace(".", "_")]
        other += int((map != numbers(file, map.shape)).sum())
        of += map.size
    assert of > 0, f"{case} has no spikes"
    right = predictions == 0 and other <= SPIKES * of
    print(
        f"{case.name:9} {path.stem:6} {client:12} {predictions} of {len(logits)} predictions and {other} of {of} "
        f"spikes differ, logits by {abs(logits - wanted).max():.1e}" + ("" if right else " (WRONG)")
    )
    return right


def accuracy(path, images, labels):
    """Prints how many images are answered right."""
    pixels, labels = (numpy.frombuffer(gzip.open(file).read(), "u1") for file in (images, labels))
    labels = labels[8:]
    for client, build in CLIENTS.items():
        graph = nir.read(path)
        shape = graph.nodes["0000_input"].output_type["output"]
        logits, _ = answers(graph, build, pixels[16:].reshape(-1, *shape).astype("f4") / 255)
        print(f"{client:12} {(logits.argmax(1) == labels).sum()} of {len(labels)} right")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=pathlib.Path)
    parser.add_argument("idx", nargs="*")
    parser.add_argument("--threshold", type=float)
    options = parser.parse_args()
    torch.manual_seed(0)
    print(", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES))
    if options.idx:
        return accuracy(options.path, *options.idx)
    cases = sorted(path for path in options.path.iterdir() if path.is_dir())
    results = [
        compare(case, path, client, options.threshold)
        for case in cases
        for path in sorted(case.glob("*.nir"))
        for client in CLIENTS
    ]
    sys.exit(0 if all(results) else 1)


main()
