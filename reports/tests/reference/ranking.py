"""Kendall's tau-b and p of SciPy, which `reports/src/ranking.rs` is compared with, and how often the interval there is right.

    python3 -m venv .venv
    .venv/bin/pip install scipy==1.17.1
    .venv/bin/python ranking.py            # writes ranking.json beside this file
    .venv/bin/python ranking.py coverage   # prints how often the interval holds the true tau

p is the normal approximation with the variance of ties (`method="asymptotic"`). Coverage: 4,000 samples of N architectures each,
from a bivariate normal distribution of a true tau (rho = sin(pi tau / 2)). With ties, both values are rounded to steps of a
deviation; the true tau-b is then that of a million draws.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau


def sample(random, count, tau, step):
    rho = np.sin(np.pi * tau / 2)
    x, e = random.standard_normal((2, count))
    values = np.array([x, rho * x + np.sqrt(1 - rho**2) * e])
    return np.round(values / step) if step else values


def coverage():
    random = np.random.default_rng(0)
    for step in [0, 0.5, 1]:
        for tau in [0.0, 0.3, 0.6]:
            truth = float(kendalltau(*sample(random, 1_000_000, tau, step)).statistic) if step else tau
            for count in [10, 20, 40]:
                half = 1.959963984540054 * np.sqrt(0.437 / (count - 4))
                found = np.array([kendalltau(*sample(random, count, tau, step)).statistic for _ in range(4000)])
                right = np.abs(np.arctanh(np.clip(found, -1 + 1e-12, 1 - 1e-12)) - np.arctanh(truth)) <= half
                print(f"step {step} true tau {truth:.3f} N {count}: {100 * right.mean():.1f} %", flush=True)


def fixture():
    random = np.random.default_rng(1)
    rows = []
    for count, tau, step in [(5, 0.5, 0), (12, 0.4, 0), (20, 0.0, 0), (20, 0.5, 1), (30, 0.6, 0.5), (40, -0.3, 2)]:
        x, y = sample(random, count, tau, step).round(3)
        found = kendalltau(x, y, method="asymptotic")
        rows.append({"x": x.tolist(), "y": y.tolist(), "tau": float(found.statistic), "p": float(found.pvalue)})
    text = ",\n".join(json.dumps(row) for row in rows)
    Path(__file__).with_suffix(".json").write_text(f"[\n{text}\n]\n")


coverage() if sys.argv[1:] == ["coverage"] else fixture()
