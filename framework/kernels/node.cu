// A node with everything that drives it: `spiking/node/mod.rs` has the formulas. A thread has one channel of a row, with all T
// timesteps in registers; a block has `blockDim.x` neighbouring channels of `blockDim.y` rows.

// What drives a node: the numbers are those of `TermKind`.
enum { CURRENT = 0, CANDIDATE = 1, SPIKES = 2 };

// Rows of `width` values at x + (t * advance + r) * stride. The gradient's rows follow one another: what a block writes has no
// gaps, which cost a GPU a read and a second write of the memory around them.
struct Term {
    const void *x;  // Value, or float of spikes
    float *gradient;
    // y = factor * x + shift, and the mean: [T, stride], from the part's first channel on.
    const float *factor, *shift, *mean, *beta;
    const float *scale;  // null: 1
    // Sums of the gradient over the rows, its products with x - mean, both [maps, stride], and for each channel the scale, the
    // first channel of its part and the number of them: [2 * maps + 3, stride].
    double *sums;
    long stride;
    long first;
    long advance;  // rows from a timestep to the next: 0 where all are the same
    int kind;
    int scale_index;  // of alpha; -1 without it
};

struct Terms {
    Term each[TERMS];
};

DEVICE float scale_of(const Term &term) { return term.scale == nullptr ? 1.0f : *term.scale; }

// What a term gives at all timesteps before its neurons, if it has any: the currents of a part, or spikes times their scale.
DEVICE void read_term(const Term &term, long row, int column, float scale, float x[STEPS], float y[STEPS]) {
    if (term.kind == SPIKES) {
        UNROLL
        for (int t = 0; t < STEPS; t++) {
            x[t] = ((const float *)term.x)[(t * term.advance + row) * term.stride + column];
            y[t] = scale * x[t];
        }
        return;
    }
    // Currents are scaled by what normalises them, spikes after it.
    const float folded = term.kind == CURRENT ? scale : 1.0f;
    UNROLL
    for (int t = 0; t < STEPS; t++) {
        x[t] = value_of(((const Value *)term.x)[(t * term.advance + row) * term.stride + column]);
        const long at = t * term.stride + column;
        y[t] = term.factor[at] * folded * x[t] + term.shift[at] * folded;
    }
}

// The node's currents at all timesteps.
DEVICE void currents_of(const Terms &terms, int count, Neuron neuron, long row, int column, float current[STEPS]) {
    UNROLL
    for (int t = 0; t < STEPS; t++) current[t] = 0.0f;
    for (int index = 0; index < count; index++) {
        const Term &term = terms.each[index];
        const float scale = scale_of(term);
        float x[STEPS], y[STEPS];
        read_term(term, row, column, scale, x, y);
        float membrane = 0.0f;
        UNROLL
        for (int t = 0; t < STEPS; t++) {
            if (term.kind == CANDIDATE) {
                const float u = membrane + y[t];
                membrane = kept(neuron, u);
                y[t] = u > neuron.threshold ? scale : 0.0f;
            }
            current[t] += y[t];
        }
    }
}

// Spikes [T, rows, width] and, where `fired` is given, their number in each block at each timestep: [blocks, T].
KERNEL(node_forward, (GRID_CONSTANT Terms terms, int count, int width, Neuron neuron, long rows, float *spikes,
                      unsigned *fired)) {
    SHARED unsigned masks[BLOCK];
    THREADS {
        const long row = (long)blockIdx.x * blockDim.y + threadIdx.y;
        const int column = (int)(blockIdx.y * blockDim.x + threadIdx.x);
        unsigned mask = 0;
        if (row < rows && column < width) {
            float current[STEPS], membrane = 0.0f;
            currents_of(terms, count, neuron, row, column, current);
            UNROLL
            for (int t = 0; t < STEPS; t++) {
                const float u = membrane + current[t];
                const bool fires = u > neuron.threshold;
                membrane = kept(neuron, u);
                mask |= (unsigned)fires << t;
                spikes[(t * rows + row) * width + column] = fires ? 1.0f : 0.0f;
            }
        }
        masks[thread_number()] = mask;
    }
    if (fired == nullptr) return;
    BARRIER
    // Eight threads for each timestep, then one.
    SHARED unsigned counts[STEPS * 8];
    THREADS {
        const int threads = (int)(blockDim.x * blockDim.y);
        for (int of = thread_number(); of < STEPS * 8; of += threads) {
            unsigned count = 0;
            for (int from = of % 8; from < threads; from += 8) count += masks[from] >> (of / 8) & 1u;
            counts[of] = count;
        }
    }
    BARRIER
    THREADS {
        for (int t = thread_number(); t < STEPS; t += (int)(blockDim.x * blockDim.y)) {
            unsigned count = 0;
            for (int part = 0; part < 8; part++) count += counts[t * 8 + part];
            fired[((long)blockIdx.y * gridDim.x + blockIdx.x) * STEPS + t] = count;
        }
    }
}

// Mean spikes of a neuron at each timestep, [T], a block each: `fired` as above.
KERNEL(node_rate, (const unsigned *fired, long blocks, double neurons, float *rate)) {
    SHARED unsigned long counts[BLOCK];
    THREADS {
        unsigned long count = 0;
        for (long block = threadIdx.x; block < blocks; block += BLOCK) count += fired[block * STEPS + blockIdx.x];
        counts[threadIdx.x] = count;
    }
    for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
        BARRIER
        THREADS {
            if (threadIdx.x < half) counts[threadIdx.x] += counts[threadIdx.x + half];
        }
    }
    BARRIER
    THREADS {
        if (threadIdx.x == 0) rate[blockIdx.x] = (float)((double)counts[0] / neurons);
    }
}

// Values that a block adds up for a term and a channel: the gradient at each timestep, its product with x - mean, and the
// gradient to the scale.
#define SUMS (2 * STEPS + 1)

// Gradients of the rows to every term, and their sums over the rows of a block: `partial` is [blocks along x, terms, SUMS, width].
// `upstream`, the gradient to the spikes, has rows `upstream_stride` apart. A thread has ROWS rows, `blockDim.y` apart.
KERNEL(node_backward, (GRID_CONSTANT Terms terms, int count, int width, Neuron neuron, long rows, const float *upstream,
                       long upstream_stride, float *partial)) {
    // Gradients to the node's currents.
    PRIVATE(float, node, ROWS * STEPS);
    SHARED float sums[SUMS * BLOCK];
    THREADS {
        const int column = (int)(blockIdx.y * blockDim.x + threadIdx.x);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            const long row = ((long)blockIdx.x * ROWS + r) * blockDim.y + threadIdx.y;
            float u[STEPS], membrane = 0.0f, carried = 0.0f;
            const bool inside = row < rows && column < width;
            if (inside) currents_of(terms, count, neuron, row, column, u);
            UNROLL
            for (int t = 0; t < STEPS; t++) {
                if (!inside) u[t] = 0.0f;
                u[t] = membrane + u[t];
                membrane = kept(neuron, u[t]);
            }
            UNROLL
            for (int t = STEPS - 1; t >= 0; t--) {
                const float gradient = inside ? upstream[(t * rows + row) * upstream_stride + column] : 0.0f;
                const float value = to_potential(neuron, gradient, u[t], carried);
                carried = neuron.tau * value;
                OWN(node)[r * STEPS + t] = value;
            }
        }
    }
    for (int index = 0; index < count; index++) {
        const Term &term = terms.each[index];
        THREADS {
            const int column = (int)(blockIdx.y * blockDim.x + threadIdx.x);
            const float scale = scale_of(term);
            float *own = sums + thread_number(), to_scale = 0.0f;
            UNROLL
            for (int which = 0; which < 2 * STEPS; which++) own[which * BLOCK] = 0.0f;
            UNROLL
            for (int r = 0; r < ROWS; r++) {
                const long row = ((long)blockIdx.x * ROWS + r) * blockDim.y + threadIdx.y;
                if (row >= rows || column >= width) continue;
                float x[STEPS], u[STEPS], membrane = 0.0f, carried = 0.0f, whole = 0.0f;
                read_term(term, row, column, scale, x, u);
                UNROLL
                for (int t = 0; t < STEPS; t++) {
                    u[t] = membrane + u[t];
                    membrane = kept(neuron, u[t]);
                }
                UNROLL
                for (int t = STEPS - 1; t >= 0; t--) {
                    const float gradient = OWN(node)[r * STEPS + t];
                    float value = gradient;
                    if (term.kind == SPIKES) {
                        to_scale = fmaf(gradient, x[t], to_scale);
                        value = gradient * scale;
                    } else if (term.kind == CANDIDATE) {
                        value = to_potential(neuron, gradient * scale, u[t], carried);
                        carried = neuron.tau * value;
                        if (u[t] > neuron.threshold) to_scale += gradient;
                    }
                    // Of a current that is the same at every timestep the gradients add up.
                    whole = term.advance == 0 ? whole + value : value;
                    if (term.advance != 0 || t == 0) {
                        term.gradient[(t * term.advance + row) * width + column] = whole;
                        if (term.kind != SPIKES) {
                            const float distance = x[t] - term.mean[t * term.stride + column];
                            own[t * BLOCK] += whole;
                            own[(STEPS + t) * BLOCK] = fmaf(whole, distance, own[(STEPS + t) * BLOCK]);
                        }
                    }
                }
            }
            own[2 * STEPS * BLOCK] = to_scale;
        }
        BARRIER
        THREADS {
            const int column = (int)(blockIdx.y * blockDim.x + threadIdx.x);
            if (column >= width) continue;
            for (int which = (int)threadIdx.y; which < SUMS; which += (int)blockDim.y) {
                float total = 0.0f;
                for (unsigned group = 0; group < blockDim.y; group++)
                    total += sums[which * BLOCK + group * blockDim.x + threadIdx.x];
                partial[(((long)blockIdx.x * count + index) * SUMS + which) * width + column] = total;
            }
        }
        BARRIER
    }
}

// Adds the sums of all blocks in their order: to the sums of the terms, and to `to_scale`, [terms, width]. A block has 16
// neighbouring sums, and 16 threads for each.
KERNEL(node_sums, (GRID_CONSTANT Terms terms, int count, int width, const float *partial, long blocks,
                   double *to_scale)) {
    SHARED double sums[BLOCK];
    THREADS {
        const long of = (long)blockIdx.x * 16 + threadIdx.x, all = (long)count * SUMS * width;
        double sum = 0.0;
        if (of < all)
            for (long block = threadIdx.y; block < blocks; block += 16) sum += (double)partial[block * all + of];
        sums[thread_number()] = sum;
    }
    BARRIER
    THREADS {
        const long of = (long)blockIdx.x * 16 + threadIdx.x;
        if (threadIdx.y != 0 || of >= (long)count * SUMS * width) continue;
        double sum = 0.0;
        for (int group = 0; group < 16; group++) sum += sums[group * 16 + threadIdx.x];
        const int column = (int)(of % width), which = (int)(of / width % SUMS), index = (int)(of / width / SUMS);
        const Term &term = terms.each[index];
        const int maps = term.advance == 0 ? 1 : STEPS, t = which < STEPS ? which : which - STEPS;
        if (which == 2 * STEPS) {
            to_scale[(long)index * width + column] = sum;
            if (term.kind == SPIKES) continue;
            double *of_channel = term.sums + 2 * maps * term.stride + column;
            of_channel[0] = term.kind == CURRENT ? (double)scale_of(term) : 1.0;
            of_channel[term.stride] = (double)term.first;
            of_channel[2 * term.stride] = (double)width;
        } else if (term.kind != SPIKES && t < maps) {
            term.sums[((which < STEPS ? 0 : maps) + t) * term.stride + column] = sum;
        }
    }
}

// The gradient to alpha, a block for each of its values. Where the scale multiplies currents, y is the scale times what
// normalisation gives.
KERNEL(node_alpha, (GRID_CONSTANT Terms terms, int count, int width, const double *to_scale, float *to_alpha)) {
    SHARED double sums[BLOCK];
    THREADS {
        double sum = 0.0;
        for (int index = 0; index < count; index++) {
            const Term &term = terms.each[index];
            if (term.scale_index != (int)blockIdx.x) continue;
            const int maps = term.advance == 0 ? 1 : STEPS;
            if (term.kind != CURRENT) {
                for (int column = (int)threadIdx.x; column < width; column += BLOCK)
                    sum += to_scale[(long)index * width + column];
                continue;
            }
            for (int of = (int)threadIdx.x; of < maps * width; of += BLOCK) {
                const long at = of / width * term.stride + of % width;
                sum += (double)term.factor[at] * term.sums[maps * term.stride + at]
                     + (double)term.beta[of % width] * term.sums[at];
            }
        }
        sums[threadIdx.x] = sum;
    }
    for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
        BARRIER
        THREADS {
            if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        }
    }
    BARRIER
    THREADS {
        if (threadIdx.x == 0) to_alpha[blockIdx.x] = (float)sums[0];
    }
}
