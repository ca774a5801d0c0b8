// What the parts of the simulated driver share. Every call does its work on the CPU before it returns. What a GPU would
// refuse is refused; what it would get wrong silently ends the process with a message.
#pragma once
#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "threads.h"

typedef unsigned long long u64;
typedef int CUresult;
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    INVALID_PTX = 218,
    NOT_FOUND = 500,
    NOT_READY = 600,
};

#define API extern "C" __attribute__((visibility("default")))

extern std::recursive_mutex lock;
#define LOCK std::lock_guard<std::recursive_mutex> locked(lock)

// The variables SIMGPU_…, which README.md describes.
struct Settings {
    u64 capability, memory, devices;
    unsigned most_shared;
    bool log, trace;
    std::string order, statistics, mark, registers;
};
extern const Settings settings;

// Ends the process with status 99 and says what was found, in which kernel and thread.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Statistics. `count` is for calls and bytes, `count_kernel` for what is launched, `count_race` for two uses of the same
// memory that nothing orders; its answer is whether this pair is new.
void count(const char *what, u64 by = 1);
void count_kernel(const std::string &name);
bool count_race(const std::string &what);
// Called by `cuInit`: writes the statistics when the process exits, and fails it if there was a race.
void report_at_exit();

// Streams. Every piece of work has a number, its time; `done` is the time up to which the host has waited, `seen` up to
// which time of each other stream this one has waited.
struct Stream {
    int id;
    bool blocking, destroyed = false;
    u64 done = 0, last = 0;
    std::map<int, u64> seen;
};
// One use of a piece of memory.
struct Use {
    int stream = 0;
    u64 time = 0;
    const char *what = "";
};
Stream *make_stream(bool blocking);
Stream *stream_of(void *handle);
// Numbers the next piece of work of a stream.
Use work(Stream *stream, const char *what);
// Whether work of `stream` that begins now comes after `before` for certain.
bool ordered(const Use &before, Stream *stream);
// The host waits for all work of a stream; `why` is what the statistics call it.
void wait_for(Stream *stream, const char *why);
void wait_for_all();
// Calls that work on streams or memory need a context on their thread.
void need_context(const char *call);
#define NEED_CONTEXT need_context(__func__)

// Memory.
struct Allocation {
    char *base;
    size_t mapped;
    u64 start;
    size_t size;
    Use written, used;
};
CUresult allocate(u64 *address, size_t size, Stream *stream);
CUresult release(u64 address, Stream *stream);
// Work of a stream on memory: the memory must be there, and what the work has to come after must be ordered before it.
void use(u64 address, size_t bytes, Stream *stream, bool write, const char *what);
// Fails if something was written beside the allocation at an address.
void check_edges(u64 address);
// Says what an address that faulted is, if it is memory of the device, and fails.
void explain_fault(u64 address);
// Bytes in use now, the most that were, how many allocations are live, and bytes that are free but kept by the pool.
struct Held {
    u64 bytes, peak, allocations, pooled;
};
Held held();
// Memory that was freed goes back to the driver at a wait, unless the pool's threshold keeps it.
void trim_pool();
extern u64 release_threshold;

// Blocks of threads (fibers.cpp).
extern const char *running;
void prepare_fibers();
// Whether an address that faulted is behind the dynamic shared memory.
bool behind_shared(u64 address);
void run_grid(const sim::Kernel &kernel, void **arguments, uint3 grid, uint3 threads, unsigned shared);
