// Masks and labels grown and shrunk by an element of 3 x 3 x 3 voxels, and masks by a disc in their slices.
//
// Bit n of `element` admits the n-th of the 27 voxels around one, itself among them. Beyond the volume lies nothing. Masks are
// packed first, so that a thread takes the 32 voxels of a word at once. Comparisons only: equal to the reference to the bit.
#include "sagitta.cuh"

// bits: of each word which voxels are not 0.
KERNEL pack_mask(const u8* __restrict__ mask, u32* __restrict__ bits, int ni, int nj, int nk) {
    FOR_EACH(w, words_of(ni) * nj * nk) {
        Word word = word_at(w, ni, words_of(ni));
        bits[w] = other_than(labels_at(mask, word.first, ni * nj * nk), 0) & low_bits(word.count);
    }
}

// Calls row(words, n) for each row of bits around one of a volume, null beyond it; n is the first of its three neighbours.
template <class Row>
__device__ inline void around(const u32* bits, int at, int row_words, int nj, int nk, Row row) {
#pragma unroll
    for (int n = 0; n < 27; n += 3) {
        int j = at % nj + n / 3 % 3 - 1, k = at / nj + n / 9 - 1;
        bool inside = j >= 0 && j < nj && k >= 0 && k < nk;
        row(inside ? bits + (size_t)(k * nj + j) * row_words : nullptr, n);
    }
}

// Gathers the elements of the voxels of each word, from `start`, and writes them as bytes.
template <class Gather>
__device__ inline void sweep(const u32* bits, u8* result, int ni, int nj, int nk, u32 start,
                             Gather gather) {
    int row_words = words_of(ni), words = row_words * nj * nk;
    for (int first = blockIdx.x * THREADS; first < words; first += gridDim.x * THREADS) {
        int w = first + threadIdx.x;
        Word word = {0, 0, 0, 0};
        u32 found = start;
        if (w < words) {
            word = word_at(w, ni, row_words);
            around(bits, word.row, row_words, nj, nk, [&](const u32* row, int n) {
                u64 there = row ? window(row, row_words, word.column - 1) : 0;
                for (int step = 0; step < 3; ++step) found = gather(found, (u32)(there >> step), n + step);
            });
        }
        spread(result, word.first, word.count, found);
    }
}

KERNEL dilate_element(const u32* __restrict__ bits, u8* __restrict__ result, int ni, int nj, int nk,
                      int element) {
    sweep(bits, result, ni, nj, nk, 0, [=](u32 any, u32 there, int n) {
        return element >> n & 1 ? any | there : any;
    });
}

KERNEL erode_element(const u32* __restrict__ bits, u8* __restrict__ result, int ni, int nj, int nk,
                     int element) {
    sweep(bits, result, ni, nj, nk, WHOLE_WARP, [=](u32 all, u32 there, int n) {
        return element >> n & 1 ? all & there : all;
    });
}

// The value of a neighbour, 0 beyond the volume.
__device__ inline u8 neighbour(const u8* map, Index at, int bit, int ni, int nj, int nk) {
    int i = at.i + bit % 3 - 1, j = at.j + bit / 3 % 3 - 1, k = at.k + bit / 9 - 1;
    bool inside = i >= 0 && i < ni && j >= 0 && j < nj && k >= 0 && k < nk;
    return inside ? map[(k * nj + j) * ni + i] : 0;
}

// The least label of the element of a voxel; 0 of none.
__device__ inline u32 least_around(const u8* labels, Index at, int element, int ni, int nj, int nk) {
    u32 least = 256;
    for (int bit = 0; bit < 27; ++bit) {
        u32 there = element >> bit & 1 ? neighbour(labels, at, bit, ni, nj, nk) : 0;
        if (there) least = min(least, there);
    }
    return least < 256 ? least : 0;
}

// Voxels that a thread grows.
const int GROWN = 4;

// Each empty voxel inside takes the least label of its element.
KERNEL grow_labels(const u8* __restrict__ labels, const u8* __restrict__ inside,
                   u8* __restrict__ result, int ni, int nj, int nk, int element) {
    int n = ni * nj * nk;
    FOR_EACH(group, (n + GROWN - 1) / GROWN) {
        int first = group * GROWN;
        u32 own = four_at(labels, first, n), within = four_at(inside, first, n);
        for (u32 open = ~not_zero(own) & not_zero(within); open;) {
            int bit = next_bit(open);
            u32 label = least_around(labels, index_of(first + bit, ni, nj), element, ni, nj, nk);
            own |= label << 8 * bit;
        }
        put_four(result, first, n, own);
    }
}

// Each bit of 64 joined with the `span` - 1 after it, of which there are at most 32.
__device__ inline u64 smeared(u64 bits, int span) {
    for (int have = 1; have < span;) {
        int more = min(have, span - have);
        bits |= bits >> more;
        have += more;
    }
    return bits;
}

// reach: for each row away how many columns to each side the disc covers.
KERNEL dilate_disc(const u32* __restrict__ bits, const int* __restrict__ reach,
                   u8* __restrict__ result, int ni, int nj, int nk, int rows_away) {
    int row_words = words_of(ni), words = row_words * nj * nk;
    for (int first = blockIdx.x * THREADS; first < words; first += gridDim.x * THREADS) {
        int w = first + threadIdx.x;
        Word word = {0, 0, 0, 0};
        u32 any = 0;
        if (w < words) {
            word = word_at(w, ni, row_words);
            int j = word.row % nj;
            for (int away = max(1 - rows_away, -j); away < min(rows_away, nj - j); ++away) {
                const u32* row = bits + (size_t)(word.row + away) * row_words;
                int wide = reach[away < 0 ? -away : away];
                for (int from = -wide; from <= wide; from += BITS + 1) {
                    u64 there = window(row, row_words, word.column + from);
                    any |= (u32)smeared(there, min(BITS + 1, wide - from + 1));
                }
            }
        }
        spread(result, word.first, word.count, any);
    }
}
