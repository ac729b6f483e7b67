// Batch normalisation of maps [maps * rows, channels], channels-last: `maps` is T, or 1 where all timesteps are the same. A
// block has `blockDim.x` neighbouring channels of `blockDim.y` rows at a time.

// Sums in f32 are no longer than that.
#define RUN 64

// Sums of x - shift and of its square over a tile of rows, with the first row of the timestep for a shift: `partial` is
// [tiles, maps, 2, channels]. blockIdx: tile, span of channels, timestep.
KERNEL(moments_partial, (const Value *x, double *partial, long rows, int channels, long tile)) {
    SHARED double sums[2 * BLOCK];
    THREADS {
        const int channel = (int)(blockIdx.y * blockDim.x + threadIdx.x);
        double first = 0.0, second = 0.0;
        if (channel < channels) {
            const Value *own = x + (long)blockIdx.z * rows * channels + channel;
            const float shift = value_of(own[0]);
            const long begin = (long)blockIdx.x * tile, end = begin + tile < rows ? begin + tile : rows;
            for (long from = begin + threadIdx.y; from < end; from += (long)RUN * blockDim.y) {
                const long last = from + (long)RUN * blockDim.y < end ? from + (long)RUN * blockDim.y : end;
                float sum = 0.0f, squares = 0.0f;
#pragma unroll 8
                for (long row = from; row < last; row += blockDim.y) {
                    const float value = value_of(own[row * channels]) - shift;
                    sum += value;
                    squares += value * value;
                }
                first += (double)sum;
                second += (double)squares;
            }
        }
        sums[thread_number()] = first;
        sums[BLOCK + thread_number()] = second;
    }
    BARRIER
    THREADS {
        const int channel = (int)(blockIdx.y * blockDim.x + threadIdx.x);
        if (channel >= channels) continue;
        for (int which = (int)threadIdx.y; which < 2; which += (int)blockDim.y) {
            double total = 0.0;
            for (unsigned group = 0; group < blockDim.y; group++)
                total += sums[which * BLOCK + group * blockDim.x + threadIdx.x];
            partial[(((long)blockIdx.x * gridDim.z + blockIdx.z) * 2 + which) * channels + channel] = total;
        }
    }
}

// What a normalisation is applied by: rows of [T, channels] each.
struct Coefficients {
    float *factor, *shift, *mean, *inverse;  // y = factor * x + shift
};

DEVICE void set(Coefficients to, long at, float gamma, float beta, float mean, float variance, float epsilon) {
    const float inverse = 1.0f / sqrtf(variance + epsilon), factor = gamma * inverse;
    to.factor[at] = factor;
    to.shift[at] = beta - mean * factor;
    to.mean[at] = mean;
    to.inverse[at] = inverse;
}

// What is normalised is step * x, and gamma and beta, running statistics and epsilon are those of that. By the mean and the
// variance of x, with epsilon / step^2, the result is the same.
DEVICE float step_of(const float *steps, long channel) { return steps == nullptr ? 1.0f : steps[channel]; }

// Coefficients from running statistics.
KERNEL(coefficients_of_running, (const float *gamma, const float *beta, const float *mean, const float *variance,
                                 const float *steps, Coefficients to, int channels, float epsilon)) {
    THREADS {
        const long channel = first_thread() + threadIdx.x;
        if (channel >= channels) continue;
        const float step = step_of(steps, channel), square = step * step;
        for (int t = 0; t < STEPS; t++)
            set(to, (long)t * channels + channel, gamma[channel], beta[channel], mean[channel] / step, variance[channel] / square,
                epsilon / square);
    }
}

// Timesteps whose sums are added up at once: 32 KB of them.
#define CHUNK (STEPS < 8 ? STEPS : 8)

// Coefficients from the sums of all tiles, added in their order, and the running statistics moved towards them; `alike` takes
// all timesteps together. A block has 16 channels, and 16 threads for each.
KERNEL(coefficients_of_moments, (const double *partial, const Value *x, long tiles, long rows, int channels, int maps,
                                 int alike, const float *gamma, const float *beta, float *running_mean,
                                 float *running_variance, const float *steps, double momentum, float epsilon,
                                 Coefficients to)) {
    SHARED double sums[2 * CHUNK * BLOCK];
    SHARED double means[STEPS * 16], variances[STEPS * 16];
    for (int begin = 0; begin < maps; begin += CHUNK) {
        THREADS {
            const int channel = (int)(blockIdx.x * 16 + threadIdx.x);
            UNROLL
            for (int map = 0; map < CHUNK; map++) {
                double first = 0.0, second = 0.0;
                if (channel < channels && begin + map < maps) {
#pragma unroll 4
                    for (long tile = threadIdx.y; tile < tiles; tile += 16) {
                        const double *from = partial + (tile * maps + begin + map) * 2 * channels + channel;
                        first += READ_ONLY(from);
                        second += READ_ONLY(from + channels);
                    }
                }
                sums[2 * map * BLOCK + thread_number()] = first;
                sums[(2 * map + 1) * BLOCK + thread_number()] = second;
            }
        }
        BARRIER
        // A thread for each channel and timestep.
        THREADS {
            const int channel = (int)(blockIdx.x * 16 + threadIdx.x), map = (int)threadIdx.y;
            if (channel >= channels || map >= CHUNK || begin + map >= maps) continue;
            double first = 0.0, second = 0.0;
            for (int group = 0; group < 16; group++) {
                first += sums[2 * map * BLOCK + group * 16 + (int)threadIdx.x];
                second += sums[(2 * map + 1) * BLOCK + group * 16 + (int)threadIdx.x];
            }
            first /= (double)rows;
            second = second / (double)rows - first * first;
            const int at = (begin + map) * 16 + (int)threadIdx.x;
            means[at] = first + (double)value_of(READ_ONLY(x + (begin + map) * rows * channels + channel));
            variances[at] = second > 0.0 ? second : 0.0;
        }
        BARRIER
    }
    THREADS {
        const int channel = (int)(blockIdx.x * 16 + threadIdx.x);
        if (threadIdx.y != 0 || channel >= channels) continue;
        double mean = 0.0, variance = 0.0;
        if (alike) {
            for (int t = 0; t < STEPS; t++) mean += means[(maps == 1 ? 0 : t) * 16 + threadIdx.x];
            mean /= STEPS;
            for (int t = 0; t < STEPS; t++) {
                const int at = (maps == 1 ? 0 : t) * 16 + (int)threadIdx.x;
                variance += variances[at] + (means[at] - mean) * (means[at] - mean);
            }
            variance /= STEPS;
        }
        double old_mean = running_mean[channel], old_variance = running_variance[channel];
        const double count = (double)(alike ? rows * STEPS : rows), unbiased = count / (count - 1.0);
        const float step = step_of(steps, channel), square = step * step;
        for (int t = 0; t < STEPS; t++) {
            if (!alike) {
                mean = means[(maps == 1 ? 0 : t) * 16 + threadIdx.x];
                variance = variances[(maps == 1 ? 0 : t) * 16 + threadIdx.x];
            }
            if (!alike || t == 0) {
                old_mean = (float)((1.0 - momentum) * old_mean + momentum * (mean * step));
                old_variance = (float)((1.0 - momentum) * old_variance + momentum * (variance * unbiased * square));
            }
            set(to, (long)t * channels + channel, gamma[channel], beta[channel], (float)mean, (float)variance,
                epsilon / square);
        }
        running_mean[channel] = (float)old_mean;
        running_variance[channel] = (float)old_variance;
    }
}

// Rows that a thread reads before it writes one.
#define AHEAD 4

// The gradient to x from the gradient g to the normalised currents, a * g + p * x + q, and the gradients to gamma and beta.
// `sums` is [2 * maps + 3, channels]: sums of g over the rows, its products with x - mean; of each channel the scale, the first
// channel of its part and the number of them. g has the rows of one part after those of another. In training, mean and variance
// depend on x, too. blockIdx: tile, span of channels, timestep.
KERNEL(normalisation_backward, (const float *__restrict__ g, const Value *__restrict__ x, Value *__restrict__ result,
                                const double *sums, Coefficients of, const float *gamma, long rows, int channels,
                                int maps, int alike, int training, long tile, float *to_gamma, float *to_beta)) {
    THREADS {
        const int channel = (int)(blockIdx.y * blockDim.x + threadIdx.x), map = (int)blockIdx.z;
        if (channel >= channels) continue;
        const long at = (long)map * channels + channel;
        const double *of_channel = sums + 2L * maps * channels + channel;
        const double scale = of_channel[0];
        const long first = (long)of_channel[channels], width = (long)of_channel[2L * channels];
        const float inverse = of.inverse[at];
        const double factor = (double)gamma[channel] * scale * (double)inverse;
        float p = 0.0f, q = 0.0f;
        if (training) {
            double sum = 0.0, product = 0.0;
            for (int t = alike ? 0 : map; t < (alike ? maps : map + 1); t++) {
                sum += sums[(long)t * channels + channel];
                product += sums[(long)(maps + t) * channels + channel];
            }
            const double count = (double)(alike ? rows * maps : rows);
            const double slope = product / count * (double)(inverse * inverse);
            p = (float)(-factor * slope);
            q = (float)(factor * (slope * (double)of.mean[at] - sum / count));
        }
        const float a = (float)factor;
        const float *own = g + first * maps * rows + (channel - first) + (long)map * rows * width;
        const long begin = (long)blockIdx.x * tile, end = begin + tile < rows ? begin + tile : rows;
        for (long from = begin + threadIdx.y; from < end; from += AHEAD * blockDim.y) {
            float gradient[AHEAD], value[AHEAD];
            UNROLL
            for (int i = 0; i < AHEAD; i++) {
                const long row = from + i * (long)blockDim.y;
                gradient[i] = row < end ? own[row * width] : 0.0f;
                value[i] = training && row < end ? value_of(x[((long)map * rows + row) * channels + channel]) : 0.0f;
            }
            UNROLL
            for (int i = 0; i < AHEAD; i++) {
                const long row = from + i * (long)blockDim.y;
                const float sum = a * gradient[i];
                if (row < end)
                    result[((long)map * rows + row) * channels + channel] = rounded(training ? sum + p * value[i] + q : sum);
            }
        }
        if (blockIdx.x != 0 || map != 0 || threadIdx.y != 0) continue;
        double gamma_sum = 0.0, beta_sum = 0.0;
        for (int t = 0; t < maps; t++) {
            gamma_sum += scale * sums[(long)(maps + t) * channels + channel] * (double)of.inverse[(long)t * channels + channel];
            beta_sum += scale * sums[(long)t * channels + channel];
        }
        to_gamma[channel] = (float)gamma_sum;
        to_beta[channel] = (float)beta_sum;
    }
}
