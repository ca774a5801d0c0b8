// Kernels with one fault each, which the simulation has to find, and one without, whose result is known.

#define FAULT(name, body) \
    extern "C" __global__ void fault_##name(float *x, int n) body

FAULT(behind, { x[n + threadIdx.x] = 0.0f; })
FAULT(before, { x[-1 - (int)threadIdx.x] = 0.0f; })
FAULT(misaligned, { *(float4 *)(x + 1) = make_float4(0.0f, 0.0f, 0.0f, 0.0f); })
FAULT(shared, {
    extern __shared__ float shared[];
    shared[n + threadIdx.x] = 0.0f;
    x[threadIdx.x] = shared[n + threadIdx.x];
})
// Lane 0 ends and is named by the mask of the others.
FAULT(ended, {
    if (threadIdx.x == 0) return;
    x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
})
FAULT(not_named, { x[threadIdx.x] = __shfl_xor_sync(0xfffffffeu, x[threadIdx.x], 1); })
// Lane 0 waits for its warp, and the warp for lane 0.
FAULT(waiting, {
    if (threadIdx.x == 0) __syncwarp();
    else __syncthreads();
    x[threadIdx.x] = 0.0f;
})
// Each thread reads what its neighbour may not have written yet.
FAULT(order, {
    __shared__ float shared[64];
    shared[threadIdx.x] = (float)threadIdx.x;
    x[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
})
// Nothing has written the memory.
FAULT(fresh, {
    __shared__ float shared[64];
    x[threadIdx.x] += shared[threadIdx.x];
})

// In each block: the sum of the numbers up to a thread's own within its warp, plus 1000 for each warp before, plus 10000
// times the number of odd lanes, plus a million for the blocks, once each.
extern "C" __global__ void right(float *x, int n) {
    __shared__ float warps[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (int by = 1; by < 32; by *= 2) {
        const float other = __shfl_up_sync(0xffffffffu, sum, by);
        if (lane >= by) sum += other;
    }
    if (lane == 31) warps[warp] = 1000.0f;
    __syncthreads();
    for (int before = 0; before < warp; before++) sum += warps[before];
    // Half of a warp exchanges values on its own.
    unsigned odd = __ballot_sync(0xffffffffu, lane % 2);
    if (lane < 16) odd = __shfl_sync(0x0000ffffu, odd, 3) + (__any_sync(0x0000ffffu, lane == 20) ? 1 : 0);
    x[blockIdx.x * blockDim.x + threadIdx.x] = sum + 10000.0f * __popc(odd);
    if (threadIdx.x == 0) atomicAdd(&x[n], 1000000.0f);
}
