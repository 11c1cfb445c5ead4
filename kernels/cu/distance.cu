// Squared distance to the nearest zero voxel. In the volume: rows first, then lower envelopes of parabolas along the other axes
// (Felzenszwalb and Huttenlocher 2012), every operation in the order of the fast version and equal to it to the bit. In slices:
// the least of all, where the fast version's parabolas may cross elsewhere by a rounding of double precision.
#include "sagitta.cuh"

__device__ inline double square(double v) { return v * v; }

// squares: to the nearest zero of the same row, infinite where there is none.
KERNEL distance_in_rows(const u8* __restrict__ mask, double* __restrict__ squares, int count,
                        int rows, double step) {
    FOR_EACH(row, rows) {
        const u8* values = mask + (size_t)row * count;
        double* to = squares + (size_t)row * count;
        int zero = -1;
        for (int i = 0; i < count; ++i) {
            if (values[i] == 0) zero = i;
            to[i] = zero < 0 ? (double)INFINITY : square((double)(i - zero) * step);
        }
        zero = -1;
        for (int i = count - 1; i >= 0; --i) {
            if (values[i] == 0) zero = i;
            double here = zero < 0 ? (double)INFINITY : square((double)(zero - i) * step);
            to[i] = here < to[i] ? here : to[i];
        }
    }
}

// Where the parabola of n becomes lower than that of c < n.
__device__ inline double crossing(double at_c, double at_n, int c, int n, double step) {
    double height = (at_n - at_c) / (step * step), from = c, to = n;
    return (height + to * to - from * from) / (2.0 * (to - from));
}

// Replaces each value of a line along the middle of [outer, count, inner] by the least over all c of
// values[c] + ((n - c) * step)^2. values, centres and froms are room for as many, lines side by side.
KERNEL distance_in_lines(double* __restrict__ squares, double* __restrict__ values,
                         int* __restrict__ centres, double* __restrict__ froms, int inner,
                         int count, int outer, double step) {
    size_t lines = (size_t)inner * outer;
    FOR_EACH(line, inner * outer) {
        double* data = squares + (size_t)(line / inner) * count * inner + line % inner;
        double* value = values + line;
        int* centre = centres + line;
        double* start = froms + line;
        int kept = 0;
        for (int n = 0; n < count; ++n) {
            double here = data[(size_t)n * inner];
            value[n * lines] = here;
            if (here == (double)INFINITY) continue;
            double from = -(double)INFINITY;
            while (kept > 0) {
                int c = centre[(kept - 1) * lines];
                from = crossing(value[c * lines], here, c, n, step);
                if (from > start[(kept - 1) * lines]) break;
                --kept;
                from = -(double)INFINITY;
            }
            centre[kept * lines] = n;
            start[kept * lines] = from;
            ++kept;
        }
        int lowest = 0;
        for (int n = 0; kept > 0 && n < count; ++n) {
            while (lowest + 1 < kept && start[(lowest + 1) * lines] <= (double)n) ++lowest;
            int c = centre[lowest * lines];
            data[(size_t)n * inner] = value[c * lines] + square(((double)n - (double)c) * step);
        }
    }
}

// Columns from `at` to the nearest zero of a row of bits, if that is less than `most`; else `most`.
__device__ inline int columns_to_zero(const u32* row, int row_words, int ni, int at, int most) {
    int w = at / BITS, bit = at % BITS;
    for (int away = 0;; ++away) {
        // What these words have is at least so far.
        int left = w - away, right = w + away, step = away * BITS;
        bool look_left = left >= 0 && bit + step - (BITS - 1) < most;
        bool look_right = right < row_words && step - bit < most;
        if (!look_left && !look_right) return most;
        if (look_left) {
            u32 zeros = ~row[left] & (away ? WHOLE_WARP : low_bits(bit + 1));
            if (zeros) most = min(most, bit + step - last_bit(zeros, BITS - 1));
        }
        if (look_right) {
            u32 zeros = ~row[right] & low_bits(min(BITS, ni - right * BITS));
            if (away == 0) zeros &= WHOLE_WARP << bit;
            if (zeros) most = min(most, step + __ffs(zeros) - 1 - bit);
        }
    }
}

// squares: to the nearest zero voxel of the same slice, infinite where there is none; bits: the mask in words. A voxel looks
// at its own row, then at those farther and farther, until they are as far as the nearest zero.
KERNEL distance_in_plane(const u32* __restrict__ bits, float* __restrict__ squares, int ni, int nj,
                         int nk, double across, double down) {
    int row_words = words_of(ni), warps = gridDim.x * THREADS / WARP, lane = threadIdx.x % WARP;
    for (int w = (blockIdx.x * THREADS + threadIdx.x) / WARP; w < row_words * nj * nk; w += warps) {
        Word word = word_at(w, ni, row_words);
        if (lane >= word.count) continue;
        const u32* row = bits + (size_t)word.row * row_words;
        int j = word.row % nj, nearest = ni;
        double least = bits[w] >> lane & 1 ? (double)INFINITY : 0.0;
        for (int away = 0; away <= j || away < nj - j; ++away) {
            double rows = square(away * down);
            if (rows >= least) break;
            for (int side = away ? -1 : 1; side <= 1; side += 2) {
                int at = j + side * away;
                if (at < 0 || at >= nj) continue;
                // One in the same column or farther is no nearer than the one found in a nearer row.
                int columns = columns_to_zero(row + side * away * row_words, row_words, ni, word.column + lane, nearest);
                if (columns == nearest) continue;
                nearest = columns;
                least = min(least, square(columns * across) + rows);
            }
        }
        squares[word.first + lane] = (float)least;
    }
}
