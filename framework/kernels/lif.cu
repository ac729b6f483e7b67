// A layer of neurons over T timesteps, a thread for each neuron: `spiking/lif.rs` has the formulas.
//
// x has T timesteps `advance` values apart, or one for all of them where `advance` is 0.

KERNEL(lif_forward, (const float *x, float *spikes, long neurons, long advance, Neuron neuron)) {
    THREADS {
        const long at = first_thread() + threadIdx.x;
        if (at >= neurons) continue;
        float membrane = 0.0f;
        UNROLL
        for (int t = 0; t < STEPS; t++) {
            const float u = membrane + READ_ONLY(x + t * advance + at);
            spikes[t * neurons + at] = u > neuron.threshold ? 1.0f : 0.0f;
            membrane = kept(neuron, u);
        }
    }
}

// The gradient to x from `upstream`, the gradient to the spikes.
KERNEL(lif_backward, (const float *upstream, const float *x, float *gradient, long neurons, long advance,
                      Neuron neuron)) {
    THREADS {
        const long at = first_thread() + threadIdx.x;
        if (at >= neurons) continue;
        float from[STEPS], u[STEPS], value[STEPS], membrane = 0.0f;
        UNROLL
        for (int t = 0; t < STEPS; t++) {
            from[t] = READ_ONLY(upstream + t * neurons + at);
            u[t] = membrane + READ_ONLY(x + t * advance + at);
            membrane = kept(neuron, u[t]);
        }
        to_potentials(neuron, from, u, value);
        float whole = 0.0f;
        UNROLL
        for (int t = STEPS - 1; t >= 0; t--) {
            whole = advance == 0 ? whole + value[t] : value[t];
            if (advance != 0 || t == 0) gradient[t * advance + at] = whole;
        }
    }
}
