"""A layer of LIF neurons, forward and backward: litesnn beside SpikingJelly and snnTorch, in one run.

    framework/benches/peers/run.sh lif       # makes a virtual environment, then runs this

All compute the same neuron on currents [T, B, C, H, W], f32, on the CPU: u(t) = 0.2 u(t-1) (1 - s(t-1)) + x(t), s = u > 0.5, hard
reset, with Dspike's derivative (b = 3) as surrogate. Each library is used as its documentation has it: SpikingJelly's LIFNode in its
multi-step mode, snnTorch's Leaky in a loop over timesteps.

Before anything is timed, spikes and gradients are compared with the same neuron written in PyTorch, op by op. snnTorch cuts the
gradient at the reset by design, so that its gradient is compared with that of the neuron with such a reset. litesnn's own kernel is
compared with op-by-op autograd by its unit tests.

Rounds go in turn: litesnn, SpikingJelly, snnTorch, litesnn, ... so that what else the machine does meets all alike.
"""

import argparse
import json
import statistics
import subprocess
import time

import snntorch
import torch
from dspike import TAU, THRESHOLD, Dspike
from spikingjelly.activation_based import functional, neuron


def op_by_op(x, detach_reset):
    spikes, u = [], None
    for current in x:
        if u is None:
            u = current
        else:
            spike = spikes[-1].detach() if detach_reset else spikes[-1]
            u = TAU * u * (1 - spike) + current
        spikes.append(Dspike.apply(u - THRESHOLD))
    return torch.stack(spikes)


def spiking_jelly():
    # H = V - V / tau + X: tau = 1.25 keeps a fifth.
    layer = neuron.LIFNode(
        tau=1 / (1 - TAU),
        decay_input=False,
        v_threshold=THRESHOLD,
        v_reset=0.0,
        surrogate_function=Dspike.apply,
        detach_reset=False,
        step_mode="m",
    )

    def run(x):
        functional.reset_net(layer)
        return layer(x)

    return run


def snn_torch():
    layer = snntorch.Leaky(beta=TAU, threshold=THRESHOLD, reset_mechanism="zero", spike_grad=Dspike.apply)

    def run(x):
        membrane, spikes = layer.init_leaky(), []
        for current in x:
            spike, membrane = layer(current, membrane)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def once(run, x, upstream):
    x.grad = None
    begin = time.perf_counter()
    spikes = run(x)
    spikes.backward(upstream)
    return time.perf_counter() - begin, spikes.detach(), x.grad


def check(name, run, x, upstream, detach_reset):
    _, want, want_gradient = once(lambda x: op_by_op(x, detach_reset), x, upstream)
    _, got, gradient = once(run, x, upstream)
    different = (got != want).float().mean().item()
    error = (gradient - want_gradient).abs().max().item()
    # A potential within rounding of the threshold may fall on either side of it.
    assert different < 1e-6, f"{name}: {different} of the spikes differ"
    assert different > 0 or error < 1e-5, f"{name}: gradients differ by {error}"
    return {"different_spikes": different, "largest_gradient_error": error}


def main():
    arguments = argparse.ArgumentParser(description="LIF forward and backward: litesnn, SpikingJelly, snnTorch")
    arguments.add_argument("--litesnn", default="target/release/litesnn", help="the built command")
    arguments.add_argument("--shape", type=int, nargs=5, default=[6, 32, 48, 32, 32], help="T B C H W, with H = W")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    x = (torch.randn(options.shape) * 0.7 + 0.2).requires_grad_()
    upstream = torch.rand(options.shape)
    peers = {"SpikingJelly": (spiking_jelly(), False), "snnTorch": (snn_torch(), True)}
    checks = {name: check(name, run, x, upstream, cut) for name, (run, cut) in peers.items()}

    steps, batch, channels, height, _ = options.shape
    command = [options.litesnn, "bench", "lif", "--json", "--device", "cpu", "--repeats", "5"]
    for option, value in [("timesteps", steps), ("batch", batch), ("channels", channels), ("size", height)]:
        command += [f"--{option}", str(value)]
    command += ["--threads", str(options.threads)]
    times = {name: [] for name in ["litesnn", *peers]}
    for _ in range(options.rounds):
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        times["litesnn"].append(json.loads(printed)["seconds"]["median"])
        for name, (run, _) in peers.items():
            once(run, x, upstream)
            times[name].append(statistics.median(once(run, x, upstream)[0] for _ in range(3)))
    ratios = {
        name: statistics.median(peer / own for peer, own in zip(times[name], times["litesnn"])) for name in peers
    }
    result = {
        "shape": options.shape,
        "threads": options.threads,
        "milliseconds": {name: round(statistics.median(all) * 1e3, 1) for name, all in times.items()},
        "times_slower_than_litesnn": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "checks": checks,
        "versions": {"torch": torch.__version__, "snntorch": snntorch.__version__},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
