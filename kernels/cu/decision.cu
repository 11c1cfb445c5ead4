// Logits -> class map and how sure it is.
//
// scores: [items, passes, classes, padded rows, padded columns]; classes: [items, rows, columns]. The class with the
// largest sum over the passes, ties to the lower class; equal to the reference to the bit. certainty: for each block the
// sum of the softmax probabilities of the winners other than class 0, and their number; the probabilities differ from the
// reference's by the rounding of expf, and of 1 / passes.
#include "sagitta.cuh"

// Classes whose scores are read at once: with more, some would not stay in registers on every device.
const int CLASSES = 6;

// The scores of one pixel.
struct Pixel {
    const float* at;
    int passes, count, plane;

    // The sum over the passes.
    __device__ float score(int c) const {
        float sum = at[c * plane];
#pragma unroll 1
        for (int p = 1; p < passes; ++p) sum += at[(p * count + c) * plane];
        return sum;
    }

    // Those of some classes from `first` on, all passes one after the other. What is no class has no chance.
    __device__ void read(int first, float* scores) const {
        const float* begin = at + first * plane;
        for (int c = 0; c < CLASSES; ++c) scores[c] = first + c < count ? begin[c * plane] : -INFINITY;
#pragma unroll 1
        for (int p = 1; p < passes; ++p) {
            begin += count * plane;
            for (int c = 0; c < CLASSES; ++c)
                if (first + c < count) scores[c] += begin[c * plane];
        }
    }

    // The class with the largest sum, the lowest of equal ones.
    __device__ int best(float& top) const {
        int best = 0;
        for (int first = 0; first < count; first += CLASSES) {
            float scores[CLASSES];
            read(first, scores);
            for (int c = 0; c < CLASSES; ++c)
                if (first + c == 0 || scores[c] > top) {
                    top = scores[c];
                    best = first + c;
                }
        }
        return best;
    }

    // The probability of the class with the largest sum. All scores are still in the first-level cache.
    __device__ float probability(float top) const {
        float others = 0.0f, each = 1.0f / (float)passes;
#pragma unroll 4
        for (int c = 0; c < count; ++c) others += expf((score(c) - top) * each);
        return 1.0f / others;
    }
};

// Pixels of a thread, one after the other: each has reads enough by itself.
const int DOWN = 4;

KERNEL decide(const float* __restrict__ scores, u8* __restrict__ classes,
              double* __restrict__ certainty, int passes, int count, int padded_columns,
              int padded_rows, int columns, int rows) {
    __shared__ double room[WARP];
    __shared__ int numbers[WARP];
    PartOf<1, DOWN> part(columns, rows);
    int plane = padded_columns * padded_rows;
    const float* slice = scores + (size_t)part.k * passes * count * plane;
    double sure = 0.0;
    int voxels = 0;
#pragma unroll 1
    for (int e = 0; e < DOWN; ++e) {
        if (!part.has(e)) continue;
        Pixel pixel = {slice + part.row(e) * padded_columns + part.column(e), passes, count, plane};
        float top = 0.0f;
        int best = pixel.best(top);
        classes[part.offset(e)] = (u8)best;
        if (best == 0) continue;
        sure += (double)pixel.probability(top);
        voxels += 1;
    }
    sure = block_sum(sure, room);
    voxels = block_sum(voxels, numbers);
    if (threadIdx.x != 0) return;
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    certainty[2 * block] = sure;
    certainty[2 * block + 1] = voxels;
}
