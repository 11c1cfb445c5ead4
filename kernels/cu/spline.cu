// The cubic B-spline through the samples of many lines, and its values at given places: one axis of a volume at a time.
//
// from: [outer, count, inner], the lines along the middle. coefficients: [count + 2 * beyond, outer * inner]: each line
// lengthened by its last value at each end, lines side by side, so that neighbouring threads read neighbouring values.
// Every operation in the order of the fast version: equal to the bit.
#include "sagitta.cuh"

// start and turn: factors of the first value and of the last.
KERNEL spline_coefficients(const float* __restrict__ from, float* __restrict__ coefficients,
                           int inner, int count, int outer, int beyond, float pole, float gain,
                           float start, float turn) {
    size_t lines = (size_t)inner * outer;
    int last = count + 2 * beyond - 1;
    FOR_EACH(line, inner * outer) {
        const float* values = from + (size_t)(line / inner) * count * inner + line % inner;
        float* to = coefficients + line;
        float before = values[0] * start;
        to[0] = before;
        for (int n = 1; n <= last; ++n) {
            int at = min(max(n - beyond, 0), count - 1);
            before = gain * values[(size_t)at * inner] + pole * before;
            to[n * lines] = before;
        }
        float behind = before * turn;
        to[last * lines] = behind;
        for (int n = last - 1; n >= 0; --n) {
            behind = pole * (behind - to[n * lines]);
            to[n * lines] = behind;
        }
    }
}

// to: [outer, samples, inner]. firsts: the first of the four coefficients of each sample; weights: theirs.
KERNEL spline_values(const float* __restrict__ coefficients, const int* __restrict__ firsts,
                     const float* __restrict__ weights, float* __restrict__ to, int inner,
                     int samples, int outer) {
    size_t lines = (size_t)inner * outer;
    FOR_EACH(n, outer * samples * inner) {
        Index at = index_of(n, inner, samples);
        const float* from = coefficients + firsts[at.j] * lines + at.k * inner + at.i;
        const float* weight = weights + 4 * at.j;
        to[n] = weight[0] * from[0] + weight[1] * from[lines] + weight[2] * from[2 * lines] +
                weight[3] * from[3 * lines];
    }
}
