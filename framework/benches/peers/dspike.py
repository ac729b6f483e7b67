"""The neuron's numbers and Dspike's surrogate gradient in PyTorch, which all scripts here share."""

import math

import torch

TAU, THRESHOLD, TEMPERATURE = 0.2, 0.5, 3.0
PEAK = TEMPERATURE / (2 * math.tanh(TEMPERATURE / 2))


class Dspike(torch.autograd.Function):
    """A step at 0 of the distance to the threshold; backward, Dspike's derivative around the threshold."""

    @staticmethod
    def forward(context, distance):
        context.save_for_backward(distance)
        return (distance > 0).to(distance)

    @staticmethod
    def backward(context, gradient):
        (distance,) = context.saved_tensors
        inside = (distance.abs() < 0.5).to(distance)
        return gradient * PEAK * (1 - torch.tanh(TEMPERATURE * distance) ** 2) * inside
