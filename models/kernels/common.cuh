// What all kernels share: number types, sums over a block, dropout masks and normal values by Philox.
//
// Every kernel is written for f32 and for bf16 tensors; sums and functions are in f32. Nothing is added by atomics, so
// results do not differ from run to run.
#pragma once
#include <cuda_bf16.h>
typedef __nv_bfloat16 bf16;

// The shared memory of a block. The launch sets its size; four values of it may be read together.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) float name[]

typedef unsigned int u32;
typedef unsigned long long u64;

__device__ inline float get(float x) { return x; }
__device__ inline float get(bf16 x) { return __bfloat162float(x); }
__device__ inline void put(float *to, float x) { *to = x; }
__device__ inline void put(bf16 *to, float x) { *to = __float2bfloat16(x); }

// Four values that are read or written together. Their address is a multiple of their size.
template <class T>
struct alignas(4 * sizeof(T)) Four {
    T of[4];
};

// Defines both forms of a kernel, NAME_f32 and NAME_bf16, from the template NAME. What follows ARGUMENTS limits its registers.
#define BOTH(NAME, PARAMETERS, ARGUMENTS, ...)                                              \
    extern "C" __global__ __VA_ARGS__ void NAME##_f32 PARAMETERS(float) { NAME ARGUMENTS; } \
    extern "C" __global__ __VA_ARGS__ void NAME##_bf16 PARAMETERS(bf16) { NAME ARGUMENTS; }

__device__ inline float warp_sum(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}

__device__ inline float warp_max(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}

// Sums x over the threads of a block, which are whole warps and at most 1024 threads; every thread gets the sum.
__device__ inline float block_sum(float x) {
    __shared__ float parts[32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    x = warp_sum(x);
    __syncthreads();
    if (lane == 0) parts[warp] = x;
    __syncthreads();
    return warp_sum(lane < blockDim.x / 32 ? parts[lane] : 0.0f);
}

// The four words of a block of Philox 4x32-10 (models/src/ops/philox.rs).
struct Words {
    u32 of[4];
};

__device__ inline Words philox(u64 key, u64 block) {
    u32 a = (u32)block, b = (u32)(block >> 32), c = 0, d = 0;
    u32 low = (u32)key, high = (u32)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const u64 x = (u64)a * 0xD2511F53u, y = (u64)c * 0xCD9E8D57u;
        a = (u32)(y >> 32) ^ b ^ low;
        b = (u32)y;
        c = (u32)(x >> 32) ^ d ^ high;
        d = (u32)x;
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
    return {{a, b, c, d}};
}

// Dropout (models/src/ops/mask.rs). Of each 128 elements, element i uses 16 bits of word i / 32 of block i mod 16.
struct Mask {
    u64 key;
    u32 threshold;
    float scale;
};

__device__ inline float drop(Mask mask, u64 element, float x) {
    if (mask.threshold == 0) return x;
    const u32 place = element % 128;
    const u32 word = philox(mask.key, element / 128 * 16 + place % 16).of[place / 32];
    const u32 draw = place % 32 < 16 ? word & 0xFFFFu : word >> 16;
    return draw < mask.threshold ? 0.0f : x * mask.scale;
}

// Returns four standard normal values (models/src/ops/philox.rs). Of each 64 elements, block i mod 16 makes those at i, i + 16,
// i + 32 and i + 48.
__device__ inline Four<float> normals(u64 key, u64 block) {
    const Words words = philox(key, block);
    Four<float> values;
    for (int pair = 0; pair < 2; pair++) {
        const float u = (float)((words.of[2 * pair] >> 8) + 1) * (1.0f / 16777216.0f);
        const float turn = (float)(words.of[2 * pair + 1] >> 8) * (1.0f / 16777216.0f);
        float sine, cosine;
        sincospif(2.0f * turn, &sine, &cosine);
        const float radius = sqrtf(-2.0f * logf(u));
        values.of[2 * pair] = radius * cosine;
        values.of[2 * pair + 1] = radius * sine;
    }
    return values;
}
