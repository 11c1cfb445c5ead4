// Logits -> class map and how sure it is.
//
// scores: [items, passes, classes, padded rows, padded columns]; classes: [items, rows, columns]. The class with the
// largest sum over the passes, ties to the lower class; equal to the reference to the bit. certainty: for each block the
// sum of the softmax probabilities of the winners other than class 0, and their number; the probabilities differ from the
// reference's by the rounding of expf, and of 1 / passes.
#include "sagitta.cuh"

// Classes whose scores are read at once.
const int CLASSES = 8;

// The scores of one pixel.
struct Pixel {
    const float* at;
    int passes, count;
    size_t plane;

    // The sums over the passes of the classes from `first` on; the last class stands for those beyond it.
    __device__ void sums(int first, float* sums) const {
        for (int c = 0; c < CLASSES; ++c) sums[c] = at[min(first + c, count - 1) * plane];
        for (int p = 1; p < passes; ++p)
            for (int c = 0; c < CLASSES; ++c)
                sums[c] += at[(p * count + min(first + c, count - 1)) * plane];
    }

    // The class with the largest sum, the lowest of equal ones.
    __device__ int best(float& top) const {
        int best = 0;
        top = -INFINITY;
        for (int first = 0; first < count; first += CLASSES) {
            float scores[CLASSES];
            sums(first, scores);
            for (int c = 0; c < CLASSES; ++c)
                if ((first + c == 0) || scores[c] > top) {
                    top = scores[c];
                    best = first + c;
                }
        }
        return best;
    }

    // The probability of the class with the largest sum.
    __device__ float probability(float top) const {
        float others = 0.0f, each = 1.0f / (float)passes;
        for (int first = 0; first < count; first += CLASSES) {
            float scores[CLASSES];
            sums(first, scores);
            for (int c = 0; c < CLASSES; ++c)
                if (first + c < count) others += expf((scores[c] - top) * each);
        }
        return 1.0f / others;
    }
};

KERNEL decide(const float* __restrict__ scores, u8* __restrict__ classes,
              double* __restrict__ certainty, int passes, int count, int padded_columns,
              int padded_rows, int columns, int rows) {
    __shared__ double room[WARP];
    __shared__ int numbers[WARP];
    Part part(columns, rows);
    size_t plane = (size_t)padded_columns * padded_rows;
    double sure = 0.0;
    int voxels = 0;
    // Each pixel has reads enough by itself.
#pragma unroll 1
    for (int e = 0; e < EACH; ++e) {
        if (!part.has(e)) continue;
        const float* at = scores + part.k * passes * count * plane +
                          (size_t)part.row(e) * padded_columns + part.column(e);
        Pixel pixel = {at, passes, count, plane};
        float top;
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
