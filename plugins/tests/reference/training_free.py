"""The training-free score of SNASNet on made-up spikes, image by image and neuron by neuron.

    python training_free.py > training_free.txt

Plain loops and NumPy's determinant; the formula is in plugins/src/optimizer/training_free.rs. The spike of neuron n of
layer l, for image b at timestep t, is a remainder of integers, so that the test makes the same ones.
"""

import numpy as np

IMAGES, TIMESTEPS, NEURONS = 4, 2, (10, 6)
ALPHA, SMALL = 0.5, 1e-3


def spike(layer, t, image, neuron):
    return int((neuron * neuron * (3 + t) + 7 * image * (neuron + 1) + 5 * layer + 2 * t * image) % 5 < 2)


def likeness(x, y, rule):
    count = len(x)
    distance = sum(a != b for a, b in zip(x, y))
    if rule == "hamming":
        return count - distance
    p, q = sum(x) / count, sum(y) / count
    return count - ALPHA * distance / (count * (p * (1 - q) + (1 - p) * q) + SMALL)


for rule in ("sparsity-aware", "hamming"):
    kernel, calls = np.zeros((IMAGES, IMAGES)), 0
    for layer, count in enumerate(NEURONS):
        for t in range(TIMESTEPS):
            patterns = [[spike(layer, t, image, n) for n in range(count)] for image in range(IMAGES)]
            for i in range(IMAGES):
                for j in range(IMAGES):
                    kernel[i, j] += likeness(patterns[i], patterns[j], rule)
            calls += 1
    print(rule, repr(float(np.linalg.slogdet(kernel / calls)[1])))
