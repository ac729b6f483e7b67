// Maps of the same rows side by side. A block has `blockDim.x` neighbouring channels of the whole map, of `blockDim.y` rows.

// Rows of `width` values, which become the channels from `first` on.
struct Part {
    const float *from;
    int first, width;
};

struct Parts {
    Part each[PARTS];
};

// `to` is [rows, channels], the sum of all widths.
KERNEL(side_by_side, (GRID_CONSTANT Parts parts, float *to, long rows, int channels)) {
    THREADS {
        const long row = (long)blockIdx.x * blockDim.y + threadIdx.y;
        const int channel = (int)(blockIdx.y * blockDim.x + threadIdx.x);
        if (row >= rows || channel >= channels) continue;
        int index = 0;
        while (channel - parts.each[index].first >= parts.each[index].width) index++;
        const Part &part = parts.each[index];
        to[row * channels + channel] = READ_ONLY(part.from + row * part.width + channel - part.first);
    }
}
