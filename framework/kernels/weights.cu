// The weights of convolutions that read the same input: quantised, pruned and stacked at once, and
// the gradients to what that was made from. `network/fused_weights.rs` has the formulas. A block has
// a tile of one weight: blockIdx is tile, number of the weight.

struct Weight {
    const float *weight;   // [outputs, inputs, places], places = kh * kw
    const float *scores;   // of the same shape; null where nothing is removed
    const long *bound;     // [2]: what `find_bounds` of `largest.cu` found in the scores
    const float *logits;   // [levels]; null where there is one form
    float *to_weight;      // gradients of their shapes; null where none is wanted
    float *to_scores;
    float *to_logits;
    long first;            // where its values begin in the stack
    int count, inputs, places;
    int levels;            // number of forms; 0 leaves the weight as it is
    float units[LEVELS];   // the step of a form for a weight of deviation 1
    float limits[LEVELS];  // its largest level, in steps
};

struct WeightGroup {
    Weight each[WEIGHTS];
};

// The forms of a weight of a known deviation, and their parts in the mixture.
struct Forms {
    float steps[LEVELS], probabilities[LEVELS];
};

// The sum of BLOCK numbers, in place, in a fixed order.
DEVICE void add_up(double *sums) {
    for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
        THREADS {
            if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        }
        BARRIER
    }
}

// Sums of w and of its square over each tile: `sums` is [weights, tiles, 2].
KERNEL(weight_sums, (GRID_CONSTANT WeightGroup group, double *sums, int tile)) {
    SHARED double first[BLOCK], second[BLOCK];
    const Weight &own = group.each[blockIdx.y];
    const int begin = (int)blockIdx.x * tile, end = begin + tile < own.count ? begin + tile : own.count;
    if (own.levels == 0) return;
    THREADS {
        double sum = 0.0, squares = 0.0;
#pragma unroll 8
        for (int at = begin + (int)threadIdx.x; at < end; at += BLOCK) {
            const double value = own.weight[at];
            sum += value;
            squares += value * value;
        }
        first[threadIdx.x] = sum;
        second[threadIdx.x] = squares;
    }
    BARRIER
    add_up(first);
    add_up(second);
    THREADS {
        if (threadIdx.x != 0) continue;
        double *to = sums + ((long)blockIdx.y * gridDim.x + blockIdx.x) * 2;
        to[0] = first[0];
        to[1] = second[0];
    }
}

// p = softmax(logits)
DEVICE void softmax(const float *logits, int count, float *probabilities) {
    if (logits == nullptr) {
        probabilities[0] = 1.0f;
        return;
    }
    float largest = logits[0], total = 0.0f;
    for (int i = 1; i < count; i++) largest = logits[i] > largest ? logits[i] : largest;
    for (int i = 0; i < count; i++) total += probabilities[i] = expf(logits[i] - largest);
    for (int i = 0; i < count; i++) probabilities[i] /= total;
}

// The forms from the sums of all tiles; `first` and `second` have BLOCK places.
DEVICE void find_forms(const Weight &own, const double *sums, double *first, double *second, Forms *forms) {
    if (own.levels == 0) return;
    THREADS {
        double sum = 0.0, squares = 0.0;
        for (unsigned tile = threadIdx.x; tile < gridDim.x; tile += BLOCK) {
            const double *from = sums + ((long)blockIdx.y * gridDim.x + tile) * 2;
            sum += from[0];
            squares += from[1];
        }
        first[threadIdx.x] = sum;
        second[threadIdx.x] = squares;
    }
    BARRIER
    add_up(first);
    add_up(second);
    THREADS {
        if (threadIdx.x != 0) continue;
        const double count = own.count, above = second[0] - first[0] * first[0] / count;
        const float deviation = (float)sqrt((above < 0.0 ? 0.0 : above) / (count - 1.0));
        for (int i = 0; i < own.levels; i++) forms->steps[i] = deviation * own.units[i];
        softmax(own.logits, own.levels, forms->probabilities);
    }
    BARRIER
}

// Q(w); what is not a number stays that.
DEVICE float level_of(float value, float step, float limit) {
    const float level = rintf(value / step + 0.5f) - 0.5f;
    return (level < -limit ? -limit : level > limit ? limit : level) * step;
}

DEVICE float mixture(const Weight &own, const Forms *forms, float value) {
    if (own.levels == 0) return value;
    float mixed = 0.0f;
    for (int i = 0; i < own.levels; i++)
        mixed += level_of(value, forms->steps[i], own.limits[i]) * forms->probabilities[i];
    return mixed;
}

// One where the weight stays, zero where it is removed.
DEVICE float mask_of(const Weight &own, long limit, long end, int at) {
    const long magnitude = (long)(bits_of(own.scores[at]) & 0x7fffffffu);
    return magnitude > limit || (magnitude == limit && at < end) ? 1.0f : 0.0f;
}

// [outputs, inputs, places] and [outputs, places, inputs]: the place in the other order.
DEVICE int turned(int at, int rows, int columns) {
    const int row = rows * columns, rest = at % row;
    return at - rest + rest % columns * rows + rest / columns;
}

// `stacked` has the weights one after another, the input channels last.
KERNEL(weights_forward, (GRID_CONSTANT WeightGroup group, const double *sums, float *stacked, int tile)) {
    SHARED double first[BLOCK], second[BLOCK];
    SHARED Forms forms;
    const Weight &own = group.each[blockIdx.y];
    const int begin = (int)blockIdx.x * tile, end = begin + tile < own.count ? begin + tile : own.count;
    if (begin >= own.count) return;
    find_forms(own, sums, first, second, &forms);
    THREADS {
        const bool prunes = own.scores != nullptr;
        const long limit = prunes ? own.bound[0] : 0, last = prunes ? own.bound[1] : 0;
#pragma unroll 4
        for (int to = begin + (int)threadIdx.x; to < end; to += BLOCK) {
            const int at = turned(to, own.places, own.inputs);
            const float value = mixture(own, &forms, own.weight[at]);
            stacked[own.first + to] = prunes ? value * mask_of(own, limit, last, at) : value;
        }
    }
}

// The step of the one form of each row of the stack: `steps` is [rows].
KERNEL(weight_steps, (GRID_CONSTANT WeightGroup group, const double *sums, float *steps)) {
    SHARED double first[BLOCK], second[BLOCK];
    SHARED Forms forms;
    const Weight &own = group.each[blockIdx.y];
    const int values = own.inputs * own.places, rows = own.count / values;
    find_forms(own, sums, first, second, &forms);
    THREADS {
        for (int row = (int)(blockIdx.x * BLOCK + threadIdx.x); row < rows; row += (int)gridDim.x * BLOCK)
            steps[own.first / values + row] = forms.steps[0];
    }
}

// `upstream` is the gradient to `stacked`, in its order. `products` [weights, tiles, LEVELS] gets
// the sums of mask * upstream * Q(w) over each tile, where gradients to the logits are wanted.
KERNEL(weights_backward, (GRID_CONSTANT WeightGroup group, const double *sums, const float *upstream,
                          double *products, int tile)) {
    SHARED double first[BLOCK], second[BLOCK];
    SHARED Forms forms;
    PRIVATE(double, product, LEVELS);
    const Weight &own = group.each[blockIdx.y];
    const int begin = (int)blockIdx.x * tile, end = begin + tile < own.count ? begin + tile : own.count;
    if (begin >= own.count) return;
    const bool mixes = products != nullptr && own.logits != nullptr;
    if (mixes || own.to_scores != nullptr) find_forms(own, sums, first, second, &forms);
    THREADS {
        UNROLL
        for (int i = 0; i < LEVELS; i++) OWN(product)[i] = 0.0;
        const bool prunes = own.scores != nullptr;
        const long limit = prunes ? own.bound[0] : 0, last = prunes ? own.bound[1] : 0;
        for (int at = begin + (int)threadIdx.x; at < end; at += BLOCK) {
            const float gradient = upstream[own.first + turned(at, own.inputs, own.places)];
            const float kept = prunes ? gradient * mask_of(own, limit, last, at) : gradient;
            if (own.to_weight != nullptr) own.to_weight[at] = kept;
            if (!mixes && own.to_scores == nullptr) continue;
            const float value = own.weight[at];
            float mixed = own.levels == 0 ? value : 0.0f;
            UNROLL
            for (int i = 0; i < LEVELS; i++) {
                if (i >= own.levels) continue;
                const float level = level_of(value, forms.steps[i], own.limits[i]);
                mixed += level * forms.probabilities[i];
                OWN(product)[i] += kept * level;
            }
            if (own.to_scores == nullptr) continue;
            const float score = own.scores[at];
            own.to_scores[at] = gradient * mixed * (float)((score > 0.0f) - (score < 0.0f));
        }
    }
    if (!mixes) return;
    BARRIER
    UNROLL
    for (int i = 0; i < LEVELS; i++) {
        if (i >= own.levels) break;
        THREADS { first[threadIdx.x] = OWN(product)[i]; }
        BARRIER
        add_up(first);
        THREADS {
            if (threadIdx.x == 0) products[((long)blockIdx.y * gridDim.x + blockIdx.x) * LEVELS + i] = first[0];
        }
        BARRIER
    }
}

// The gradient to the logits from the products of all weights that share them, `weights` of them in
// the group: p_b (g_b - sum_c p_c g_c). A block for each weight; the first of those that share
// logits has their gradient.
KERNEL(logits_backward, (GRID_CONSTANT WeightGroup group, const double *products, int weights, int tiles,
                         int tile)) {
    SHARED double sums[BLOCK], to_probabilities[LEVELS];
    SHARED float probabilities[LEVELS];
    const Weight &own = group.each[blockIdx.y];
    if (own.to_logits == nullptr) return;
    for (int i = 0; i < own.levels; i++) {
        THREADS {
            double sum = 0.0;
            for (int other = 0; other < weights; other++) {
                const Weight &with = group.each[other];
                if (with.logits != own.logits) continue;
                const int used = (with.count + tile - 1) / tile;
                for (int at = (int)threadIdx.x; at < used; at += BLOCK)
                    sum += products[((long)other * tiles + at) * LEVELS + i];
            }
            sums[threadIdx.x] = sum;
        }
        BARRIER
        add_up(sums);
        THREADS {
            if (threadIdx.x == 0) to_probabilities[i] = sums[0];
        }
        BARRIER
    }
    THREADS {
        if (threadIdx.x != 0) continue;
        softmax(own.logits, own.levels, probabilities);
        double mean = 0.0;
        for (int i = 0; i < own.levels; i++) mean += probabilities[i] * to_probabilities[i];
        for (int i = 0; i < own.levels; i++)
            own.to_logits[i] = (float)(probabilities[i] * (to_probabilities[i] - mean));
    }
}
