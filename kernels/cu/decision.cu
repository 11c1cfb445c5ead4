// Logits -> class map and how sure it is.
//
// scores: [items, passes, classes, padded rows, padded columns]; classes: [items, rows, columns]. The class with the
// largest sum over the passes, ties to the lower class; equal to the reference to the bit. certainty: for each block the
// sum of the softmax probabilities of the winners other than class 0, and their number; the probabilities differ from the
// reference's by the rounding of expf.
#include "sagitta.cuh"

// The sum over the passes at one pixel of one class plane.
__device__ inline float score(const float* at, int passes, size_t pass) {
    float sum = at[0];
    for (int p = 1; p < passes; ++p) sum += at[p * pass];
    return sum;
}

KERNEL decide(const float* __restrict__ scores, u8* __restrict__ classes,
              double* __restrict__ certainty, int* __restrict__ counted, int items, int passes,
              int count, int padded_columns, int padded_rows, int columns, int rows) {
    __shared__ double room[WARP];
    __shared__ int numbers[WARP];
    size_t plane = (size_t)padded_columns * padded_rows;
    double sure = 0.0;
    int voxels = 0;
    FOR_EACH(n, items * rows * columns) {
        Index at = index_of(n, columns, rows);
        const float* pixel =
            scores + at.k * passes * count * plane + (size_t)at.j * padded_columns + at.i;
        float top = score(pixel, passes, count * plane);
        int best = 0;
        for (int c = 1; c < count; ++c) {
            float sum = score(pixel + c * plane, passes, count * plane);
            if (sum > top) {
                top = sum;
                best = c;
            }
        }
        classes[n] = (u8)best;
        if (best == 0) continue;
        float others = 0.0f;
        for (int c = 0; c < count; ++c)
            others += expf((score(pixel + c * plane, passes, count * plane) - top) / (float)passes);
        sure += (double)(1.0f / others);
        voxels += 1;
    }
    sure = block_sum(sure, room);
    voxels = block_sum(voxels, numbers);
    if (threadIdx.x == 0) {
        certainty[blockIdx.x] = sure;
        counted[blockIdx.x] = voxels;
    }
}
