// The leaky integrate-and-fire neuron, as `spiking/lif.rs` has it and rounds it.
struct Neuron {
    float tau, threshold;
    float fall;    // -2 times the temperature of Dspike
    float height;  // four times its peak
};

// What is left of a potential at the next timestep.
DEVICE float kept(Neuron neuron, float potential) {
    return potential > neuron.threshold ? 0.0f : neuron.tau * potential;
}

// g(t) of all timesteps from dL/ds(t) and u(t): g(t) = (dL/ds(t) - tau g(t+1) u(t)) s'(t) + (1 - s(t)) tau g(t+1), with
// 1 - tanh(z)^2 = 4q / (1 + q)^2, q = exp(-2|z|). Slopes do not wait for one another.
DEVICE void to_potentials(Neuron neuron, const float gradient[STEPS], const float u[STEPS], float result[STEPS]) {
    float slope[STEPS], carried = 0.0f;
    UNROLL
    for (int t = 0; t < STEPS; t++) {
        const float distance = fabsf(u[t] - neuron.threshold);
        const float q = exp_of(neuron.fall * distance), sum = 1.0f + q;
        const float inside = quotient(neuron.height * q, sum * sum);
        slope[t] = distance < 0.5f ? inside : 0.0f;
    }
    UNROLL
    for (int t = STEPS - 1; t >= 0; t--) {
        const float passed = u[t] > neuron.threshold ? 0.0f : carried;
        result[t] = fmaf(gradient[t] - carried * u[t], slope[t], passed);
        carried = neuron.tau * result[t];
    }
}
