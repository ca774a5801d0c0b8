// Driver calls about the device, contexts, memory and errors.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "simulation.h"

namespace {
const int RELEASE_THRESHOLD = 4, POOL_RESERVED = 5, POOL_USED = 7;
thread_local void *context = nullptr;

void on_fault(int, siginfo_t *info, void *) {
    const u64 address = (u64)info->si_addr;
    // A load that wants an aligned address faults without one.
    if (info->si_code == SI_KERNEL) fail("a vector is at an address that is not a multiple of its size");
    explain_fault(address);
    if (behind_shared(address)) fail("access behind the dynamic shared memory that the launch asked for");
    fail("access to %#llx, which is not memory of the device", address);
}
void start() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    report_at_exit();
    prepare_fibers();
}
const struct {
    int status;
    const char *name, *text;
} ERRORS[] = {
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
};
}  // namespace

void need_context(const char *call) {
    if (!context) fail("%s is called on a thread without a context", call);
}

// `build` makes a function that calls this for every call that the programs make and this library does not have.
API void sim_missing(const char *name) { fail("the simulation does not have %s", name); }

API CUresult cuInit(unsigned) {
    static const bool once = (start(), true);
    (void)once;
    return settings.devices ? SUCCESS : NO_DEVICE;
}
API CUresult cuDriverGetVersion(int *version) {
    *version = 13000;
    return SUCCESS;
}
API CUresult cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && (u64)ordinal < settings.devices ? SUCCESS : INVALID_DEVICE;
}
API CUresult cuDeviceGetCount(int *count) {
    *count = settings.devices;
    return SUCCESS;
}
API CUresult cuDeviceGetName(char *name, int length, int) {
    snprintf(name, length, "simulated GPU, capability %llu.%llu", settings.capability / 10, settings.capability % 10);
    return SUCCESS;
}
API CUresult cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = settings.memory;
    return SUCCESS;
}
API CUresult cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
        case 1: *value = 1024; break;                        // MAX_THREADS_PER_BLOCK
        case 8: *value = 48 << 10; break;                    // MAX_SHARED_MEMORY_PER_BLOCK
        case 10: *value = 32; break;                         // WARP_SIZE
        case 16: *value = 132; break;                        // MULTIPROCESSOR_COUNT
        case 75: *value = settings.capability / 10; break;   // COMPUTE_CAPABILITY_MAJOR
        case 76: *value = settings.capability % 10; break;   // COMPUTE_CAPABILITY_MINOR
        case 97: *value = settings.most_shared; break;       // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        case 115: *value = 1; break;                         // MEMORY_POOLS_SUPPORTED
        default: fail("the device attribute %d is unknown", attribute);
    }
    return SUCCESS;
}

API CUresult cuDevicePrimaryCtxRetain(void **made, int device) {
    *made = (void *)(u64)(0x1000 + device);
    return SUCCESS;
}
API CUresult cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API CUresult cuCtxGetCurrent(void **got) {
    *got = context;
    return SUCCESS;
}
API CUresult cuCtxSetCurrent(void *set) {
    context = set;
    return SUCCESS;
}
API CUresult cuCtxSynchronize() {
    NEED_CONTEXT;
    LOCK;
    wait_for_all();
    return SUCCESS;
}

API CUresult cuMemAllocAsync(u64 *address, size_t size, void *stream) {
    NEED_CONTEXT;
    return allocate(address, size, stream_of(stream));
}
API CUresult cuMemFreeAsync(u64 address, void *stream) {
    NEED_CONTEXT;
    return release(address, stream_of(stream));
}
API CUresult cuMemAlloc_v2(u64 *address, size_t size) {
    NEED_CONTEXT;
    return allocate(address, size, stream_of(nullptr));
}
// Memory that was not allocated in the order of a stream is freed once everything has been waited for.
API CUresult cuMemFree_v2(u64 address) {
    cuCtxSynchronize();
    return release(address, stream_of(nullptr));
}
API CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    *total = settings.memory;
    *free = settings.memory - held().bytes;
    return SUCCESS;
}
API CUresult cuDeviceGetDefaultMemPool(void **pool, int) {
    *pool = (void *)0x2000;
    return SUCCESS;
}
API CUresult cuMemPoolSetAttribute(void *, int attribute, void *value) {
    LOCK;
    if (attribute != RELEASE_THRESHOLD) fail("the attribute %d of a memory pool is unknown", attribute);
    release_threshold = *(u64 *)value;
    return SUCCESS;
}
API CUresult cuMemPoolGetAttribute(void *, int attribute, void *value) {
    LOCK;
    switch (attribute) {
        case RELEASE_THRESHOLD: *(u64 *)value = release_threshold; break;
        case POOL_RESERVED: *(u64 *)value = held().bytes + held().pooled; break;
        case POOL_USED: *(u64 *)value = held().bytes; break;
        default: fail("the attribute %d of a memory pool is unknown", attribute);
    }
    return SUCCESS;
}

API CUresult cuMemsetD8Async(u64 address, unsigned char value, size_t bytes, void *on) {
    NEED_CONTEXT;
    LOCK;
    count("memsets");
    count("bytes_set", bytes);
    use(address, bytes, stream_of(on), true, "memset");
    memset((void *)address, value, bytes);
    return SUCCESS;
}
API CUresult cuMemcpyHtoDAsync_v2(u64 to, const void *from, size_t bytes, void *on) {
    NEED_CONTEXT;
    LOCK;
    count("copies_to_device");
    count("bytes_to_device", bytes);
    use(to, bytes, stream_of(on), true, "copy to the device");
    memcpy((void *)to, from, bytes);
    return SUCCESS;
}
// A copy to memory of the host that is not page-locked returns when it is done, so it waits.
API CUresult cuMemcpyDtoHAsync_v2(void *to, u64 from, size_t bytes, void *on) {
    NEED_CONTEXT;
    LOCK;
    Stream *stream = stream_of(on);
    count("bytes_to_host", bytes);
    use(from, bytes, stream, false, "copy to the host");
    memcpy(to, (void *)from, bytes);
    wait_for(stream, "copies_to_host");
    return SUCCESS;
}
API CUresult cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, void *on) {
    NEED_CONTEXT;
    LOCK;
    Stream *stream = stream_of(on);
    count("copies_on_device");
    count("bytes_on_device", bytes);
    use(from, bytes, stream, false, "copy on the device");
    use(to, bytes, stream, true, "copy on the device");
    memmove((void *)to, (void *)from, bytes);
    return SUCCESS;
}

API CUresult cuGetErrorName(int status, const char **name) {
    *name = "CUDA_ERROR_UNKNOWN";
    for (const auto &error : ERRORS)
        if (error.status == status) *name = error.name;
    return SUCCESS;
}
API CUresult cuGetErrorString(int status, const char **text) {
    *text = "unknown error";
    for (const auto &error : ERRORS)
        if (error.status == status) *text = error.text;
    return SUCCESS;
}
