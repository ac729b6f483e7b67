"""What an image of the medium network takes: litesnn's engine beside onnxruntime, PyTorch and SpikingJelly.

    framework/benches/peers/run.sh engine           # makes a virtual environment, then runs this

`litesnn-exchange`'s example `medium` writes one network as a packed file and as ONNX, and what the
engine's reference answers. Everything here runs that network, an image at a time, on one thread:

| | what runs |
|---|---|
| engine | the packed file, with AVX-512, AVX2 and what every processor has |
| onnxruntime, INT8 | the ONNX file as litesnn writes it: levels and DequantizeLinear |
| onnxruntime, f32 | the ONNX file of levels in f32; the optimiser folds scale and bias into them |
| PyTorch | `Conv2d` with scale and bias folded in, time folded into the batch, a loop over time in each neuron; f32 |
| SpikingJelly | the same `Conv2d` in multi-step mode, and its `LIFNode` |
| litesnn's evaluation | with `--litesnn COMMAND`: `bench evaluate`, which has a network of the same shapes and timesteps |

Before anything is timed, the logits of every program are compared with the reference's. Those of the
engine, and of both ONNX files with the optimiser off, have to be the same bits, and so have those of
the INT8 file with the optimiser on. Weights that scale and bias are folded into round the currents,
so that a potential next to the threshold can fall to the other side: of PyTorch and SpikingJelly, not
more than one spike in 10,000 may differ.

litesnn's evaluation answers random images, whose logits are compared with nothing here: tests of the
export compare evaluation and engine to the bit.

Every program is a process of its own, and they answer in turn, so that what else the machine does
meets all alike: in a turn one image that is not timed, and then those that are. Memory and loading
are measured in processes of their own, in turn too. Loading is from the file, which the system has
in its memory, to a network that can run; memory is what the process has resident beyond what it had
before it loaded, its libraries imported.

Needs Linux, for /proc. onnxruntime, PyTorch and SpikingJelly as requirements.txt has them.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

PIXELS = (3, 32, 32)
INSTRUCTIONS = {"AVX-512": "avx512", "AVX2": "avx2", "baseline": "baseline"}
ONNX = {"INT8": "int8.onnx", "f32": "float.onnx"}
PROGRAMS = [f"engine, {name}" for name in INSTRUCTIONS] + [f"onnxruntime, {width}" for width in ONNX]
PROGRAMS += ["PyTorch", "SpikingJelly"]
# Programs and whether their optimiser is on, whose logits have to be the reference's bits.
EXACT = [("onnxruntime, INT8", False), ("onnxruntime, INT8", True), ("onnxruntime, f32", False)]
# By how much other logits may differ, and the share of spikes.
LOGITS, SPIKES = 1e-4, 1e-4
PACKAGES = ["onnxruntime", "torch", "spikingjelly", "numpy"]


def numbers(path, shape):
    return numpy.fromfile(path, "<f4").reshape(shape)


def session(path, optimised=True):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def loaded(folder, program, optimised=True):
    """What answers pixels by logits and, where the program shows them, the spikes of each map."""
    library, _, width = program.partition(", ")
    if library == "onnxruntime":
        running = session(folder / ONNX[width], optimised)
        return lambda pixels: (running.run(["logits"], {"pixels": pixels})[0], {})
    import packed_network

    return packed_network.answers(folder / "network.packed", library)


def resident(line):
    status = pathlib.Path("/proc/self/status").read_text().split(line + ":")[1]
    return 1024 * int(status.split()[0])


def child(folder, program, batch):
    """A program that answers as often as it is asked; the lines are those of the engine's example `answer`.

    Seconds are of an image, where there is a batch of the same one, too.
    """
    if program.startswith("onnxruntime"):
        import onnxruntime  # noqa: F401 (its import is no part of loading)
    pixels = numpy.repeat(numbers(folder / "pixels.f32", (-1, *PIXELS))[:1], batch, axis=0)
    idle, before = resident("VmRSS"), time.perf_counter()
    run = loaded(folder, program)
    print(json.dumps({"load": time.perf_counter() - before}), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            before = time.perf_counter()
            logits, _ = run(pixels)
            seconds.append((time.perf_counter() - before) / batch)
        memory = {"resident": resident("VmRSS") - idle, "peak": resident("VmHWM") - idle}
        print(json.dumps({"seconds": seconds, "logits": logits[0].tolist(), **memory}), flush=True)


class Program:
    """A process that answers when it is asked."""

    def __init__(self, options, name):
        self.name = name
        kind, _, form = name.partition(", ")
        if kind == "engine":
            files = [options.folder / "network.packed", options.folder / "pixels.f32"]
            command = [options.examples / "answer", *files, INSTRUCTIONS[form]]
        else:
            command = [sys.executable, __file__, "--child", name, "--folder", options.folder]
            command += ["--batch", str(options.batch)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(command, env=environment, **pipes)
        self.loaded = self.read()
        self.is_here = "missing" not in self.loaded

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name}: the program ended with status {self.process.wait()}")
        return json.loads(line)

    def answer(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return self.read()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def differing(folder, run):
    """How many logits of all images differ from the reference's, and by how much; how many spikes, of how many."""
    pixels = numbers(folder / "pixels.f32", (-1, *PIXELS))
    count, found, other, of = len(pixels), [], 0, 0
    for image in range(count):
        logits, spikes = run(pixels[image : image + 1])
        found.append(numpy.asarray(logits))
        for name, map in spikes.items():
            wanted = numbers(folder / "spikes" / f"{name}.f32", (len(map), count, *map.shape[2:]))[:, image]
            other, of = other + int((map[:, 0].numpy() != wanted).sum()), of + wanted.size
    found, wanted = numpy.concatenate(found), numbers(folder / "logits.f32", (count, -1))
    return int((found != wanted).sum()), found.size, abs(found - wanted).max(), other, of


def compare(folder):
    """Ends where a program in Python does not answer as the reference does; prints what differs."""
    for path in (folder / "spikes").glob("*.f32"):
        rate = numpy.fromfile(path, "<f4").mean()
        # A map that is silent, or fires always, agrees with anything.
        assert 0.02 < rate < 0.98, f"{path.stem} fires at {rate}"
    programs = [(name, True) for name in PROGRAMS if not name.startswith("engine")]
    for name, optimised in EXACT + [program for program in programs if program not in EXACT]:
        logits, of_logits, most, spikes, of_spikes = differing(folder, loaded(folder, name, optimised))
        exact = (name, optimised) in EXACT
        right = logits == 0 if exact else most <= LOGITS and spikes <= SPIKES * of_spikes
        told = f"{name}{'' if optimised else ' (optimiser off)'}: {logits} of {of_logits} logits differ"
        told += f", by {most:.0e} at most" if logits else ""
        told += f", and {spikes} of {of_spikes} spikes" if of_spikes else ""
        print(told, flush=True)
        if not right:
            sys.exit("a program that answers otherwise is not timed")


def timed(options):
    """Seconds of all images of each program, in turns."""
    wanted = numbers(options.folder / "logits.f32", (-1, 10))[0]
    programs = [program for program in (Program(options, name) for name in PROGRAMS) if program.is_here]
    seconds = {program.name: [] for program in programs}
    for _ in range(options.turns):
        for program in programs:
            program.answer(1)
            answer = program.answer(options.images)
            off = abs(numpy.float32(answer["logits"]) - wanted).max()
            exact = program.name.startswith("engine") or (program.name, True) in EXACT
            assert off == 0 if exact else off <= LOGITS, f"{program.name} answers otherwise: {off}"
            seconds[program.name] += answer["seconds"]
        if options.litesnn:
            seconds.setdefault("litesnn's evaluation", []).extend(evaluation(options))
    for program in programs:
        program.end()
    return seconds


def evaluation(options):
    """Seconds of an image in litesnn's own evaluation: least, median and largest of those that a turn has."""
    root = pathlib.Path(__file__).parents[3]
    command = [options.litesnn, "bench", "evaluate", root / "experiments/paper/table2-cifar10.toml", "--variant", "medium"]
    command += ["--design", root / "experiments/designs/lite-snn-medium.toml", "--device", "cpu", "--threads", "1", "--json"]
    command += ["--batch", str(options.batch), "--repeats", str(options.images)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return [json.loads(told)["seconds"][which] / options.batch for which in ("least", "median", "largest")]


def measured(options):
    """Seconds to load, and bytes resident and at most, of several processes of each program."""
    # The engine's memory is the same with all instructions, and every processor has these.
    names = ["engine, baseline"] + [name for name in PROGRAMS if name.startswith("onnxruntime")]
    all = {name: [] for name in names}
    for _ in range(options.loads):
        for name in names:
            program = Program(options, name)
            answer = program.answer(options.images)
            all[name].append((program.loaded["load"], answer["resident"], answer["peak"]))
            program.end()
    return {name: [statistics.median(column) for column in zip(*rows)] for name, rows in all.items()}


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=pathlib.Path, default="target/release/examples", help="the built examples")
    parser.add_argument("--folder", type=pathlib.Path, help="where the network's files go; a temporary one without it")
    parser.add_argument("--batch", type=int, default=1, help="images at once; the engine has them in turn")
    parser.add_argument("--turns", type=int, default=10, help="turns of all programs")
    parser.add_argument("--images", type=int, default=4, help="images that are timed in a turn")
    parser.add_argument("--loads", type=int, default=5, help="processes of each program that load the network")
    parser.add_argument("--litesnn", type=pathlib.Path, metavar="COMMAND", help="the built command, whose evaluation is timed, too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.folder, options.child, options.batch)
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    print(f"{processor()}, {os.cpu_count()} cores; {versions}\n")
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = options.folder or pathlib.Path(temporary)
        subprocess.run([options.examples / "medium", options.folder], check=True)
        compare(options.folder)
        seconds = timed(options)
        turns = f"{options.turns} turns, {options.images} times {options.batch} images each"
        print(f"\n{turns}; load average of the last minute {os.getloadavg()[0]:.1f}\n")
        print("| program | ms an image: least | median | medians beside the first |\n|---|---|---|---|")
        first = statistics.median(next(iter(seconds.values())))
        for name, all in seconds.items():
            median = statistics.median(all)
            print(f"| {name} | {1e3 * min(all):.1f} | {1e3 * median:.1f} | {median / first:.1f} x |")
        if options.loads == 0:
            return
        print("\n| program | file, MB | to load, ms | resident, MB | at most, MB |\n|---|---|---|---|---|")
        for name, (load, resident, peak) in measured(options).items():
            size = (options.folder / ONNX.get(name.partition(", ")[2], "network.packed")).stat().st_size
            print(f"| {name.removesuffix(', baseline')} | {size / 1e6:.1f} | {1e3 * load:.0f} | {resident / 1e6:.1f} | {peak / 1e6:.1f} |")


if __name__ == "__main__":
    main()
