// Percentiles of slabs, mean and deviation of what lies above a threshold between them: robust statistics of intensities.
//
// stack, places as in slab.cu. Percentiles are found by their digits: three rounds of 11, 11 and 10 bits, each a
// histogram of the values that share the digits before. They are equal to the reference to the bit. Sums run in double
// precision in an order that depends on the sizes only. Several blocks look at each item; the last of them to be done makes of
// all what the next kernel needs.
#include "sagitta.cuh"

// Order statistics looked for at once: two neighbours for each of two percentiles.
const int WANTED = 4;
const int BINS = 2048;
const int KEY_BITS = 32;
// No prefix: each has at most 22 bits.
const u32 NONE = 0xffffffffu;

// What is known of the order statistics of an item, all 0 before the first round: the digits found, and the rank among the
// values that share them. And how many of its blocks are done.
struct Search {
    u32 prefixes[WANTED];
    int ranks[WANTED];
    u32 done;
};

// The values of one slab that count: every second of every second row.
struct Sample {
    const float* stack;
    const int* places;
    int columns, padded_rows, rows, across;

    __device__ Sample(const float* stack, const int* places, int channels, int padded_columns,
                      int padded_rows)
        : stack(stack), places(places + blockIdx.y * channels), columns(padded_columns),
          padded_rows(padded_rows), rows((channels * padded_rows + 1) / 2),
          across((padded_columns + 1) / 2) {}

    // Calls `look` with each value of this block's share, a warp for each row.
    template <class Look>
    __device__ void each(Look look) const {
        int lane = threadIdx.x % WARP, warps = gridDim.x * (THREADS / WARP);
        for (int row = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP; row < rows; row += warps) {
            int channel = 2 * row / padded_rows, inside = 2 * row - channel * padded_rows;
            const float* from = stack + ((size_t)places[channel] * padded_rows + inside) * columns;
            for (int at = lane; at < across; at += WARP * EACH) {
                float values[EACH];
                for (int e = 0; e < EACH; ++e) values[e] = from[2 * min(at + e * WARP, across - 1)];
                for (int e = 0; e < EACH; ++e)
                    if (at + e * WARP < across) look(values[e]);
            }
        }
    }
};

// Whether this is the last block of an item to come here: it sees what the others wrote before. `last` is shared.
__device__ inline bool last_of_item(u32* done, bool& last) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(done, 1u) == gridDim.x - 1;
        if (last) *done = 0;
    }
    __syncthreads();
    return last;
}

// Whether `prefixes[q]` is the first of its kind: equal ones share a histogram.
__device__ inline int first_alike(const u32* prefixes, int q) {
    for (int other = 0; other < q; ++other)
        if (prefixes[other] == prefixes[q]) return other;
    return q;
}

// Appends to each prefix the digit in which its rank falls, and takes from the rank what lies below. sums, before: shared, one
// place a thread, and one for each prefix.
__device__ inline void pick_digits(const volatile int* histogram, Search& search, int bits,
                                   int* sums, u32* before) {
    const int SHARE = BINS / THREADS;
    if (threadIdx.x < WANTED) before[threadIdx.x] = search.prefixes[threadIdx.x];
    __syncthreads();
    for (int q = 0; q < WANTED; ++q) {
        const volatile int* counts = histogram + first_alike(before, q) * BINS;
        int sum = 0;
        for (int n = 0; n < SHARE; ++n) sum += counts[threadIdx.x * SHARE + n];
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.x == 0) {
            int left = search.ranks[q], digit = 0;
            while (left >= sums[digit / SHARE]) {
                left -= sums[digit / SHARE];
                digit += SHARE;
            }
            while (left >= counts[digit]) left -= counts[digit++];
            search.prefixes[q] = before[q] << bits | (u32)digit;
            search.ranks[q] = left;
        }
        __syncthreads();
    }
}

// histogram: [items, WANTED, BINS], zero before and after. A key counts where its bits above `shift + bits` are the prefix.
// low, high: the ranks of the lower neighbours of both percentiles.
KERNEL count_digits(const float* __restrict__ stack, const int* __restrict__ places,
                    Search* searches, int* histogram, int channels, int padded_columns,
                    int padded_rows, int low, int high, int shift, int bits) {
    __shared__ int counts[WANTED * BINS];
    __shared__ u32 before[WANTED];
    __shared__ bool last;
    Search& search = searches[blockIdx.y];
    bool first_round = shift + bits == KEY_BITS;
    // In the first round all prefixes are alike.
    int kinds = first_round ? 1 : WANTED;
    for (int n = threadIdx.x; n < kinds * BINS; n += THREADS) counts[n] = 0;
    u32 wanted[WANTED];
    for (int q = 0; q < WANTED; ++q)
        wanted[q] = first_alike(search.prefixes, q) == q ? search.prefixes[q] : NONE;
    __syncthreads();
    Sample sample(stack, places, channels, padded_columns, padded_rows);
    sample.each([&](float value) {
        u32 key = ordered(value), digit = key >> shift & ((1u << bits) - 1);
        // A shift by all bits is undefined: no key has digits before the first round.
        u32 prefix = first_round ? 0 : key >> (shift + bits);
        for (int q = 0; q < WANTED; ++q)
            if (prefix == wanted[q]) atomicAdd(&counts[q * BINS + digit], 1);
    });
    __syncthreads();
    int* to = histogram + blockIdx.y * WANTED * BINS;
    for (int n = threadIdx.x; n < kinds * BINS; n += THREADS)
        if (counts[n]) atomicAdd(&to[n], counts[n]);
    if (!last_of_item(&search.done, last)) return;
    if (first_round && threadIdx.x < WANTED) {
        int rank = (threadIdx.x < 2 ? low : high) + threadIdx.x % 2;
        search.ranks[threadIdx.x] = min(rank, sample.rows * sample.across - 1);
    }
    __syncthreads();
    pick_digits(to, search, bits, counts, before);
    for (int n = threadIdx.x; n < kinds * BINS; n += THREADS) to[n] = 0;
}

// One percentile from its two neighbours.
__device__ inline float between(u32 low, u32 high, double part) {
    double a = disordered(low), b = disordered(high);
    return part == 0.0 ? disordered(low) : (float)(a + (b - a) * part);
}

// Sum and sum of squares of what values are away from a place, and their number.
struct Moments {
    double sum, squares;
    int count;
};

// What mean and deviation of the values above a threshold are from the moments about `high`. One of them is `high` itself, so
// the deviation is at least 1 / sqrt(count) of how far the mean is away: the difference loses few of 53 bits.
__device__ inline void close_moments(const Moments& moments, float low, float high, float* scaling) {
    double mean = low, deviation = 0.0;
    // Nothing above: the slab is flat, and becomes zero.
    if (moments.count) {
        double away = moments.sum / moments.count;
        double variance = moments.squares / moments.count - away * away;
        mean = high + away;
        deviation = variance > 0.0 ? sqrt(variance) : 0.0;
    }
    scaling[0] = low;
    scaling[1] = high;
    scaling[2] = (float)mean;
    scaling[3] = deviation > 0.0 ? (float)(1.0 / deviation) : 0.0f;
}

// scalings: low, high, mean and scale of each item, from the clipped values above `low + foreground * (high - low)`. parts: the
// moments of each block.
KERNEL find_scalings(const float* __restrict__ stack, const int* __restrict__ places,
                     Search* searches, Moments* parts, float* __restrict__ scalings, int channels,
                     int padded_columns, int padded_rows, double low_part, double high_part,
                     float foreground) {
    __shared__ double sums[WARP], squares[WARP];
    __shared__ int counts[WARP];
    __shared__ bool last;
    Search& search = searches[blockIdx.y];
    const u32* keys = search.prefixes;
    float low = between(keys[0], keys[1], low_part), high = between(keys[2], keys[3], high_part);
    float threshold = low + foreground * (high - low);
    Moments mine = {0.0, 0.0, 0};
    Sample(stack, places, channels, padded_columns, padded_rows).each([&](float value) {
        value = value < low ? low : value;
        value = value > high ? high : value;
        if (!(value > threshold)) return;
        double away = (double)value - (double)high;
        mine.sum += away;
        mine.squares += away * away;
        mine.count += 1;
    });
    mine = {block_sum(mine.sum, sums), block_sum(mine.squares, squares),
            block_sum(mine.count, counts)};
    Moments* of_item = parts + blockIdx.y * gridDim.x;
    if (threadIdx.x == 0) of_item[blockIdx.x] = mine;
    if (!last_of_item(&search.done, last) || threadIdx.x != 0) return;
    Moments all = {0.0, 0.0, 0};
    for (int block = 0; block < (int)gridDim.x; ++block) {
        const volatile Moments& part = of_item[block];
        all.sum += part.sum;
        all.squares += part.squares;
        all.count += part.count;
    }
    close_moments(all, low, high, scalings + 4 * blockIdx.y);
}
