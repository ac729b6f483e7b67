// The least magnitude that stays where the largest of several tensors do, found digit by digit from
// the highest on, by counting: the bits of a positive f32 are ordered as its values are. All tensors
// at once: blockIdx.y is the tensor's number.

#define DIGITS 3
#define BINS 2048

struct Ranked {
    const float *values;
    long count, kept;  // 0 <= kept <= count
};

struct RankedGroup {
    Ranked each[TENSORS];
};

// What the digits before told: the highest bits of the least magnitude that stays, and how many of
// those magnitudes that begin with them do.
struct Found {
    unsigned beginning, wanted, alike;  // alike: as many magnitudes begin with them
};

DEVICE unsigned magnitude(float value) { return bits_of(value) & 0x7fffffffu; }

// Bits of each digit, and those below it: 11, 11 and 9, from bit 20, 9 and 0 on.
DEVICE int width_of(int digit) { return digit == 2 ? 9 : 11; }
DEVICE int shift_of(int digit) { return digit == 0 ? 20 : digit == 1 ? 9 : 0; }

// Sums of `totals[0..=i]` in place, for BLOCK of them; `totals` has 2 * BLOCK places.
DEVICE void add_up(unsigned *totals) {
    int from = 0;
    for (unsigned step = 1; step < BLOCK; step *= 2) {
        THREADS {
            const unsigned at = threadIdx.x, before = at >= step ? totals[from + at - step] : 0;
            totals[BLOCK - from + at] = totals[from + at] + before;
        }
        BARRIER
        from = BLOCK - from;
    }
    if (from == 0) return;
    THREADS { totals[threadIdx.x] = totals[from + threadIdx.x]; }
    BARRIER
}

// Fills found[0..=digits] from what was counted of the first `digits` digits.
DEVICE void find(const Ranked &own, const unsigned *counted, int digits, unsigned *totals, Found *found) {
    THREADS {
        if (threadIdx.x == 0) found[0] = Found{0, (unsigned)own.kept, (unsigned)own.count};
    }
    BARRIER
    for (int digit = 0; digit < digits; digit++) {
        const int last = (1 << width_of(digit)) - 1, each = (last + BLOCK) / BLOCK;
        const unsigned *bins = counted + digit * BINS;
        // The first thread has the highest digits.
        THREADS {
            unsigned total = 0;
            for (int i = 0; i < each; i++) {
                const int bin = last - (int)threadIdx.x * each - i;
                if (bin >= 0) total += bins[bin];
            }
            totals[threadIdx.x] = total;
        }
        BARRIER
        add_up(totals);
        THREADS {
            const unsigned wanted = found[digit].wanted;
            unsigned above = threadIdx.x == 0 ? 0 : totals[threadIdx.x - 1];
            if (above >= wanted || totals[threadIdx.x] < wanted) continue;
            int bin = last - (int)threadIdx.x * each;
            for (; above + bins[bin] < wanted; bin--) above += bins[bin];
            const unsigned beginning = found[digit].beginning << width_of(digit) | (unsigned)bin;
            found[digit + 1] = Found{beginning, wanted - above, bins[bin]};
        }
        BARRIER
    }
}

// Counts a digit of the magnitudes that begin as the digits before it found. `bins` is [tensors,
// DIGITS, BINS], zeros before the first digit is counted.
KERNEL(count_digits, (GRID_CONSTANT RankedGroup group, unsigned *bins, int digit, long tile)) {
    SHARED unsigned totals[2 * BLOCK], counts[BINS];
    SHARED Found found[DIGITS + 1];
    const Ranked &own = group.each[blockIdx.y];
    const long begin = (long)blockIdx.x * tile, end = begin + tile < own.count ? begin + tile : own.count;
    if (begin >= own.count || own.kept == 0) return;
    unsigned *counted = bins + blockIdx.y * (DIGITS * BINS);
    find(own, counted, digit, totals, found);
    THREADS {
        for (int bin = (int)threadIdx.x; bin < BINS; bin += BLOCK) counts[bin] = 0;
    }
    BARRIER
    THREADS {
        const unsigned beginning = found[digit].beginning, last = (1u << width_of(digit)) - 1;
        const int shift = shift_of(digit), width = width_of(digit);
#pragma unroll 4
        for (long at = begin + threadIdx.x; at < end; at += BLOCK) {
            const unsigned value = magnitude(own.values[at]);
            if (value >> shift >> width == beginning) ADD_TO_COUNT(&counts[value >> shift & last], 1u);
        }
    }
    BARRIER
    THREADS {
        for (int bin = (int)threadIdx.x; bin < BINS; bin += BLOCK) {
            if (counts[bin] != 0) ADD_TO_COUNT(&counted[digit * BINS + bin], counts[bin]);
        }
    }
}

// The bound of what stays, from all digits: a value does where its magnitude's bits are above
// bound[0], or equal to it and its index is below bound[1]. Of equal ones the first stay. `bounds` is
// [tensors, 2].
KERNEL(find_bounds, (GRID_CONSTANT RankedGroup group, const unsigned *bins, long *bounds)) {
    SHARED unsigned totals[2 * BLOCK];
    SHARED Found found[DIGITS + 1];
    const Ranked &own = group.each[blockIdx.y];
    long *bound = bounds + blockIdx.y * 2;
    if (own.kept == 0) {
        THREADS {
            if (threadIdx.x != 0) continue;
            bound[0] = 0x7fffffffL;
            bound[1] = 0;
        }
        return;
    }
    find(own, bins + blockIdx.y * (DIGITS * BINS), DIGITS, totals, found);
    if (found[DIGITS].alike == found[DIGITS].wanted) {
        THREADS {
            if (threadIdx.x != 0) continue;
            bound[0] = (long)found[DIGITS].beginning;
            bound[1] = own.count;
        }
        return;
    }
    // Each thread has values beside each other, and the one that has the last that stays looks for it.
    const long each = (own.count + BLOCK - 1) / BLOCK;
    THREADS {
        const long begin = threadIdx.x * each, end = begin + each < own.count ? begin + each : own.count;
        unsigned equal = 0;
        for (long at = begin; at < end; at++) equal += magnitude(own.values[at]) == found[DIGITS].beginning;
        totals[threadIdx.x] = equal;
    }
    BARRIER
    add_up(totals);
    THREADS {
        const unsigned wanted = found[DIGITS].wanted;
        unsigned before = threadIdx.x == 0 ? 0 : totals[threadIdx.x - 1];
        if (before >= wanted || totals[threadIdx.x] < wanted) continue;
        long at = threadIdx.x * each;
        for (;; at++) {
            before += magnitude(own.values[at]) == found[DIGITS].beginning;
            if (before == wanted) break;
        }
        bound[0] = (long)found[DIGITS].beginning;
        bound[1] = at + 1;
    }
}
