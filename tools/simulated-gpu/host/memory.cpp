// The device's memory. Each allocation ends at a page that cannot be touched, so that an access behind it faults, and
// cannot be touched itself once freed; what lies before it is compared on every free. Fresh memory is NaN.
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <deque>

#include "simulation.h"

namespace {
const size_t PAGE = 4096;
// Freed allocations that stay unmapped, so that a late access to them is named as such.
const size_t REMEMBERED = 4000;
const char FRESH = (char)0xFF;

std::map<u64, Allocation> live;
std::deque<Allocation> freed;
u64 in_use = 0, peak = 0;
// Freed memory that the pool has not yet given back to the driver.
u64 pooled = 0;

Allocation *find(u64 address) {
    const auto after = live.upper_bound(address);
    if (after == live.begin()) return nullptr;
    Allocation &found = std::prev(after)->second;
    return address < found.start + std::max<size_t>(found.size, 1) ? &found : nullptr;
}

void check(const Allocation &a) {
    const auto untouched = [&](const char *from, const char *to, const char *where) {
        for (const char *p = from; p < to; p++)
            if (*p != FRESH)
                fail("memory %s an allocation of %zu bytes was written to (last use: %s)", where, a.size, a.used.what);
    };
    untouched(a.base, (char *)a.start, "before");
    untouched((char *)a.start + a.size, a.base + a.mapped - PAGE, "behind");
}
bool covers(const Allocation &a, u64 address) { return address >= (u64)a.base && address < (u64)a.base + a.mapped; }
}  // namespace

u64 release_threshold = 0;

CUresult allocate(u64 *address, size_t size, Stream *stream) {
    LOCK;
    if (in_use + size > settings.memory) return OUT_OF_MEMORY;
    count("allocations");
    count("bytes_allocated", size);
    const u64 reused = std::min<u64>(pooled, size);
    pooled -= reused;
    count("bytes_from_driver", size - reused);
    const size_t padded = (size + 15) / 16 * 16, pages = (padded + PAGE - 1) / PAGE * PAGE;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *base = (char *)mmap(nullptr, pages + PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED) fail("mmap of %zu bytes failed; vm.max_map_count may be too small", pages);
    mprotect(base + pages, PAGE, PROT_NONE);
    memset(base, FRESH, pages);
    Allocation made{base, pages + PAGE, (u64)(base + pages - padded), size, {}, {}};
    made.written = made.used = work(stream, "allocation");
    live[made.start] = made;
    peak = std::max(peak, in_use += size);
    *address = made.start;
    return SUCCESS;
}

CUresult release(u64 address, Stream *stream) {
    LOCK;
    count("frees");
    if (!live.count(address)) fail("%#llx is freed but not allocated", address);
    use(address, 0, stream, true, "free");
    const Allocation gone = live[address];
    check(gone);
    live.erase(address);
    in_use -= gone.size;
    pooled += gone.size;
    mprotect(gone.base, gone.mapped, PROT_NONE);
    freed.push_back(gone);
    if (freed.size() > REMEMBERED) {
        munmap(freed.front().base, freed.front().mapped);
        freed.pop_front();
    }
    return SUCCESS;
}

void use(u64 address, size_t bytes, Stream *stream, bool write, const char *what) {
    Allocation *a = find(address);
    if (!a) fail("%s: %#llx is not memory of the device", what, address);
    if (address + bytes > a->start + a->size)
        fail("%s: %zu bytes at %#llx leave an allocation of %zu bytes at %#llx", what, bytes, address, a->size, a->start);
    const Use *before = nullptr;
    if (!ordered(a->written, stream)) before = &a->written;
    else if (write && !ordered(a->used, stream)) before = &a->used;
    if (before && count_race(std::string(before->what) + ", then " + what))
        fprintf(stderr, "simulated GPU: race on %zu bytes: %s on stream %d, then %s on stream %d, and nothing waits\n",
                a->size, before->what, before->stream, what, stream->id);
    a->used = work(stream, what);
    if (write) a->written = a->used;
}

void check_edges(u64 address) { check(*find(address)); }

void explain_fault(u64 address) {
    const auto byte = [&](const Allocation &a) { return (long long)(address - a.start); };
    for (const auto &[start, a] : live)
        if (covers(a, address)) fail("access to byte %lld of an allocation of %zu bytes", byte(a), a.size);
    for (const Allocation &a : freed)
        if (covers(a, address)) fail("access to byte %lld of %zu bytes that were freed", byte(a), a.size);
}

Held held() { return {in_use, peak, live.size(), pooled}; }

void trim_pool() {
    const u64 kept = release_threshold > in_use ? std::min(pooled, release_threshold - in_use) : 0;
    if (pooled > kept) {
        count("pool_trims");
        count("bytes_returned", pooled - kept);
    }
    pooled = kept;
}
