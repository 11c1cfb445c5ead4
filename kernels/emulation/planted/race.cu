// A fault on purpose: reads what a neighbour wrote without waiting for it.
#include "sagitta.cuh"

KERNEL shift_without_barrier(const int* __restrict__ from, int* __restrict__ to) {
    __shared__ int room[256];
    room[threadIdx.x] = from[threadIdx.x];
    to[threadIdx.x] = room[(threadIdx.x + 1) % blockDim.x];
    __syncthreads();
}

// The same without the fault, to tell one from the other.
KERNEL shift(const int* __restrict__ from, int* __restrict__ to) {
    __shared__ int room[256];
    room[threadIdx.x] = from[threadIdx.x];
    __syncthreads();
    to[threadIdx.x] = room[(threadIdx.x + 1) % blockDim.x];
}

// A barrier that half of the threads do not reach.
KERNEL barrier_for_some(int* __restrict__ to) {
    if (threadIdx.x < blockDim.x / 2) __syncthreads();
    to[threadIdx.x] = 1;
}

// Adds without an atomic what others add too, in two steps between which another thread may come.
KERNEL add_in_two_steps(int* __restrict__ to) {
    int old = to[0];
    atomicAdd(&to[1], 1);
    to[0] = old + 1;
}
