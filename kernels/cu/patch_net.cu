// One layer of a fully connected net at every position of a window, as a tiled product of matrices.
//
// Values of the first layer are read from the image itself, where windows overlap: value k of position m lies at
// first + (m / across) * row_step + (m % across) * column_step + (k / side) * side_step + k % side. Later layers read
// what the one before wrote, by the same rule. weights: [outputs, inputs]. to: [positions, outputs], 1 / (1 + e^-x) of bias
// and sum. Sums run in single precision over the inputs in their order, fused: scores are within 1e-5 of the reference.
#include "sagitta.cuh"

// A block of 16 by 16 threads makes 64 positions by 112 outputs: two of them hold 200 outputs, and the 28 sums of a thread
// cost 11 reads of shared memory an input.
const int ACROSS = 16;
const int POSITIONS = 4, OUTPUTS = 7;
const int TILE_POSITIONS = ACROSS * POSITIONS, TILE_OUTPUTS = ACROSS * OUTPUTS;
// Inputs at once: a row of a window of 32.
const int DEPTH = 32;
// A row of a tile in shared memory: so far apart that threads which write a column meet in few banks, and four positions of
// a thread are read at once.
const int POSITIONS_ROW = TILE_POSITIONS + 4, OUTPUTS_ROW = TILE_OUTPUTS + 1;

// Where the values of a layer lie.
struct Reading {
    const float* from;
    int across, row_step, column_step, side, side_step;

    __device__ float at(int position, int input) const {
        int base = position / across * row_step + position % across * column_step;
        return from[base + input / side * side_step + input % side];
    }
};

// Brings inputs `depth` to `depth + DEPTH` of the tile at `position` and `output` to shared memory; 0 beyond the ends.
__device__ inline void load_tiles(const Reading& reading, const float* weights, float* values,
                                  float* of_outputs, int position, int output, int depth,
                                  int positions, int inputs, int outputs) {
    int input = threadIdx.x % DEPTH, k = depth + input;
    for (int n = threadIdx.x / DEPTH; n < TILE_POSITIONS; n += THREADS / DEPTH) {
        bool inside = k < inputs && position + n < positions;
        values[input * POSITIONS_ROW + n] = inside ? reading.at(position + n, k) : 0.0f;
    }
    for (int n = threadIdx.x / DEPTH; n < TILE_OUTPUTS; n += THREADS / DEPTH) {
        bool inside = k < inputs && output + n < outputs;
        of_outputs[input * OUTPUTS_ROW + n] =
            inside ? weights[(size_t)(output + n) * inputs + k] : 0.0f;
    }
}

KERNEL dense_layer(const float* __restrict__ from, const float* __restrict__ weights,
                   const float* __restrict__ bias, float* __restrict__ to, int first, int across,
                   int row_step, int column_step, int side, int side_step, int positions,
                   int inputs, int outputs, int written) {
    __shared__ __align__(16) float values[DEPTH * POSITIONS_ROW];
    __shared__ float of_outputs[DEPTH * OUTPUTS_ROW];
    Reading reading = {from + first, across, row_step, column_step, side, side_step};
    int position = blockIdx.x * TILE_POSITIONS, output = blockIdx.y * TILE_OUTPUTS;
    int row = threadIdx.x / ACROSS * POSITIONS, column = threadIdx.x % ACROSS;
    float sums[POSITIONS][OUTPUTS] = {};
    for (int depth = 0; depth < inputs; depth += DEPTH) {
        load_tiles(reading, weights, values, of_outputs, position, output, depth, positions, inputs,
                   outputs);
        __syncthreads();
        for (int k = 0; k < DEPTH; ++k) {
            const float* mine = values + k * POSITIONS_ROW + row;
            float a[POSITIONS];
#pragma unroll
            for (int p = 0; p < POSITIONS; ++p) a[p] = mine[p];
#pragma unroll
            for (int o = 0; o < OUTPUTS; ++o) {
                float weight = of_outputs[k * OUTPUTS_ROW + o * ACROSS + column];
#pragma unroll
                for (int p = 0; p < POSITIONS; ++p) sums[p][o] = fmaf(a[p], weight, sums[p][o]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int p = 0; p < POSITIONS; ++p) {
#pragma unroll
        for (int o = 0; o < OUTPUTS; ++o) {
            int m = position + row + p, n = output + o * ACROSS + column;
            if (m >= positions || n >= outputs) continue;
            float x = bias[n] + sums[p][o];
            to[((size_t)written + m) * outputs + n] = 1.0f / (1.0f + expf(-x));
        }
    }
}
