// Sets of voxels, one bit a voxel: what several answers say, packed, compared and given away.
//
// A word holds 64 neighbours along the first axis and starts at a multiple of 64 of the whole mask; a set is a box of words,
// first axis fastest. Everything is counted by whole numbers: equal to the reference to the bit.
#include "sagitta.cuh"

// What an answer may say besides nothing; each becomes a set.
const int CLASSES = 3;
// Voxels of a word.
const int WORD = 64;

// A block of classes and its sets, as the host writes them: voxels [begin, end) of its rows; first word of a row; words of a
// row, rows and slices; the place of the first class, and the distance of rows and slices there; the first word of the sets.
struct Block {
    int begin, end, first, wide, high, deep, from, row, slice, start;
};
const int BLOCK_NUMBERS = 10;

__device__ inline Block block_at(const int* n) {
    Block block = {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9]};
    return block;
}

// classes: [blocks, ...], `n` of them. halves: for each block a set for each class, the lower half of each word first. A row of
// blocks of threads for each block of classes, a thread for each half.
KERNEL pack_sets(const u8* __restrict__ classes, const int* __restrict__ blocks,
                 u32* __restrict__ halves, int n) {
    Block block = block_at(blocks + blockIdx.y * BLOCK_NUMBERS);
    int count = block.wide * block.high * block.deep;
    FOR_EACH(half, 2 * count) {
        Index at = index_of(half, 2 * block.wide, block.high);
        int low = block.first * WORD + at.i * BITS;
        int begin = max(low, block.begin), end = min(low + BITS, block.end);
        u32 sets[CLASSES] = {0, 0, 0};
        if (begin < end) {
            int row = block.from + at.j * block.row + at.k * block.slice;
            Labels said = labels_at(classes, row + begin - block.begin, n);
            u32 odd = 0, large = 0, other = 0;
#pragma unroll
            for (int m = 0; m < BITS / 4; ++m) {
                u32 four = said.four[m];
                odd |= gathered(four & 0x01010101u) << 4 * m;
                large |= gathered(four >> 1 & 0x01010101u) << 4 * m;
                other |= not_zero(four & 0xfcfcfcfcu) << 4 * m;
            }
            u32 inside = low_bits(end - begin) & ~other;
            sets[0] = (inside & odd & ~large) << (begin - low);
            sets[1] = (inside & ~odd & large) << (begin - low);
            sets[2] = (inside & odd & large) << (begin - low);
        }
#pragma unroll
        for (int c = 0; c < CLASSES; ++c) halves[2 * (block.start + c * count) + half] = sets[c];
    }
}

// Two sets within the box they have in common, as the host writes them: its size, and for each set the place of the box's
// first word, words of a row and rows of a slice.
struct Pair {
    int wide, high, deep, a, a_wide, a_high, b, b_wide, b_high;
};
const int PAIR_NUMBERS = 9;

__device__ inline Pair pair_at(const int* n) {
    Pair pair = {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]};
    return pair;
}

// counts: for each pair the voxels that both have, zero before. A column of blocks of threads for each pair.
KERNEL count_shared(const u64* __restrict__ words, const int* __restrict__ pairs,
                    int* __restrict__ counts) {
    __shared__ int room[WARP];
    Pair pair = pair_at(pairs + blockIdx.x * PAIR_NUMBERS);
    int count = 0, all = pair.wide * pair.high * pair.deep;
    for (int n = blockIdx.y * THREADS + threadIdx.x; n < all; n += gridDim.y * THREADS) {
        Index at = index_of(n, pair.wide, pair.high);
        u64 a = words[pair.a + at.i + pair.a_wide * (at.j + pair.a_high * at.k)];
        u64 b = words[pair.b + at.i + pair.b_wide * (at.j + pair.b_high * at.k)];
        count += __popcll(a & b);
    }
    count = block_sum(count, room);
    if (threadIdx.x == 0 && count) atomicAdd(&counts[blockIdx.x], count);
}

// A set: its first word, and its box in the mask.
struct Member {
    int start, min[3], counts[3];
};
const int MEMBER_NUMBERS = 7;
// The largest number, from which a least one starts.
const int LARGEST = 2147483647;

__device__ inline u64 word_of(const u64* words, const int* n, int i, int j, int k) {
    Member set = {n[0], {n[1], n[2], n[3]}, {n[4], n[5], n[6]}};
    i -= set.min[0], j -= set.min[1], k -= set.min[2];
    bool inside = i >= 0 && i < set.counts[0] && j >= 0 && j < set.counts[1] && k >= 0 &&
                  k < set.counts[2];
    return inside ? words[set.start + i + set.counts[0] * (j + set.counts[1] * k)] : 0;
}

// Voxels that at least `least` (1 or 2) of the members hold. free: those of them that nobody has, in the box at (i0, j0, k0) of
// `wide`, `high`, `deep` words. found: how many all are, how many are free, and least and largest index of the free ones; the
// host starts it with 0 and the largest and least numbers.
KERNEL vote_sets(const u64* __restrict__ words, const int* __restrict__ members,
                 const u64* __restrict__ taken, u64* __restrict__ free, int* __restrict__ found,
                 int count, int least, int i0, int j0, int k0, int wide, int high, int deep,
                 int row_words, int rows) {
    __shared__ int box[8];
    if (threadIdx.x < 8) box[threadIdx.x] = threadIdx.x < 2 ? 0 : threadIdx.x < 5 ? LARGEST : -1;
    __syncthreads();
    FOR_EACH(n, wide * high * deep) {
        Index at = index_of(n, wide, high);
        int i = i0 + at.i, j = j0 + at.j, k = k0 + at.k;
        u64 once = 0, twice = 0;
        for (int m = 0; m < count; ++m) {
            u64 word = word_of(words, members + m * MEMBER_NUMBERS, i, j, k);
            twice |= once & word;
            once |= word;
        }
        u64 all = least == 1 ? once : twice;
        u64 left = all & ~taken[(k * rows + j) * row_words + i];
        free[n] = left;
        if (all) atomicAdd(&box[0], __popcll(all));
        if (!left) continue;
        atomicAdd(&box[1], __popcll(left));
        atomicMin(&box[2], i * WORD + __ffsll(left) - 1);
        atomicMin(&box[3], j);
        atomicMin(&box[4], k);
        atomicMax(&box[5], i * WORD + WORD - 1 - __clzll(left));
        atomicMax(&box[6], j);
        atomicMax(&box[7], k);
    }
    __syncthreads();
    if (threadIdx.x < 2) atomicAdd(&found[threadIdx.x], box[threadIdx.x]);
    if (threadIdx.x >= 2 && threadIdx.x < 5) atomicMin(&found[threadIdx.x], box[threadIdx.x]);
    if (threadIdx.x >= 5 && threadIdx.x < 8) atomicMax(&found[threadIdx.x], box[threadIdx.x]);
}

// Gives the voxels of `free`, which is as above and has room for `voxels`, to `id`. ids: [slices, rows, columns] of the mask.
KERNEL take_set(const u64* __restrict__ free, u64* __restrict__ taken,
                unsigned short* __restrict__ ids, int voxels, int id, int i0, int j0, int k0,
                int wide, int high, int row_words, int rows, int columns) {
    FOR_EACH(n, voxels) {
        int word = n / WORD, bit = n % WORD;
        u64 set = free[word];
        Index at = index_of(word, wide, high);
        int i = i0 + at.i, row = (k0 + at.k) * rows + j0 + at.j;
        if (bit == 0) taken[row * row_words + i] |= set;
        // No voxel lies beyond the end of a row: no set holds one.
        if (set >> bit & 1) ids[(size_t)row * columns + i * WORD + bit] = (unsigned short)id;
    }
}
