"""A node of a supernet on a GPU, forward and backward: litesnn's kernels beside SpikingJelly's CuPy and Triton kernels, in one run.

    framework/benches/peers/run.sh node --device cuda

The node has K candidates of C channels each, parts of one convolution's output x [T, B, K C, H, W] in f32:

    y = batch normalisation of x, over all timesteps together
    s = LIF(sum over k of softmax(alpha)_k LIF(y_k))

with gradients to x, gamma, beta and alpha. alpha has K + 1 values: the last is of a candidate that gives nothing. Without it the
weights add up to 1, a potential on the very edge of Dspike's window, where rounding would decide about the gradient.

litesnn's kernels are launched as ../kernels.py does it, on channels-last maps, as in litesnn. The others take NCHW, which CuPy's
kernels ask for, torch's batch normalisation, and one layer of neurons for all candidates at once: one launch instead of K. "torch" is
the node in PyTorch's own operations. Each backend runs in a process of its own, with SpikingJelly as for lif_cuda.py, which says
what their surrogate gradients can be.

Before a backend is timed, its spikes and gradients are compared with the node in f64, op by op: of spikes and of the gradient to x
the share of numbers that differ, of the gradients to gamma, beta and alpha the largest error, in units of the largest gradient. Times
are those of lif_cuda.py, and graph_milliseconds, a replay of a CUDA graph: without Python's launches, and as litesnn trains. CuPy's
launches cannot be captured.
"""

import functools
import json
import sys
import traceback
from pathlib import Path

from lif_cuda import arguments_of, in_a_process, layer_of, measured, op_by_op, report, sizes_of

SHAPES = ["6,120,12,32,32"]
CANDIDATES = 4
EPSILON, MOMENTUM = 1e-5, 0.1
# Name of a backend and its surrogate gradient, and the folder of its SpikingJelly.
BACKENDS = {
    "litesnn": None,
    "CuPy, Dspike": "cupy",
    "CuPy, Sigmoid": "cupy",
    "Triton, Sigmoid": "triton",
    "torch, Dspike": None,
}
LEAVES = ["x", "gamma", "beta", "alpha"]


def case_of(shape, channels_last, device="cuda"):
    """A node's tensors by name, the same numbers in either layout."""
    import torch

    steps, batch, width, height, _ = shape
    channels = CANDIDATES * width
    random = torch.Generator(device).manual_seed(0)
    case = {
        "x": torch.randn(steps, batch, channels, height, height, generator=random, device=device) * 0.7 + 0.2,
        "upstream": torch.rand(shape, generator=random, device=device),
        "gamma": torch.rand(channels, generator=random, device=device) + 0.5,
        "beta": torch.rand(channels, generator=random, device=device) * 0.4,
        "alpha": torch.linspace(-0.3, 0.5, CANDIDATES + 1, device=device),
        "mean": torch.zeros(channels, device=device),
        "variance": torch.ones(channels, device=device),
    }
    if channels_last:
        for name in ("x", "upstream"):
            case[name] = maps_of(rows_of(case[name]), case[name].shape)
    return case


def rows_of(maps):
    """[T, B, C, H, W] as channels-last rows [T B H W, C]: a view, if that is the maps' layout."""
    return maps.permute(0, 1, 3, 4, 2).reshape(-1, maps.shape[2])


def maps_of(rows, shape):
    """Rows as maps [T, B, C, H, W] again, a view."""
    steps, batch, _, height, width = shape
    return rows.view(steps, batch, height, width, -1).permute(0, 1, 4, 2, 3)


def batch_normalisation(case, x, gamma, beta):
    import torch

    running = case["mean"], case["variance"]
    return torch.nn.functional.batch_norm(x.flatten(0, 1), *running, gamma, beta, True, MOMENTUM, EPSILON).view_as(x)


def normalisation_op_by_op(case, x, gamma, beta):
    each = (0, 1, 3, 4)
    centred = x - x.mean(each, keepdim=True)
    factor = gamma.view(-1, 1, 1) / (centred.square().mean(each, keepdim=True) + EPSILON).sqrt()
    return centred * factor + beta.view(-1, 1, 1)


def by_autograd(case, normalise, of_candidates, of_node):
    """Spikes of the node, and its gradients to the leaves."""
    import torch

    leaves = [case[name].detach().requires_grad_() for name in LEAVES]
    x, gamma, beta, alpha = leaves
    candidates = of_candidates(normalise(case, x, gamma, beta)).unflatten(2, (CANDIDATES, -1))
    weights = alpha.softmax(0)[:CANDIDATES].view(-1, 1, 1, 1)
    spikes = of_node((weights * candidates).sum(2))
    return spikes.detach(), torch.autograd.grad(spikes, leaves, case["upstream"])


def by_kernels(case):
    """The same by litesnn's kernels."""
    import torch

    kernels = kernels_of_litesnn()
    x, steps, width = rows_of(case["x"]), case["x"].shape[0], case["upstream"].shape[2]
    alpha = case["alpha"].detach().requires_grad_()
    weights = alpha.softmax(0)
    running = [case["mean"], case["variance"]]
    currents = kernels.Currents(x, case["gamma"], case["beta"], running, steps, steps, True, True, True)
    terms = [(currents, k * width, k) for k in range(CANDIDATES)]
    node = kernels.Node(terms, width, steps, weights.detach())
    spikes = node.forward()
    _, to_weights = node.backward(rows_of(case["upstream"]))
    to_x, to_gamma, to_beta = currents.finish()
    (to_alpha,) = torch.autograd.grad(weights, alpha, to_weights)
    return maps_of(spikes, case["upstream"].shape), (maps_of(to_x, case["x"].shape), to_gamma, to_beta, to_alpha)


def kernels_of_litesnn():
    above = str(Path(__file__).resolve().parent.parent)
    if above not in sys.path:
        sys.path.append(above)
    import kernels

    return kernels


def node_of(name):
    """A backend's function from a case to spikes and gradients, and whether its maps are channels-last."""
    if name == "litesnn":
        return by_kernels, True
    backend, surrogate = name.split(", ")
    if backend == "torch":
        neurons = [functools.partial(op_by_op, name=surrogate)] * 2
    else:
        neurons = [layer_of(backend, surrogate) for _ in range(2)]
    return lambda case: by_autograd(case, batch_normalisation, *neurons), False


def check(node, case, surrogate):
    neurons = functools.partial(op_by_op, name=surrogate)
    exact = {name: tensor.double() for name, tensor in case.items()}
    want, want_gradients = by_autograd(exact, normalisation_op_by_op, neurons, neurons)
    # The running statistics move: those of the case stay as they are.
    got, gradients = node(case | {name: case[name].clone() for name in ("mean", "variance")})
    spikes = (got.double() != want).double().mean().item()
    to_x = (~((gradients[0].double() - want_gradients[0]).abs() <= 1e-4)).double().mean().item()
    errors = [
        ((got.double() - want).abs().max() / want.abs().max()).item() for got, want in zip(gradients[1:], want_gradients[1:])
    ]
    checks = {"firing_rate": round(want.mean().item(), 4), "different_spikes": spikes, "different_gradients": to_x}
    checks |= {f"error_to_{name}": error for name, error in zip(LEAVES[1:], errors)}
    assert spikes < 1e-5 and to_x < 1e-4 and all(error < 1e-3 for error in errors), f"differs from f64: {checks}"
    return checks


def timed(name, shape, repeats):
    """The times of a backend at a shape."""
    import torch

    node, channels_last = node_of(name)
    case = case_of(shape, channels_last)
    checks = check(node, case, name.split(", ")[-1] if ", " in name else "Dspike")
    torch.cuda.empty_cache()
    if name == "litesnn":
        # What was filled for the check, so that nothing unwritten stays unseen, is only allocated now.
        kernels = kernels_of_litesnn()
        kernels.poison = functools.partial(torch.empty, device=kernels.DEVICE)
    times = measured(lambda: node(case), repeats)
    if not name.startswith("CuPy"):
        try:
            times["graph_milliseconds"] = round(kernels_of_litesnn().clock(lambda: node(case), repeats), 4)
        except (Exception, SystemExit) as error:
            times["graph_milliseconds"], times["graph"] = None, f"not captured: {error}"[:300]
    return times | {"checks": checks}


def child(options):
    """Times a backend at all shapes: a line of JSON for each, also for one that fails."""
    import torch

    if not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} sees no GPU")
    for shape in options.shape:
        try:
            result = timed(options.child, sizes_of(shape), options.repeats)
        except Exception:
            result = {"error": traceback.format_exc().strip()[-600:]}
        print(json.dumps({"shape": shape, "name": options.child, **result}), flush=True)


def main():
    description = "A node on a GPU: litesnn's kernels and SpikingJelly's backends"
    options = arguments_of(description, SHAPES, BACKENDS, " of a candidate").parse_args()
    options.shape = options.shape or SHAPES
    if options.child:
        return child(options)
    report([line for name, site in BACKENDS.items() for line in in_a_process(__file__, name, site, options)])


if __name__ == "__main__":
    main()
