// A node with everything that drives it: `spiking/node/mod.rs` has the formulas. A thread has one channel of ROWS rows, with all T
// timesteps in registers; a block has `blockDim.x` neighbouring channels of ROWS * `blockDim.y` rows.

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

DEVICE float scale_of(const Term &term) { return term.scale == nullptr ? 1.0f : READ_ONLY(term.scale); }

// The place of a thread: a channel, and rows that lie `blockDim.y` apart.
struct Place {
    long first, rows;
    int column, width;
};

DEVICE Place place_of(long rows, int width) {
    const long first = (long)blockIdx.x * ROWS * blockDim.y + threadIdx.y;
    return Place{first, rows, (int)(blockIdx.y * blockDim.x + threadIdx.x), width};
}

DEVICE long row_of(Place place, int r) { return place.first + r * (long)blockDim.y; }

DEVICE bool is_inside(Place place, int r) { return row_of(place, r) < place.rows && place.column < place.width; }

// Where all threads read: outside of the node, its last row and channel.
DEVICE long row_to_read(Place place, int r) {
    const long row = row_of(place, r);
    return row < place.rows ? row : place.rows - 1;
}

DEVICE int column_to_read(Place place) { return place.column < place.width ? place.column : place.width - 1; }

// What a term gives before its neurons, if it has any, is factor * x + shift: the currents of a part, or spikes times their
// scale. All values of a thread are asked for before the first is needed.
struct Read {
    float x[ROWS * STEPS], factor[STEPS], shift[STEPS];
};

template <int KIND>
DEVICE Read read_term(const Term &term, Place place, float scale) {
    Read read;
    const int column = column_to_read(place);
    const long pitch = term.advance * term.stride;
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        const long at = row_to_read(place, r) * term.stride + column;
        UNROLL
        for (int t = 0; t < STEPS; t++)
            read.x[r * STEPS + t] = KIND == SPIKES ? READ_ONLY((const float *)term.x + at + t * pitch)
                                                   : value_of(READ_ONLY((const Value *)term.x + at + t * pitch));
    }
    UNROLL
    for (int t = 0; t < STEPS; t++) {
        const long at = t * term.stride + column;
        read.factor[t] = KIND == SPIKES ? scale : READ_ONLY(term.factor + at);
        read.shift[t] = KIND == SPIKES ? 0.0f : READ_ONLY(term.shift + at);
        // Currents are scaled by what normalises them, spikes after it.
        if (KIND == CURRENT) read.factor[t] *= scale, read.shift[t] *= scale;
    }
    return read;
}

// Adds what a term gives to the node's currents.
template <int KIND>
DEVICE void add_term(const Term &term, Neuron neuron, Place place, float current[ROWS * STEPS]) {
    const float scale = scale_of(term);
    const Read read = read_term<KIND>(term, place, scale);
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        float membrane = 0.0f;
        UNROLL
        for (int t = 0; t < STEPS; t++) {
            float y = read.factor[t] * read.x[r * STEPS + t] + read.shift[t];
            if (KIND == CANDIDATE) {
                const float u = membrane + y;
                membrane = kept(neuron, u);
                y = u > neuron.threshold ? scale : 0.0f;
            }
            current[r * STEPS + t] += y;
        }
    }
}

// The node's currents of all rows and timesteps of a thread.
DEVICE void currents_of(const Terms &terms, int count, Neuron neuron, Place place, float current[ROWS * STEPS]) {
    UNROLL
    for (int of = 0; of < ROWS * STEPS; of++) current[of] = 0.0f;
    for (int index = 0; index < count; index++) {
        const Term &term = terms.each[index];
        if (term.kind == CANDIDATE) add_term<CANDIDATE>(term, neuron, place, current);
        else if (term.kind == CURRENT) add_term<CURRENT>(term, neuron, place, current);
        else add_term<SPIKES>(term, neuron, place, current);
    }
}

// Spikes [T, rows, width] and, where `fired` is given, their number in each block at each timestep: [blocks, T].
KERNEL(node_forward, (GRID_CONSTANT Terms terms, int count, int width, Neuron neuron, long rows, float *spikes,
                      unsigned *fired)) {
    SHARED unsigned masks[ROWS * BLOCK];
    THREADS {
        const Place place = place_of(rows, width);
        float current[ROWS * STEPS];
        currents_of(terms, count, neuron, place, current);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            const bool inside = is_inside(place, r);
            float membrane = 0.0f;
            unsigned mask = 0;
            UNROLL
            for (int t = 0; t < STEPS; t++) {
                const float u = membrane + current[r * STEPS + t];
                const bool fires = u > neuron.threshold;
                membrane = kept(neuron, u);
                mask |= (unsigned)fires << t;
                if (inside) spikes[(t * rows + row_of(place, r)) * width + place.column] = fires ? 1.0f : 0.0f;
            }
            masks[r * BLOCK + thread_number()] = inside ? mask : 0;
        }
    }
    if (fired == nullptr) return;
    BARRIER
    // Eight threads for each timestep, then one.
    SHARED unsigned counts[STEPS * 8];
    THREADS {
        const int threads = (int)(blockDim.x * blockDim.y);
        for (int of = thread_number(); of < STEPS * 8; of += threads) {
            unsigned count = 0;
            for (int r = 0; r < ROWS; r++)
                for (int from = of % 8; from < threads; from += 8) count += masks[r * BLOCK + from] >> (of / 8) & 1u;
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

// A term's sums are added up while the next term's are written, where 48 KB hold both.
#define BUFFERS (SUMS * BLOCK * 8 <= 49152 ? 2 : 1)

// Writes the gradients of a term from those of the node's currents, and what the thread adds to the term's sums, BLOCK apart.
// Where CONSTANT, x is the same at all timesteps, and so is the place of its gradient: they add up.
template <int KIND, bool CONSTANT>
DEVICE void term_backward(const Term &term, Neuron neuron, Place place, const float node[ROWS * STEPS], float *sums) {
    const float scale = scale_of(term);
    const Read read = read_term<KIND>(term, place, scale);
    float mean[STEPS], first[STEPS], second[STEPS], to_scale = 0.0f;
    UNROLL
    for (int t = 0; t < STEPS; t++) {
        mean[t] = KIND == SPIKES ? 0.0f : READ_ONLY(term.mean + t * term.stride + column_to_read(place));
        first[t] = second[t] = 0.0f;
    }
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        const float *gradient = node + r * STEPS, *x = read.x + r * STEPS;
        float value[STEPS];
        if (KIND == CANDIDATE) {
            float upstream[STEPS], u[STEPS], membrane = 0.0f;
            UNROLL
            for (int t = 0; t < STEPS; t++) {
                u[t] = membrane + (read.factor[t] * x[t] + read.shift[t]);
                membrane = kept(neuron, u[t]);
                upstream[t] = gradient[t] * scale;
                if (u[t] > neuron.threshold) to_scale += gradient[t];
            }
            to_potentials(neuron, upstream, u, value);
        }
        UNROLL
        for (int t = 0; t < STEPS; t++) {
            if (KIND == SPIKES) to_scale = fmaf(gradient[t], x[t], to_scale);
            if (KIND != CANDIDATE) value[t] = KIND == SPIKES ? gradient[t] * scale : gradient[t];
        }
        if (CONSTANT) {
            UNROLL
            for (int t = STEPS - 2; t >= 0; t--) value[t] += value[t + 1];
        }
        float *to = term.gradient + row_of(place, r) * place.width + place.column;
        if (is_inside(place, r)) {
            UNROLL
            for (int t = 0; t < (CONSTANT ? 1 : STEPS); t++) to[t * term.advance * place.width] = value[t];
        }
        UNROLL
        for (int t = 0; t < (CONSTANT ? 1 : STEPS); t++) {
            first[t] += value[t];
            second[t] = fmaf(value[t], x[t] - mean[t], second[t]);
        }
    }
    UNROLL
    for (int t = 0; t < STEPS; t++) {
        sums[t * BLOCK] = first[t];
        sums[(STEPS + t) * BLOCK] = second[t];
    }
    sums[2 * STEPS * BLOCK] = to_scale;
}

// Gradients of the rows to every term, and their sums over the rows of a block: `partial` is [blocks along x, terms, SUMS, width].
// `upstream`, the gradient to the spikes, has rows `upstream_stride` apart. Outside of the node all gradients are 0.
KERNEL(node_backward, (GRID_CONSTANT Terms terms, int count, int width, Neuron neuron, long rows, const float *upstream,
                       long upstream_stride, float *partial)) {
    // Gradients to the node's currents.
    PRIVATE(float, node, ROWS * STEPS);
    SHARED float sums[BUFFERS * SUMS * BLOCK];
    THREADS {
        const Place place = place_of(rows, width);
        float current[ROWS * STEPS];
        currents_of(terms, count, neuron, place, current);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            const bool inside = is_inside(place, r);
            const float *from = upstream + row_to_read(place, r) * upstream_stride + column_to_read(place);
            float gradient[STEPS], u[STEPS], membrane = 0.0f;
            UNROLL
            for (int t = 0; t < STEPS; t++) {
                const float value = READ_ONLY(from + t * rows * upstream_stride);
                gradient[t] = inside ? value : 0.0f;
                u[t] = membrane + current[r * STEPS + t];
                membrane = kept(neuron, u[t]);
            }
            to_potentials(neuron, gradient, u, OWN(node) + r * STEPS);
        }
    }
    for (int index = 0; index < count; index++) {
        const Term &term = terms.each[index];
        float *buffer = sums + index % BUFFERS * SUMS * BLOCK;
        THREADS {
            const Place place = place_of(rows, width);
            float *own = buffer + thread_number();
            const bool constant = term.advance == 0;
            if (term.kind == SPIKES) term_backward<SPIKES, false>(term, neuron, place, OWN(node), own);
            else if (term.kind == CANDIDATE && !constant) term_backward<CANDIDATE, false>(term, neuron, place, OWN(node), own);
            else if (term.kind == CANDIDATE) term_backward<CANDIDATE, true>(term, neuron, place, OWN(node), own);
            else if (!constant) term_backward<CURRENT, false>(term, neuron, place, OWN(node), own);
            else term_backward<CURRENT, true>(term, neuron, place, OWN(node), own);
        }
        BARRIER
        THREADS {
            const int column = (int)(blockIdx.y * blockDim.x + threadIdx.x);
            if (column >= width) continue;
            for (int which = (int)threadIdx.y; which < SUMS; which += (int)blockDim.y) {
                float total = 0.0f;
                for (unsigned group = 0; group < blockDim.y; group++)
                    total += buffer[which * BLOCK + group * blockDim.x + threadIdx.x];
                partial[(((long)blockIdx.x * count + index) * SUMS + which) * width + column] = total;
            }
        }
        if (BUFFERS == 1) { BARRIER }
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
