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

// g(t) from dL/ds(t), u(t) and `carried` = tau g(t+1), by 1 - tanh(z)^2 = 4q / (1 + q)^2 with q = exp(-2|z|).
DEVICE float to_potential(Neuron neuron, float gradient, float potential, float carried) {
    const float distance = fabsf(potential - neuron.threshold);
    const float q = exp_of(neuron.fall * distance), sum = 1.0f + q;
    const float slope = distance < 0.5f ? quotient(neuron.height * q, sum * sum) : 0.0f;
    const float passed = potential > neuron.threshold ? 0.0f : carried;
    return fmaf(gradient - carried * potential, slope, passed);
}
