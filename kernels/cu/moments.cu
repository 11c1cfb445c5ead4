// Percentiles of slabs, mean and deviation of what lies above a threshold between them: robust statistics of intensities.
//
// stack, places as in slab.cu. Percentiles are found by their digits: three rounds of 11, 11 and 10 bits, each a
// histogram of the values that share the digits before. They are equal to the reference to the bit. Sums run in double
// precision in an order that depends on the sizes only.
#include "sagitta.cuh"

// Order statistics looked for at once: two neighbours for each of two percentiles.
const int WANTED = 4;
const int BINS = 2048;

// The values of one slab that count: every second of every second row.
struct Sample {
    const float* stack;
    const int* places;
    int columns, plane, across, count;

    __device__ Sample(const float* stack, const int* places, int item, int channels,
                      int padded_columns, int padded_rows)
        : stack(stack), places(places + item * channels), columns(padded_columns),
          plane(padded_columns * padded_rows), across((padded_columns + 1) / 2),
          count((channels * padded_rows + 1) / 2 * across) {}

    __device__ float at(int n) const {
        int row = n / across;
        int offset = 2 * row * columns + 2 * (n - row * across);
        int channel = offset / plane;
        return stack[(size_t)places[channel] * plane + (offset - channel * plane)];
    }
};

// Whether `prefixes[q]` is the first of its kind: equal ones share a histogram.
__device__ inline int first_alike(const u32* prefixes, int q) {
    for (int other = 0; other < q; ++other)
        if (prefixes[other] == prefixes[q]) return other;
    return q;
}

// histogram: [items, WANTED, BINS], zero before. A key counts where its bits above `shift + bits` are the prefix.
KERNEL count_digits(const float* __restrict__ stack, const int* __restrict__ places,
                    const u32* __restrict__ prefixes, int* __restrict__ histogram, int channels,
                    int padded_columns, int padded_rows, int shift, int bits) {
    __shared__ int counts[WANTED * BINS];
    int item = blockIdx.y;
    for (int n = threadIdx.x; n < WANTED * BINS; n += THREADS) counts[n] = 0;
    const u32* prefix = prefixes + item * WANTED;
    __syncthreads();
    Sample sample(stack, places, item, channels, padded_columns, padded_rows);
    FOR_EACH(n, sample.count) {
        u32 key = ordered(sample.at(n));
        // A shift by all 32 bits is undefined: no key has digits before the first round.
        u32 before = shift + bits == 32 ? 0 : key >> (shift + bits);
        u32 digit = key >> shift & ((1u << bits) - 1);
        for (int q = 0; q < WANTED; ++q)
            if (before == prefix[q] && first_alike(prefix, q) == q)
                atomicAdd(&counts[q * BINS + digit], 1);
    }
    __syncthreads();
    int* to = histogram + item * WANTED * BINS;
    for (int n = threadIdx.x; n < WANTED * BINS; n += THREADS)
        if (counts[n]) atomicAdd(&to[n], counts[n]);
}

// Appends to each prefix the digit in which its rank falls, and takes from the rank what lies below. A block for each item.
KERNEL pick_digits(const int* __restrict__ histogram, u32* __restrict__ prefixes,
                   int* __restrict__ ranks, int bits) {
    const int SHARE = BINS / THREADS;
    __shared__ int sums[THREADS];
    __shared__ u32 before[WANTED];
    int item = blockIdx.x;
    u32* prefix = prefixes + item * WANTED;
    int* rank = ranks + item * WANTED;
    if (threadIdx.x < WANTED) before[threadIdx.x] = prefix[threadIdx.x];
    __syncthreads();
    for (int q = 0; q < WANTED; ++q) {
        const int* counts = histogram + (item * WANTED + first_alike(before, q)) * BINS;
        int sum = 0;
        for (int n = 0; n < SHARE; ++n) sum += counts[threadIdx.x * SHARE + n];
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.x == 0) {
            int left = rank[q], digit = 0;
            while (left >= sums[digit / SHARE]) {
                left -= sums[digit / SHARE];
                digit += SHARE;
            }
            while (left >= counts[digit]) left -= counts[digit++];
            prefix[q] = before[q] << bits | (u32)digit;
            rank[q] = left;
        }
        __syncthreads();
    }
}

// One percentile from its two neighbours.
__device__ inline float between(u32 low, u32 high, double part) {
    double a = disordered(low), b = disordered(high);
    return part == 0.0 ? disordered(low) : (float)(a + (b - a) * part);
}

// scalings: low and high of each item, then 0, 0; thresholds: from where on values count.
KERNEL find_limits(const u32* __restrict__ keys, float* __restrict__ scalings,
                   float* __restrict__ thresholds, int items, double low_part, double high_part,
                   float foreground) {
    FOR_EACH(item, items) {
        const u32* key = keys + item * WANTED;
        float low = between(key[0], key[1], low_part);
        float high = between(key[2], key[3], high_part);
        float* scaling = scalings + item * 4;
        scaling[0] = low;
        scaling[1] = high;
        scaling[2] = scaling[3] = 0.0f;
        thresholds[item] = low + foreground * (high - low);
    }
}

// For each item and block the sum of (value - mean)^power of the clipped values above the threshold, and their number.
KERNEL sum_above(const float* __restrict__ stack, const int* __restrict__ places,
                 const float* __restrict__ scalings, const float* __restrict__ thresholds,
                 const double* __restrict__ means, double* __restrict__ sums,
                 int* __restrict__ numbers, int channels, int padded_columns, int padded_rows,
                 int power) {
    __shared__ double room[WARP];
    __shared__ int counts[WARP];
    int item = blockIdx.y, part = item * gridDim.x + blockIdx.x;
    float low = scalings[item * 4], high = scalings[item * 4 + 1], threshold = thresholds[item];
    double mean = power == 2 ? means[item] : 0.0, sum = 0.0;
    int count = 0;
    Sample sample(stack, places, item, channels, padded_columns, padded_rows);
    FOR_EACH(n, sample.count) {
        float value = sample.at(n);
        value = value < low ? low : value;
        value = value > high ? high : value;
        if (!(value > threshold)) continue;
        double away = (double)value - mean;
        sum += power == 2 ? away * away : away;
        count += 1;
    }
    sum = block_sum(sum, room);
    count = block_sum(count, counts);
    if (threadIdx.x == 0) {
        sums[part] = sum;
        numbers[part] = count;
    }
}

// The mean of each item from the sums of its blocks, or with power 2 its mean and scale into `scalings`.
KERNEL close_sums(const double* __restrict__ sums, const int* __restrict__ numbers,
                  double* __restrict__ means, float* __restrict__ scalings, int items, int blocks,
                  int power) {
    FOR_EACH(item, items) {
        double sum = 0.0;
        int count = 0;
        for (int block = 0; block < blocks; ++block) {
            sum += sums[item * blocks + block];
            count += numbers[item * blocks + block];
        }
        float* scaling = scalings + item * 4;
        if (power == 1) {
            // Nothing above: the slab is flat, and becomes zero.
            means[item] = count ? sum / count : (double)scaling[0];
            continue;
        }
        double deviation = count ? sqrt(sum / count) : 0.0;
        scaling[2] = (float)means[item];
        scaling[3] = deviation > 0.0 ? (float)(1.0 / deviation) : 0.0f;
    }
}
