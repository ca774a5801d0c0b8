// Just enough CUDA for models/kernels to run as C++: the threads of a block are fibers that wait for each other at
// barriers and shuffles; blocks run one after another. Slow, and only as parallel as their waits, but the same
// arithmetic.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __shared__ static
#define DYNAMIC_SHARED(name) float *name = (float *)emulated::dynamic.data()

struct bf16 {
    uint16_t bits;
};
inline float __bfloat162float(bf16 x) {
    uint32_t bits = (uint32_t)x.bits << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}
// To the nearest, ties to even.
inline bf16 __float2bfloat16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (x != x) return {0x7FFF};
    return {(uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}

struct float2 {
    float x, y;
};
struct double2 {
    double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * (float)M_SQRT1_2); }
inline void sincospif(float x, float *sine, float *cosine) {
    *sine = (float)sin(M_PI * x);
    *cosine = (float)cos(M_PI * x);
}
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }

struct Index {
    unsigned x, y;
};

namespace emulated {
struct Barrier {
    unsigned arrived = 0, turn = 0;
};
struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 16);
    Index thread;
    bool done;
};
inline ucontext_t scheduler;
inline Fiber *current;
inline Index block, block_size, grid_size;
inline std::vector<char> dynamic;
inline std::vector<float> slots;
inline Barrier all;
inline std::vector<Barrier> warps;
inline std::function<void()> body;

inline void wait(Barrier &barrier, unsigned count) {
    const unsigned turn = barrier.turn;
    if (++barrier.arrived == count) {
        barrier.arrived = 0;
        barrier.turn++;
    }
    while (barrier.turn == turn) swapcontext(&current->context, &scheduler);
}

inline void entry() {
    body();
    current->done = true;
    swapcontext(&current->context, &scheduler);
}

// Runs `kernel` over a grid; `arguments` point to the values, as for cuLaunchKernel.
inline void launch(const std::function<void(void **)> &kernel, Index grid, unsigned threads, unsigned shared,
                   void **arguments) {
    body = [&] { kernel(arguments); };
    block_size = {threads, 1};
    grid_size = grid;
    std::vector<Fiber> fibers(threads);
    for (block.y = 0; block.y < grid.y; block.y++)
        for (block.x = 0; block.x < grid.x; block.x++) {
            // Whatever a kernel does not write must not look right.
            dynamic.assign(shared, (char)0xFF);
            slots.assign(threads, NAN);
            all = {};
            warps.assign((threads + 31) / 32, {});
            for (unsigned n = 0; n < threads; n++) {
                Fiber &fiber = fibers[n];
                fiber.thread = {n, 0};
                fiber.done = false;
                getcontext(&fiber.context);
                fiber.context.uc_stack.ss_sp = fiber.stack.data();
                fiber.context.uc_stack.ss_size = fiber.stack.size();
                fiber.context.uc_link = nullptr;
                makecontext(&fiber.context, entry, 0);
            }
            for (bool busy = true; busy;) {
                busy = false;
                for (Fiber &fiber : fibers)
                    if (!fiber.done) {
                        busy = true;
                        current = &fiber;
                        swapcontext(&scheduler, &fiber.context);
                    }
            }
        }
}

inline std::map<std::string, std::function<void(void **)>> kernels;

template <class... A, size_t... I>
std::function<void(void **)> unpack(void (*kernel)(A...), std::index_sequence<I...>) {
    return [kernel](void **arguments) { kernel(*(A *)arguments[I]...); };
}
template <class... A>
bool add(const char *name, void (*kernel)(A...)) {
    kernels[name] = unpack(kernel, std::index_sequence_for<A...>());
    return true;
}
}  // namespace emulated

#define threadIdx (emulated::current->thread)
#define blockIdx (emulated::block)
#define blockDim (emulated::block_size)
#define gridDim (emulated::grid_size)

inline void __syncthreads() { emulated::wait(emulated::all, emulated::block_size.x); }
inline void __syncwarp() { emulated::wait(emulated::warps[threadIdx.x / 32], 32); }
inline float __shfl_xor_sync(unsigned, float x, int lanes) {
    emulated::slots[threadIdx.x] = x;
    __syncwarp();
    const float y = emulated::slots[threadIdx.x ^ lanes];
    __syncwarp();
    return y;
}
