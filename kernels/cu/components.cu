// Connected components by union-find over runs along i, numbered in memory order of their first voxel.
//
// A run is a piece of a row of equal labels within one word. parents: at the offset of each run's first voxel that of a run of
// its component, at last of the first in memory; elsewhere nothing. A root is only ever joined to a smaller one, so whatever
// the order of threads, the root of a component is its least offset: equal to the reference to the bit. First each block joins
// the runs of its own words in shared memory, then what is left is joined across blocks. (Komura 2015; Playne and Hawick 2018;
// paths as in Jaiganesh and Burtscher 2018.)
#include "sagitta.cuh"

// Voxels of a block of threads, a word each.
const int TILE = THREADS * BITS;

// A label map and the runs in its words: which voxels are not background, and where runs start.
struct Rows {
    const u8* map;
    // above: which voxels are of one component with that in the row before, of the same slice.
    const u32 *full, *starts, *above;
    int ni, nj;
    // Bit n admits the n-th of the 13 neighbours before a voxel in memory.
    int before;
    // Everything but this value is one structure; the labels of the map are several where it is -1.
    int but;
    // Words before this one count as empty.
    int least;

    __device__ int row_words() const { return words_of(ni); }
    __device__ u32 full_at(int w) const { return w < least ? 0 : full[w]; }
    __device__ u32 starts_at(int w) const { return w < least ? 0 : starts[w]; }

    // Which voxels of word w and of word `there`, of one of the four rows before, are joined by voxels in the row before w's or
    // before `there`: neighbours of the same kind, or straight behind one another.
    __device__ u32 known(int row, int w, int there) const {
        if (row == 0) return above[w];
        if (row == 1) return above[w] & above[there];
        return row == 2 ? above[there] : 0;
    }

    // Calls join(bit, there, there_bit, offset) for pairs of runs that touch: the run that starts at `bit` of word `w` and an
    // earlier one, which starts at `there_bit` of word `there`, the voxel at `offset`. Every pair comes, or is joined by
    // others.
    template <class Join>
    __device__ void touching(int w, Join join) const {
        u32 own = full[w], begins = starts[w];
        if (own == 0) return;
        Word word = word_at(w, ni, row_words());
        auto pair = [&](int bit, int there, int there_bit, int away) {
            int offset = word.first + bit + away;
            if (but < 0 && map[word.first + bit] != map[offset]) return;
            int start = last_bit(starts[there], there_bit);
            join(last_bit(begins, bit), there, start, offset - there_bit + start);
        };
        if ((before >> 12 & 1) && word.column > 0 && (own & 1) && full_at(w - 1) >> 31)
            pair(0, w - 1, 31, -1);
        // Where the next voxel is of another run.
        u32 ends = own & ~((own & ~begins) >> 1);
        for (int row = 0; row < 4; ++row) {
            if (!(before >> (3 * row + 1) & 1)) continue;
            int dj = row % 3 - 1, dk = row / 3 - 1, j = word.row % nj + dj;
            if (j < 0 || j >= nj || word.row / nj + dk < 0) continue;
            int rows = dk * nj + dj, there = w + rows * row_words(), away = rows * ni;
            // Two runs that lie side by side do so from where one of them starts.
            u32 side_by_side = own & full_at(there) & (begins | starts_at(there));
            for (u32 bits = side_by_side & ~known(row, w, there); bits;) {
                int bit = next_bit(bits);
                pair(bit, there, bit, away);
            }
            if (!(before >> 3 * row & 1)) continue;
            // Within a run a neighbour aslant is another voxel's neighbour straight ahead.
            u32 left = full_at(there) << 1;
            if (word.column > 0) left |= full_at(there - 1) >> 31;
            for (u32 bits = begins & left; bits;) {
                int bit = next_bit(bits);
                pair(bit, bit ? there : there - 1, (bit + 31) % BITS, away - 1);
            }
            u32 right = full_at(there) >> 1;
            if (word.column + BITS < ni) right |= full_at(there + 1) << 31;
            for (u32 bits = ends & right; bits;) {
                int bit = next_bit(bits);
                pair(bit, bit < 31 ? there : there + 1, (bit + 1) % BITS, away + 1);
            }
        }
    }
};

// What one label occupies; all 0 where there is none. Ends are told by numbers that only grow.
struct Extent {
    // value: of a component that in the map.
    int voxels, value;
    // Along each axis the largest LARGEST - index, and the largest index + 1.
    int before[3], behind[3];
    // Of the indices: lower and upper half, since shared memory adds no longer numbers.
    u32 sums[3][2];
};

const int LARGEST = 0x7fffffff;

// What a run occupies.
__device__ inline Extent run_at(Word word, u32 own, u32 begins, int bit, int nj) {
    u32 ends = (begins | ~own) >> bit >> 1;
    int count = ends ? __ffs(ends) : BITS - bit;
    int i = word.column + bit, j = word.row % nj, k = word.row / nj;
    Extent run = {count, 0, {LARGEST - i, LARGEST - j, LARGEST - k}, {i + count, j + 1, k + 1}, {}};
    u64 sums[3] = {(u64)(2 * i + count - 1) * count / 2, (u64)j * count, (u64)k * count};
    for (int axis = 0; axis < 3; ++axis) {
        run.sums[axis][0] = (u32)sums[axis];
        run.sums[axis][1] = (u32)(sums[axis] >> 32);
    }
    return run;
}

__device__ inline void add(Extent& to, const Extent& more) {
    atomicAdd(&to.voxels, more.voxels);
    for (int axis = 0; axis < 3; ++axis) {
        atomicMax(&to.before[axis], more.before[axis]);
        atomicMax(&to.behind[axis], more.behind[axis]);
        u32 low = more.sums[axis][0], old = atomicAdd(&to.sums[axis][0], low);
        u32 high = more.sums[axis][1] + (old + low < old);
        if (high) atomicAdd(&to.sums[axis][1], high);
    }
}

// What the labels of a block occupy, added up by the block: all threads of a device would wait at those of a large label.
template <int SLOTS>
struct Tally {
    // The label of each slot, 0 of none.
    int labels[SLOTS];
    Extent parts[SLOTS];

    __device__ void clear() {
        for (int slot = threadIdx.x; slot < SLOTS; slot += THREADS) {
            labels[slot] = 0;
            parts[slot] = {};
        }
    }

    // A label whose slot is taken by another is added to `all` at once.
    __device__ void add_run(Extent* all, int label, const Extent& run) {
        int slot = label % SLOTS, owner = atomicCAS(&labels[slot], 0, label);
        if (owner == 0 || owner == label)
            add(parts[slot], run);
        else
            add(all[label], run);
    }

    __device__ void pass_on(Extent* all) const {
        for (int slot = threadIdx.x; slot < SLOTS; slot += THREADS)
            if (labels[slot]) add(all[labels[slot]], parts[slot]);
    }
};

// Joins the roots a and b, or what they were joined to in the meantime.
template <class Root>
__device__ inline void unite(int* parents, int a, int b, Root root_of) {
    while (true) {
        a = root_of(a);
        b = root_of(b);
        if (a == b) return;
        int high = max(a, b), low = min(a, b), old = atomicMin(&parents[high], low);
        if (old == high) return;
        // It was no root any more: what it is joined to has to be joined to the other.
        a = old;
        b = low;
    }
}

// Which labels, not background themselves, are of the same structure as those before them.
__device__ inline u32 same(const Labels& labels, const Labels& before, int but) {
    if (but >= 0) return other_than(before, but);
    Labels changed;
#pragma unroll
    for (int n = 0; n < BITS / 4; ++n) changed.four[n] = labels.four[n] ^ before.four[n];
    return ~other_than(changed, 0);
}

// full, starts, above: of each word, see `Rows`. Joins the runs of each block's words.
KERNEL join_in_tiles(const u8* __restrict__ map, u32* full, u32* starts, u32* above,
                     int* __restrict__ parents, int ni, int nj, int nk, int before, int but) {
    __shared__ int tile[TILE];
    __shared__ int firsts[THREADS];
    int tile_start = blockIdx.x * THREADS;
    Rows rows = {map, full, starts, above, ni, nj, before, but, tile_start};
    int w = tile_start + threadIdx.x, here = threadIdx.x * BITS;
    bool inside = w < rows.row_words() * nj * nk;
    Word word = {0, 0, 0, 0};
    u32 begins = 0;
    if (inside) {
        word = word_at(w, ni, rows.row_words());
        int n = ni * nj * nk;
        Labels labels = labels_at(map, word.first, n);
        u32 own = other_than(labels, but < 0 ? 0 : but) & low_bits(word.count);
        begins = own & (but < 0 ? changes(labels) : ~(own << 1));
        // Where neighbours along i do not connect, each voxel is a run.
        if (!(before >> 12 & 1)) begins = own;
        full[w] = own;
        starts[w] = begins;
        bool first_row = !(before >> 10 & 1) || word.row % nj == 0;
        above[w] = first_row ? 0 : own & same(labels, labels_at(map, word.first - ni, n), but);
    }
    firsts[threadIdx.x] = word.first;
    for (u32 bits = begins; bits;) {
        int bit = next_bit(bits);
        tile[here + bit] = here + bit;
    }
    __syncthreads();
    // Others change parents at the same time; this leaves a parent as it is and tells it.
    auto root_of = [&](int at) {
        for (int next; (next = atomicMin(&tile[at], at)) != at;) at = next;
        return at;
    };
    if (inside)
        rows.touching(w, [&](int bit, int there, int there_bit, int) {
            unite(tile, here + bit, (there - tile_start) * BITS + there_bit, root_of);
        });
    __syncthreads();
    for (u32 bits = begins; bits;) {
        int bit = next_bit(bits), root = here + bit;
        while (tile[root] != root) root = tile[root];
        parents[word.first + bit] = firsts[root / BITS] + root % BITS;
    }
}

// Another thread may change a parent at any time: each look must go to memory. What is passed is joined to the one after the
// next, so that no path stays long; whoever changes it otherwise, joins to a voxel of the same component.
__device__ inline int root_of(volatile int* parents, int at) {
    while (true) {
        int next = parents[at];
        if (next == at) return at;
        int after = parents[next];
        if (after == next) return next;
        parents[at] = after;
        at = after;
    }
}

// Joins runs of different blocks of `join_in_tiles`.
KERNEL join_tiles(const u8* __restrict__ map, const u32* __restrict__ full,
                  const u32* __restrict__ starts, const u32* __restrict__ above, int* parents,
                  int ni, int nj, int nk, int before, int but) {
    Rows rows = {map, full, starts, above, ni, nj, before, but, 0};
    int tile_start = blockIdx.x * THREADS, w = tile_start + threadIdx.x;
    if (w >= rows.row_words() * nj * nk) return;
    int first = word_at(w, ni, rows.row_words()).first;
    rows.touching(w, [&](int bit, int there, int, int offset) {
        if (there < tile_start)
            unite(parents, first + bit, offset, [=](int at) { return root_of(parents, at); });
    });
}

// parents: of each run its root. counts: roots in the words of each block.
KERNEL flatten_runs(const u32* __restrict__ starts, int* parents, int* __restrict__ counts, int ni,
                    int words) {
    __shared__ int room[WARP];
    int w = blockIdx.x * THREADS + threadIdx.x, count = 0;
    if (w < words) {
        int first = word_at(w, ni, words_of(ni)).first;
        for (u32 bits = starts[w]; bits;) {
            int at = first + next_bit(bits), root = root_of(parents, at);
            parents[at] = root;
            count += root == at;
        }
    }
    count = block_sum(count, room);
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

// parents: of each root ~n, n being its number from 1 on; parts[0].voxels: how many there are. Each block adds up the counts
// before its own by itself, which takes less than one more launch as long as there are no more than thousands.
KERNEL number_roots(const u32* __restrict__ starts, int* __restrict__ parents,
                    const int* __restrict__ counts, Extent* __restrict__ parts, int ni, int words) {
    __shared__ int room[WARP];
    int w = blockIdx.x * THREADS + threadIdx.x, first = 0, before = 0, below = 0, all = 0;
    for (int block = threadIdx.x; block < (int)blockIdx.x; block += THREADS) before += counts[block];
    block_scan(before, room, below);
    u32 roots = 0;
    if (w < words) {
        first = word_at(w, ni, words_of(ni)).first;
        for (u32 bits = starts[w]; bits;) {
            int bit = next_bit(bits);
            if (parents[first + bit] == first + bit) roots |= 1u << bit;
        }
    }
    int number = below + block_scan(__popc(roots), room, all);
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) parts[0].voxels = below + all;
    while (roots) parents[first + next_bit(roots)] = ~++number;
}

// Different labels that a block adds up by itself.
const int SLOTS = 64;

// labels: of each voxel the number of its component, 0 for the background. parts: what each number occupies, as many as
// there is room for; all 0 before.
KERNEL label_runs(const u8* __restrict__ map, const u32* __restrict__ full,
                  const u32* __restrict__ starts, const int* __restrict__ parents,
                  u32* __restrict__ labels, Extent* __restrict__ parts, int ni, int nj, int nk,
                  int room) {
    __shared__ u32 numbers[TILE];
    __shared__ Tally<SLOTS> tally;
    tally.clear();
    int w = blockIdx.x * THREADS + threadIdx.x, here = threadIdx.x * BITS;
    Word word = {0, 0, 0, 0};
    u32 own = 0, begins = 0;
    if (w < words_of(ni) * nj * nk) {
        word = word_at(w, ni, words_of(ni));
        own = full[w], begins = starts[w];
    }
    __syncthreads();
    for (u32 bits = begins; bits;) {
        int bit = next_bit(bits), parent = parents[word.first + bit];
        int number = ~(parent < 0 ? parent : parents[parent]);
        numbers[here + bit] = number;
        if (number > room) continue;
        if (parent < 0) parts[number].value = map[word.first + bit];
        tally.add_run(parts, number, run_at(word, own, begins, bit, nj));
    }
    __syncthreads();
    tally.pass_on(parts);
    int lane = threadIdx.x % WARP;
    for (int other = 0; other < WARP; ++other) {
        int first = __shfl_sync(WHOLE_WARP, word.first, other);
        int count = __shfl_sync(WHOLE_WARP, word.count, other);
        u32 there = __shfl_sync(WHOLE_WARP, own, other), runs = __shfl_sync(WHOLE_WARP, begins, other);
        bool inside = there >> lane & 1;
        int start = (threadIdx.x - lane + other) * BITS + (inside ? last_bit(runs, lane) : 0);
        if (lane < count) labels[first + lane] = inside ? numbers[start] : 0;
    }
}

// What each label of a map occupies: parts[label]; all 0 before.
KERNEL occupied(const u8* __restrict__ map, Extent* __restrict__ parts, int ni, int nj, int nk) {
    __shared__ Tally<256> tally;
    tally.clear();
    __syncthreads();
    FOR_EACH(w, words_of(ni) * nj * nk) {
        Word word = word_at(w, ni, words_of(ni));
        Labels labels = labels_at(map, word.first, ni * nj * nk);
        u32 own = other_than(labels, 0) & low_bits(word.count), begins = own & changes(labels);
        for (u32 bits = begins; bits;) {
            int bit = next_bit(bits), label = map[word.first + bit];
            tally.add_run(parts, label, run_at(word, own, begins, bit, nj));
        }
    }
    __syncthreads();
    tally.pass_on(parts);
}
