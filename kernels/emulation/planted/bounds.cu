// Faults on purpose: one place behind the end.
#include "sagitta.cuh"

KERNEL read_behind(const int* __restrict__ from, int* __restrict__ to, int n) {
    FOR_EACH(i, n) to[i] = from[i + 1];
}

KERNEL write_behind(int* __restrict__ to, int n) {
    FOR_EACH(i, n + 1) to[i] = i;
}

// Behind the shared memory that the launch gives.
KERNEL write_behind_shared(int* __restrict__ to) {
    DYNAMIC_SHARED(int, room);
    room[threadIdx.x + 1] = 1;
    __syncthreads();
    to[threadIdx.x] = room[threadIdx.x];
}

// Behind the shared memory that the kernel declares.
KERNEL write_behind_declared(int* __restrict__ to) {
    __shared__ int room[32];
    room[threadIdx.x + 1] = 1;
    __syncthreads();
    to[threadIdx.x] = room[threadIdx.x];
}

// A sum that does not fit its type.
KERNEL overflow(int* __restrict__ to, int n) { to[0] = n + 2147483647; }
