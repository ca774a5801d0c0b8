// What a kernel sees of its grid: indices, barriers, shuffles, shared memory and atomics.
//
// The threads of a block are fibers. They run one at a time and hand over at barriers and shuffles only, so their order
// between two barriers is the simulation's choice (SIMGPU_ORDER) and a result that depends on it is a race. Blocks run
// one after another.
#pragma once
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>
#include <vector>

// `build` compiles each source twice: LISTING turns kernels into words that it can find in the preprocessed text.
#ifdef LISTING
#define __global__ KERNEL_ENTRY
#else
#define __global__
#endif
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define __constant__ static
// Arrays in shared memory become static ones in a section of their source file, which is filled with NaN before each
// block. `build` rewrites `extern __shared__ T name[]` to DYNAMIC_ARRAY.
#define __shared__ static __attribute__((section(SHARED_SECTION)))
#define DYNAMIC_ARRAY(T, name) T *name = (T *)sim::dynamic_shared

struct uint3 {
    unsigned x, y, z;
};

namespace sim {
// Opens when all that are expected have arrived; `turn` counts how often it has opened.
struct Barrier {
    unsigned expected, arrived, turn;
};
// The barrier of the lanes that a mask names, and what they show to each other: two sets of values in turn, because a
// lane may come to the next exchange while others still read.
struct Lanes {
    Barrier barrier;
    unsigned mask;
    char shown[2][32][16];
};
struct Fiber {
    void *stack_pointer;
    char *stack;
    uint3 thread;
    unsigned number, turn;
    Barrier *at;
    bool done;
};
extern Fiber *current;
extern uint3 block, block_size, grid_size;
extern char *dynamic_shared;
extern Barrier everyone;

void wait(Barrier &barrier);
// The lanes that a mask names in the warp of the current thread; refuses masks that cannot be right.
Lanes &lanes_of(unsigned mask);
unsigned live_lanes();

struct Parameter {
    unsigned size;
    bool pointer, constant;
};
// A kernel as the CPU calls it; [shared_from, shared_to) is the static shared memory of its source file.
struct Kernel {
    void (*call)(void *function, void **arguments);
    void *function;
    std::vector<Parameter> parameters;
    char *shared_from, *shared_to;
};
bool add(const char *name, Kernel kernel);

template <class A>
Parameter parameter() {
    return {sizeof(A), std::is_pointer_v<A>, std::is_const_v<std::remove_pointer_t<A>>};
}
template <class... A, size_t... I>
void call(void *function, void **arguments, std::index_sequence<I...>) {
    ((void (*)(A...))function)(*(A *)arguments[I]...);
}
template <class... A>
Kernel kernel(void (*function)(A...), char *shared_from, char *shared_to) {
    const auto unpack = [](void *f, void **arguments) { call<A...>(f, arguments, std::index_sequence_for<A...>()); };
    return {unpack, (void *)function, {parameter<A>()...}, shared_from, shared_to};
}

// Runs `read` once every lane of the mask has shown its value.
template <class T, class Read>
auto exchange(unsigned mask, T x, Read read) {
    Lanes &lanes = lanes_of(mask);
    auto &shown = lanes.shown[lanes.barrier.turn % 2];
    static_assert(sizeof(T) <= sizeof shown[0]);
    memcpy(shown[current->number % 32], &x, sizeof(T));
    wait(lanes.barrier);
    return read(shown, lanes.mask);
}
template <class T>
T shuffle(unsigned mask, T x, unsigned from, unsigned width) {
    const unsigned lane = current->number % 32;
    // A lane outside of its group of `width` gives a thread its own value; one that takes no part gives NaN.
    if (from / width != lane / width) from = lane;
    return exchange(mask, x, [&](const auto &shown, unsigned lanes) {
        T y;
        if (lanes >> from & 1) memcpy(&y, shown[from], sizeof(T));
        else memset(&y, 0xFF, sizeof(T));
        return y;
    });
}
}  // namespace sim

#define threadIdx (sim::current->thread)
#define blockIdx (sim::block)
#define blockDim (sim::block_size)
#define gridDim (sim::grid_size)
const int warpSize = 32;

inline void __syncthreads() { sim::wait(sim::everyone); }
inline void __syncwarp(unsigned mask = ~0u) { sim::wait(sim::lanes_of(mask).barrier); }
inline unsigned __activemask() { return sim::live_lanes(); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T x, int from, int width = 32) {
    const unsigned group = sim::current->number % 32 / width * width;
    return sim::shuffle(mask, x, group + (unsigned)from % width, width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int with, int width = 32) {
    return sim::shuffle(mask, x, sim::current->number % 32 ^ with, width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = 32) {
    return sim::shuffle(mask, x, sim::current->number % 32 + by, width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned by, int width = 32) {
    // Below lane 0 the difference wraps round to a lane outside of the group.
    return sim::shuffle(mask, x, sim::current->number % 32 - by, width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return sim::exchange(mask, predicate != 0, [](const auto &shown, unsigned lanes) {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < 32; lane++) votes |= (lanes >> lane & 1 && shown[lane][0] ? 1u : 0u) << lane;
        return votes;
    });
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

// One thread runs at a time, so an ordinary read and write are atomic.
template <class T, class Change>
T changed(T *at, Change change) {
    const T old = *at;
    *at = change(old);
    return old;
}
template <class T, class V> T atomicAdd(T *at, V x) { return changed(at, [&](T old) { return old + (T)x; }); }
template <class T, class V> T atomicSub(T *at, V x) { return changed(at, [&](T old) { return old - (T)x; }); }
template <class T, class V> T atomicMin(T *at, V x) { return changed(at, [&](T old) { return (T)x < old ? (T)x : old; }); }
template <class T, class V> T atomicMax(T *at, V x) { return changed(at, [&](T old) { return old < (T)x ? (T)x : old; }); }
template <class T, class V> T atomicAnd(T *at, V x) { return changed(at, [&](T old) { return old & (T)x; }); }
template <class T, class V> T atomicOr(T *at, V x) { return changed(at, [&](T old) { return old | (T)x; }); }
template <class T, class V> T atomicExch(T *at, V x) { return changed(at, [&](T) { return (T)x; }); }
template <class T, class V, class W> T atomicCAS(T *at, V expected, W x) {
    return changed(at, [&](T old) { return old == (T)expected ? (T)x : old; });
}
