// The cubic B-spline through the samples of many lines, and its values at given places: one axis of a volume at a time.
//
// from: [outer, count, inner], the lines along the middle, each lengthened by its last value, `beyond` times at each end. to:
// [outer, samples, inner]. firsts: the first of the four coefficients of each sample, which ascend; weights: theirs. The filter
// is a recursion forth and back over the whole line. What it is at the start of each chunk of a line is kept in `states`
// ([chunks, lines]) on the way forth; on the way back each chunk is filtered forth once more, and what it makes need not leave
// shared memory: a value is read twice and a sample written once. samples_from: for each chunk its first sample, and in one
// more place their number. Every operation in the order of the fast version: equal to the bit.
#include "sagitta.cuh"

// A warp filters as many lines, chunk by chunk. Its tile holds [coefficients of a chunk and REACH more, lines], and one more
// in each row, so that neither a row nor a column of it lies in one bank.
const int CHUNK = 32, REACH = 3, PITCH = WARP + 1;
const int TILE = (CHUNK + REACH) * PITCH;
// Values that a thread reads at once.
const int READ = 16;

// start and turn: factors of the first value and of the last.
struct Recursion {
    float pole, gain, start, turn;

    // A line of the tile on the way forth; what it makes is kept in the tile, or not.
    __device__ float forth(float* line, bool first_chunk, bool kept, float before) const {
#pragma unroll 16
        for (int n = 0; n < CHUNK; ++n) {
            float value = line[n * PITCH];
            before = n == 0 && first_chunk ? value * start : gain * value + pole * before;
            if (kept) line[n * PITCH] = before;
        }
        return before;
    }

    // Its first `count` values on the way back.
    __device__ float back(float* line, int count, float behind) const {
        for (int n = count - 1; n >= 0; --n) {
            behind = pole * (behind - line[n * PITCH]);
            line[n * PITCH] = behind;
        }
        return behind;
    }
};

// The lines of a warp, one for each lane. Beyond the last line it reads the last once more.
struct Lines {
    int inner, count, lines, beyond, first, lane, outer, within;

    __device__ Lines(int inner, int count, int lines, int beyond, int first)
        : inner(inner), count(count), lines(lines), beyond(beyond), first(first),
          lane(threadIdx.x % WARP), outer(line() / inner), within(line() - outer * inner) {}

    __device__ int line() const { return min(first + lane, lines - 1); }
    __device__ int whole() const { return min(WARP, lines - first); }
    __device__ int at(int n) const { return min(max(n - beyond, 0), count - 1); }

    // The chunk from `n` on to the tile, in the order of memory: along lines where they lie one behind the other.
    __device__ void read(const float* from, int n, float* tile) const {
        float values[READ];
#pragma unroll 1
        for (int l = 0; l < WARP; l += READ) {
            if (inner == 1) {
                const float* begin = from + (size_t)first * count + at(n + lane);
                for (int r = 0; r < READ; ++r) values[r] = begin[min(l + r, whole() - 1) * count];
                for (int r = 0; r < READ; ++r) tile[lane * PITCH + l + r] = values[r];
            } else {
                const float* begin = from + (size_t)outer * count * inner + within;
                for (int r = 0; r < READ; ++r) values[r] = begin[at(n + l + r) * inner];
                for (int r = 0; r < READ; ++r) tile[(l + r) * PITCH + lane] = values[r];
            }
        }
        __syncwarp();
    }
};

// Samples to make, and the coefficients of a chunk that begins at `n`.
struct Samples {
    const int* firsts;
    const uint4* weights;
    float* to;
    int samples;

    __device__ float value(const float* tile, int n, int sample, int line) const {
        uint4 weight = weights[sample];
        const float* from = tile + (firsts[sample] - n) * PITCH + line;
        return __uint_as_float(weight.x) * from[0] + __uint_as_float(weight.y) * from[PITCH] +
               __uint_as_float(weight.z) * from[2 * PITCH] + __uint_as_float(weight.w) * from[3 * PITCH];
    }

    // Those from `low` to `high`, in the order of memory.
    __device__ void write(const Lines& of, const float* tile, int n, int low, int high) const {
        int lines = of.whole();
        if (of.inner == 1) {
            for (int sample = low + of.lane; sample < high; sample += WARP)
                for (int line = 0; line < lines; ++line)
                    to[(size_t)(of.first + line) * samples + sample] = value(tile, n, sample, line);
        } else if (of.lane < lines) {
            float* begin = to + (size_t)of.outer * samples * of.inner + of.within;
            for (int sample = low; sample < high; ++sample)
                begin[(size_t)sample * of.inner] = value(tile, n, sample, of.lane);
        }
        __syncwarp();
    }
};

KERNEL sample_lines(const float* __restrict__ from, float* __restrict__ states,
                    const int* __restrict__ samples_from, const int* __restrict__ firsts,
                    const uint4* __restrict__ weights, float* __restrict__ to, int inner, int count,
                    int outer, int samples, int beyond, float pole, float gain, float start,
                    float turn) {
    DYNAMIC_SHARED(float, room);
    int lane = threadIdx.x % WARP, first = blockIdx.x * blockDim.x + threadIdx.x - lane;
    if (first >= inner * outer) return;
    Lines of(inner, count, inner * outer, beyond, first);
    Samples made = {firsts, weights, to, samples};
    Recursion by = {pole, gain, start, turn};
    float* tile = room + threadIdx.x / WARP * TILE;
    int length = count + 2 * beyond, last = (length - 1) / CHUNK;
    float state = 0.0f;
    for (int chunk = 0; chunk < last; ++chunk) {
        of.read(from, chunk * CHUNK, tile);
        state = by.forth(tile + lane, chunk == 0, false, state);
        states[(size_t)(chunk + 1) * of.lines + of.line()] = state;
        __syncwarp();
    }
    for (int chunk = last; chunk >= 0; --chunk) {
        int n = chunk * CHUNK;
        float* line = tile + lane;
        // The first coefficients behind this chunk, which samples within it reach.
        for (int r = 0; r < REACH; ++r) line[(CHUNK + r) * PITCH] = line[r * PITCH];
        __syncwarp();
        of.read(from, n, tile);
        by.forth(line, chunk == 0, true,
                 chunk > 0 ? states[(size_t)chunk * of.lines + of.line()] : 0.0f);
        if (chunk == last) {
            float* end = line + (length - 1 - n) * PITCH;
            *end *= turn;
            state = by.back(line, length - 1 - n, *end);
        } else {
            state = by.back(line, CHUNK, state);
        }
        __syncwarp();
        made.write(of, tile, n, samples_from[chunk], samples_from[chunk + 1]);
    }
}
