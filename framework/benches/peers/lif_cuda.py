"""A layer of LIF neurons on a GPU, forward and backward: litesnn beside SpikingJelly's CuPy and Triton kernels, in one run.

    framework/benches/peers/run.sh lif --device cuda

The neuron is the one of lif.py, on currents [T, B, C, H, W] in f32. SpikingJelly 0.0.0.0.14 is the last version with CuPy kernels,
and 2.0.0 has Triton kernels, so that each backend runs in a process of its own with its own SpikingJelly: a folder for each version
(--sites, which run.sh fills). CuPy takes Dspike's derivative as CUDA code. Triton knows Sigmoid and ATan only, so that it is timed with
Sigmoid, and CuPy with both. SpikingJelly's native CUDA extension has to be built from its source, and is not timed.

Before a backend is timed, its spikes and gradients are compared with the same neuron in f64, op by op. A potential within rounding of the
threshold may fall on either side of it, and then all gradients of that neuron differ: what is compared is the share of numbers that
differ. Times are medians, by CUDA events (the device's work) and by a clock between two synchronisations (launches included), which is
what `litesnn bench lif` measures, too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

SHAPES = ["6,32,48,32,32", "6,120,12,32,32"]
# By the folder of their SpikingJelly: the backends, each with its surrogate gradient.
BACKENDS = {
    "cupy": [("torch", "Dspike"), ("CuPy", "Dspike"), ("CuPy", "Sigmoid")],
    "triton": [("Triton", "Sigmoid")],
}
ALPHA = 4.0  # of Sigmoid, SpikingJelly's own


def surrogate_of(name, surrogate):
    """SpikingJelly's surrogate, or Dspike with its derivative as CUDA code too."""
    import torch

    from dspike import PEAK, TEMPERATURE, Dspike

    if name == "Sigmoid":
        return surrogate.Sigmoid(alpha=ALPHA)

    class DspikeKernel(torch.nn.Module):
        def forward(self, distance):
            return Dspike.apply(distance)

        def cuda_codes(self, y, x, dtype):
            assert dtype == "float"
            return (
                f"const float dspike_tanh = tanhf({TEMPERATURE}f * {x});\n"
                f"{y} = fabsf({x}) < 0.5f ? {PEAK}f * (1.0f - dspike_tanh * dspike_tanh) : 0.0f;"
            )

    return DspikeKernel()


def layer_of(backend, name):
    """A function from currents to spikes."""
    import numpy

    if not hasattr(numpy, "int"):
        numpy.int = int  # SpikingJelly 0.0.0.0.14 still uses this name, which numpy 1.24 took away
    from dspike import TAU, THRESHOLD
    from spikingjelly.activation_based import functional, neuron, surrogate

    # H = V - V / tau + X: tau = 1.25 keeps a fifth.
    settings = {"tau": 1 / (1 - TAU), "decay_input": False, "v_threshold": THRESHOLD, "v_reset": 0.0, "detach_reset": False}
    if backend != "Triton":
        settings["backend"] = backend.lower()
    layer = neuron.LIFNode(surrogate_function=surrogate_of(name, surrogate), step_mode="m", **settings)

    def run(x):
        functional.reset_net(layer)
        return layer(x)

    return run


def op_by_op(x, name):
    """The neuron in PyTorch's own operations."""
    import torch

    from dspike import TAU, THRESHOLD, Dspike

    class Sigmoid(torch.autograd.Function):
        @staticmethod
        def forward(context, distance):
            context.save_for_backward(distance)
            return (distance > 0).to(distance)

        @staticmethod
        def backward(context, gradient):
            (distance,) = context.saved_tensors
            sigmoid = torch.sigmoid(ALPHA * distance)
            return gradient * ALPHA * sigmoid * (1 - sigmoid)

    spike = Dspike.apply if name == "Dspike" else Sigmoid.apply
    spikes, u = [], 0
    for current in x:
        u = TAU * u * (1 - spikes[-1]) + current if spikes else current
        spikes.append(spike(u - THRESHOLD))
    return torch.stack(spikes)


def once(run, x, upstream):
    x.grad = None
    spikes = run(x)
    spikes.backward(upstream)
    return spikes.detach(), x.grad


def check(run, x, upstream, name):
    exact = x.detach().double().requires_grad_()
    want, want_gradient = once(lambda x: op_by_op(x, name), exact, upstream.double())
    got, gradient = once(run, x, upstream)
    spikes = (got.double() != want).double().mean().item()
    gradients = ((gradient.double() - want_gradient).abs() > 1e-4).double().mean().item()
    assert spikes < 1e-5 and gradients < 1e-4, f"{spikes} of the spikes and {gradients} of the gradients differ"
    return {"different_spikes": spikes, "different_gradients": gradients}


def timed(backend, name, shape, repeats):
    """The times of a backend at a shape."""
    import torch

    torch.manual_seed(0)
    x = (torch.randn(shape, device="cuda") * 0.7 + 0.2).requires_grad_()
    upstream = torch.rand(shape, device="cuda")
    run = layer_of(backend, name)
    checks = check(run, x, upstream, name)
    return measured(lambda: once(run, x, upstream), repeats) | {"checks": checks}


def measured(work, repeats):
    """The times of some work, and the memory that it takes."""
    import torch

    for _ in range(repeats // 2):
        work()
    torch.cuda.reset_peak_memory_stats()
    events, clock = [], []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start = time.perf_counter()
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        clock.append(time.perf_counter() - start)
        events.append(begin.elapsed_time(end))
    return {
        "milliseconds": round(statistics.median(clock) * 1e3, 4),
        "least_milliseconds": round(min(clock) * 1e3, 4),
        "device_milliseconds": round(statistics.median(events), 4),
        "peak_memory_megabytes": round(torch.cuda.max_memory_allocated() / 1e6, 1),
    }


def child(options):
    """Times the backends of a folder at all shapes: a line of JSON for each, also for one that fails."""
    import torch

    if not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} sees no GPU")
    for shape in options.shape:
        for backend, name in BACKENDS[options.child]:
            try:
                result = timed(backend, name, sizes_of(shape), options.repeats)
            except Exception:
                result = {"error": traceback.format_exc().strip()[-600:]}
            print(json.dumps({"shape": shape, "name": f"{backend}, {name}", **result}), flush=True)


def sizes_of(shape):
    return [int(size) for size in shape.split(",")]


def in_a_process(program, child, site, options):
    """The lines of a process of its own that finds a folder's SpikingJelly, if a folder is given."""
    here = str(Path(__file__).resolve().parent)
    paths = [str((Path(options.sites) / site).resolve()) if site else "", here, os.environ.get("PYTHONPATH", "")]
    environment = dict(os.environ, PYTHONPATH=":".join(path for path in paths if path), SJ_LIF_CUDA_IMPLEMENTATION="triton")
    command = [sys.executable, program, "--child", child, "--repeats", str(options.repeats)]
    printed, fault = output(command + [f"--shape={shape}" for shape in options.shape], environment)
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return lines + [{"shape": None, "name": child, "error": fault}] * bool(fault)


def litesnn(options):
    """What `litesnn bench lif` says at each shape."""
    for shape in options.shape:
        line = {"shape": shape, "name": "litesnn"}
        sizes = zip(["--timesteps", "--batch", "--channels", "--size"], shape.split(","))
        command = [options.litesnn, "bench", "lif", "--json", "--device", "cuda", "--repeats", str(options.repeats)]
        printed, fault = output(command + [part for pair in sizes for part in pair], None)
        if fault:
            yield line | {"error": fault}
        else:
            seconds = json.loads(printed)["seconds"]
            yield line | {"milliseconds": seconds["median"] * 1e3, "least_milliseconds": seconds["least"] * 1e3}


def output(command, environment):
    """What a command printed, and why it failed."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    fault = (done.stderr.strip()[-600:] or f"exit code {done.returncode}") if done.returncode else ""
    return done.stdout, fault


def arguments_of(description, shapes, backends, of=""):
    """The arguments of a bench on these shapes of something; `backends` are the processes that it starts."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--sites", default="sites", help="folder with SpikingJelly 0.0.0.0.14 in cupy/ and 2.0.0 in triton/")
    told = f"T,B,C,H,W{of}, with H = W [default: {' and '.join(shapes)}]"
    arguments.add_argument("--shape", action="append", help=told)
    arguments.add_argument("--repeats", type=int, default=50)
    arguments.add_argument("--device", choices=["cuda"], default="cuda")
    arguments.add_argument("--child", choices=backends, help=argparse.SUPPRESS)
    return arguments


def main():
    arguments = arguments_of("LIF on a GPU: litesnn and SpikingJelly's backends", SHAPES, BACKENDS)
    arguments.add_argument("--litesnn", help="the built command; without it, SpikingJelly alone is timed")
    options = arguments.parse_args()
    options.shape = options.shape or SHAPES
    if options.child:
        return child(options)
    own = litesnn(options) if options.litesnn else []
    report([*own, *(line for site in BACKENDS for line in in_a_process(__file__, site, site, options))])


def report(lines):
    """Prints lines beside litesnn's at the same shape; exits with 1 if there is an error."""
    own = {line["shape"]: line["milliseconds"] for line in lines if line["name"] == "litesnn" and "milliseconds" in line}
    for line in lines:
        if "milliseconds" in line and line["shape"] in own:
            line["times_slower_than_litesnn"] = round(line["milliseconds"] / own[line["shape"]], 2)
        print(json.dumps(line), flush=True)
    sys.exit(1 if any("error" in line for line in lines) else 0)


if __name__ == "__main__":
    main()
