"""Steps of gradient descent, schedules, averages and losses in plain PyTorch: the numbers that `framework/tests/pytorch.rs`
compares litesnn's with.

    python3 -m venv .venv
    .venv/bin/pip install torch safetensors
    .venv/bin/python training.py        # writes training.safetensors beside this file, and prints training.txt

Keys of the file, all float64: `start` [N] and `gradients` [STEPS, N]; `sgd`, `adam`, `adamw` and `adam/average`, the parameters and
their average by `torch.optim.swa_utils` after each step; `warm-up`, the rate of each epoch; `outputs` [T, B, K], `labels` [B] and,
for each loss, `loss/NAME` and the gradient `loss/NAME/outputs`.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

SEED, STEPS, COUNT = 4, 6, 30
RATE, WEIGHT_DECAY, EMA = 0.01, 0.1, 0.9
HERE = Path(__file__).parent


class Model(torch.nn.Module):
    def __init__(self, start):
        super().__init__()
        self.p = torch.nn.Parameter(start.clone())


def descend(make, start, gradients):
    model = Model(start)
    # The first update of an AveragedModel copies the weights: here it is that of the start.
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA))
    average.update_parameters(model)
    optimizer = make([model.p])
    path, averages = [], []
    for gradient in gradients:
        model.p.grad = gradient.clone()
        optimizer.step()
        average.update_parameters(model)
        path.append(model.p.detach().clone())
        averages.append(average.module.p.detach().clone())
    return torch.stack(path), torch.stack(averages)


def warm_up():
    """Three epochs of warm-up, five of cosine, from 0.4 to 0.1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 4, total_iters=3)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5, eta_min=0.1)
    both = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[3])
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        both.step()
    return torch.tensor(rates, dtype=torch.float64)


def mean_cross_entropy(outputs, labels, smoothing=0.0):
    return F.cross_entropy(outputs.mean(0), labels, label_smoothing=smoothing)


def tet(outputs, labels, weight, target, smoothing=0.0):
    """Temporal efficient training: a cross-entropy for each timestep, and all outputs towards one number."""
    entropy = sum(F.cross_entropy(output, labels, label_smoothing=smoothing) for output in outputs) / len(outputs)
    return (1 - weight) * entropy + weight * F.mse_loss(outputs, torch.full_like(outputs, target))


def rate_mse(outputs, labels, smoothing=0.0):
    classes = outputs.shape[2]
    one_hot = F.one_hot(labels, classes).double()
    return F.mse_loss(outputs.mean(0), one_hot * (1 - smoothing) + smoothing / classes)


LOSSES = {
    "mean": lambda o, y: mean_cross_entropy(o, y),
    "mean-smooth": lambda o, y: mean_cross_entropy(o, y, 0.1),
    "tet": lambda o, y: tet(o, y, 0.001, 1.0),
    "tet-0": lambda o, y: tet(o, y, 0.0, 1.0),
    "tet-smooth": lambda o, y: tet(o, y, 0.05, 0.5, 0.1),
    "mse": lambda o, y: rate_mse(o, y),
    "mse-smooth": lambda o, y: rate_mse(o, y, 0.1),
}


def main():
    generator = torch.Generator().manual_seed(SEED)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    start, gradients, outputs = normal(COUNT), normal(STEPS, COUNT), normal(4, 6, 5)
    labels = torch.tensor([0, 4, 2, 1, 3, 4])
    kept = {"start": start, "gradients": gradients, "outputs": outputs, "labels": labels.double(), "warm-up": warm_up()}
    rules = {
        "sgd": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.9, weight_decay=WEIGHT_DECAY),
        "adam": lambda p: torch.optim.Adam(p, lr=RATE, weight_decay=WEIGHT_DECAY),
        "adamw": lambda p: torch.optim.AdamW(p, lr=RATE, weight_decay=WEIGHT_DECAY),
    }
    for name, make in rules.items():
        kept[name], average = descend(make, start, gradients)
        if name == "adam":
            kept["adam/average"] = average
    lines = [f"torch {torch.__version__.split('+')[0]}, seed {SEED}", "", "warm-up   " + " ".join(f"{rate:.4f}" for rate in kept["warm-up"])]
    for name, loss in LOSSES.items():
        own = outputs.clone().requires_grad_()
        value = loss(own, labels)
        value.backward()
        kept[f"loss/{name}"], kept[f"loss/{name}/outputs"] = value.detach(), own.grad
        lines.append(f"loss {value.item():.6f}   {name}")
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, HERE / "training.safetensors")
    text = "\n".join(lines)
    print(text)
    (HERE / "training.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
