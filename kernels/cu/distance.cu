// Squared distance to the nearest zero voxel: rows first, then lower envelopes of parabolas along the other axes
// (Felzenszwalb and Huttenlocher 2012).
//
// Double precision, every operation in the order of the fast version: equal to it to the bit.
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

KERNEL round_distances(const double* __restrict__ squares, float* __restrict__ to, int n) {
    FOR_EACH(i, n) to[i] = (float)squares[i];
}
