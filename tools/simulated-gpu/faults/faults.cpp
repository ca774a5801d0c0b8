// Makes one fault on purpose, named by its argument; `check` looks at how the process ends.
//
// usage: faults KERNELS.ptx CASE     KERNELS.ptx: made of faults.cu
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

typedef unsigned long long u64;
extern "C" {
int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuStreamCreate(void **, unsigned);
int cuStreamSynchronize(void *);
int cuStreamWaitEvent(void *, void *, unsigned);
int cuEventCreate(void **, unsigned);
int cuEventRecord(void *, void *);
int cuMemAllocAsync(u64 *, size_t, void *);
int cuMemFreeAsync(u64, void *);
int cuMemsetD8Async(u64, unsigned char, size_t, void *);
int cuMemcpyHtoDAsync_v2(u64, const void *, size_t, void *);
int cuMemcpyDtoHAsync_v2(void *, u64, size_t, void *);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
}

namespace {
const int BLOCKS = 2, THREADS = 64, COUNT = BLOCKS * THREADS;
void *module, *stream, *other;
u64 memory;

void ok(int status) {
    if (status) exit(3);
}
void launch(const std::string &name, u64 x, unsigned blocks, unsigned threads, unsigned shared) {
    void *function;
    int n = COUNT;
    void *arguments[] = {&x, &n};
    ok(cuModuleGetFunction(&function, module, name.c_str()));
    ok(cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, stream, arguments, nullptr));
}
std::vector<float> fetch(size_t count) {
    std::vector<float> values(count);
    ok(cuMemcpyDtoHAsync_v2(values.data(), memory, 4 * count, stream));
    return values;
}
void open(const char *ptx) {
    void *context;
    ok(cuInit(0));
    ok(cuDevicePrimaryCtxRetain(&context, 0));
    ok(cuCtxSetCurrent(context));
    ok(cuStreamCreate(&stream, 1));
    ok(cuStreamCreate(&other, 1));
    std::ifstream file(ptx);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    ok(cuModuleLoadData(&module, text.c_str()));
    ok(cuMemAllocAsync(&memory, 4 * COUNT, stream));
}

bool right() {
    u64 larger;
    ok(cuMemAllocAsync(&larger, 4 * (COUNT + 1), stream));
    memory = larger;
    std::vector<float> values(COUNT + 1);
    for (int n = 0; n < COUNT; n++) values[n] = (float)(n % 7);
    ok(cuMemcpyHtoDAsync_v2(memory, values.data(), 4 * values.size(), stream));
    launch("right", memory, BLOCKS, THREADS, 0);
    const std::vector<float> found = fetch(COUNT + 1);
    for (int n = 0; n < COUNT; n++) {
        const int thread = n % THREADS;
        float sum = 1000.0f * (thread / 32) + 160000.0f;
        for (int before = n - thread % 32; before <= n; before++) sum += values[before];
        if (found[n] != sum) return printf("value %d is %f, not %f\n", n, found[n], sum), false;
    }
    return found[COUNT] == 1e6f * BLOCKS;
}
// Work on one stream, then on another, with or without an event between.
void two_streams(bool event) {
    void *mark;
    ok(cuMemsetD8Async(memory, 0, 4 * COUNT, stream));
    ok(cuEventCreate(&mark, 0));
    ok(cuEventRecord(mark, stream));
    if (event) ok(cuStreamWaitEvent(other, mark, 0));
    ok(cuMemsetD8Async(memory, 1, 4 * COUNT, other));
}
}  // namespace

int main(int, char **arguments) {
    const std::string what = arguments[2];
    open(arguments[1]);
    if (what == "right") return right() ? 0 : 1;
    if (what == "ordered") return two_streams(true), 0;
    if (what == "race") return two_streams(false), 0;
    if (what == "freed") {
        ok(cuMemFreeAsync(memory, stream));
        launch("fault_order", memory, 1, THREADS, 0);
    } else if (what == "freed_twice") {
        ok(cuMemFreeAsync(memory, stream));
        ok(cuMemFreeAsync(memory, stream));
    } else if (what == "copy_behind") {
        fetch(COUNT + 1);
    } else if (what == "block_too_large") {
        launch("fault_order", memory, 1, 1025, 0);
    } else if (what == "shared_too_large") {
        launch("fault_order", memory, 1, THREADS, 48 << 10);
    } else if (what == "order") {
        // Prints a value that depends on the order of threads.
        launch("fault_order", memory, 1, THREADS, 0);
        printf("%f\n", fetch(1)[0]);
        return 0;
    } else if (what == "fresh") {
        launch("fault_fresh", memory, 1, THREADS, 0);
        return std::isnan(fetch(1)[0]) ? 0 : 1;
    } else {
        launch("fault_" + what, memory, 1, THREADS, 4 * COUNT);
    }
    return 0;
}
