"""Statistics of SciPy that `reports/src/statistics.rs` is compared with.

    python3 -m venv .venv
    .venv/bin/pip install scipy==1.17.1
    .venv/bin/python statistics.py        # writes statistics.json beside this file

Keys: `quantiles` of Student's t above (level, degrees of freedom, t with level / 2 above it); `pairs` with the differences, their
mean, sample standard deviation, interval at a level, and p (`ttest_rel`); `powers` of the two-sided paired t test (pairs,
true difference in standard deviations, level, power); `detectable` differences (pairs, level, difference in standard deviations
seen with 80 %); `needed` pairs (difference in standard deviations, level, pairs for 80 %).
"""

import json
from math import isnan
from pathlib import Path

import scipy
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import chi2, nct, norm, t, ttest_rel

POWER = 0.8


def power(pairs: int, difference: float, level: float) -> float:
    """P(|Z + shift| > critical · S / sigma), over Z. `nct` says the same where it is no NaN, and it is NaN far out."""
    freedom, shift = pairs - 1, difference * pairs**0.5
    critical = t.isf(level / 2, freedom)
    over = lambda z: norm.pdf(z) * chi2.cdf(freedom * ((z + shift) / critical) ** 2, freedom)
    found = quad(over, -9, 9, points=[max(-9.0, -shift)], epsabs=1e-11, limit=200)[0]
    same = nct.sf(critical, freedom, shift) + nct.cdf(-critical, freedom, shift)
    assert isnan(same) or abs(found - same) < 1e-6, (pairs, difference, level, found, same)
    return found


def detectable(pairs: int, level: float) -> float:
    high = 0.1
    while power(pairs, high, level) < POWER:
        high *= 1.5
    return brentq(lambda difference: power(pairs, difference, level) - POWER, high / 1.5, high, xtol=1e-10)


def needed(difference: float, level: float) -> int:
    pairs = 2
    while power(pairs, difference, level) < POWER:
        pairs += 1
    return pairs


LEVELS = [0.05, 0.05 / 3, 0.05 / 20]
SAMPLES = [
    ([92.1, 91.7, 92.6], [91.2, 91.5, 91.1]),
    ([84.0, 85.0], [83.0, 85.5]),
    ([10.5, 11.0, 9.0, 12.5, 10.0], [11.0, 12.0, 9.5, 12.0, 14.0]),
    ([1e-3, 2e-3, 4e-3, 3e-3], [0.0, 0.0, 1e-3, 5e-4]),
]

pairs = []
for a, b in SAMPLES:
    differences = [x - y for x, y in zip(a, b)]
    mean = sum(differences) / len(differences)
    deviation = (sum((d - mean) ** 2 for d in differences) / (len(differences) - 1)) ** 0.5
    test = ttest_rel(a, b)
    for level in LEVELS:
        interval = test.confidence_interval(1 - level)
        pairs.append({
            "differences": differences, "mean": mean, "deviation": deviation, "level": level,
            "low": float(interval.low), "high": float(interval.high), "p": float(test.pvalue),
        })

found = {
    "scipy": scipy.__version__,
    "quantiles": [[level, f, float(t.isf(level / 2, f))] for level in [0.05, 0.01, 0.0005] for f in [1, 2, 4, 9, 29, 999]],
    "pairs": pairs,
    "powers": [[n, d, level, power(n, d, level)] for n in [2, 3, 5, 20, 200] for d in [0.1, 0.5, 2.0] for level in LEVELS],
    "detectable": [[n, level, detectable(n, level)] for n in [2, 3, 5, 20, 200] for level in LEVELS],
    "needed": [[d, level, needed(d, level)] for d in [0.15, 0.3, 0.8, 1.5, 4.0] for level in LEVELS],
}
lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in found.items())
Path(__file__).with_suffix(".json").write_text(f"{{\n{lines}\n}}\n")
