// Settings, failures, and the statistics that are written when the process exits.
#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "simulation.h"

namespace {
const char *text(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}
u64 number(const char *name, u64 otherwise) {
    const char *value = getenv(name);
    return value ? strtoull(value, nullptr, 0) : otherwise;
}
// "8.0" and "80" are both capability 8.0.
u64 capability() {
    std::string value = text("SIMGPU_CAPABILITY", "9.0");
    value.erase(std::remove(value.begin(), value.end(), '.'), value.end());
    return std::stoull(value);
}
// The most dynamic shared memory that a block may ask for, from the CUDA C++ Programming Guide's table of capabilities.
unsigned most_shared(u64 capability) {
    switch (capability) {
        case 70: return 96 << 10;
        case 75: return 64 << 10;
        case 80:
        case 87: return 163 << 10;
        case 90:
        case 100:
        case 103: return 227 << 10;
        default: return 99 << 10;
    }
}
Settings from_environment() {
    const u64 of = capability();
    return {of, number("SIMGPU_MEMORY", 80ull << 30), number("SIMGPU_DEVICES", 1),
            (unsigned)number("SIMGPU_SHARED", most_shared(of)), (bool)number("SIMGPU_LOG", 0),
            (bool)number("SIMGPU_TRACE", 0), text("SIMGPU_ORDER", "forward"), text("SIMGPU_STATS", ""),
            text("SIMGPU_MARK", "adamw"), text("SIMGPU_REGISTERS", "")};
}

typedef std::map<std::string, u64> Numbers;
Numbers counts, kernels, races;
// What happened from one launch of the kernel SIMGPU_MARK to the next: a step of the optimiser.
std::vector<Numbers> steps;

Numbers with_memory(Numbers numbers) {
    const Held memory = held();
    numbers["peak_bytes"] = memory.peak;
    numbers["live_bytes"] = memory.bytes;
    numbers["live_allocations"] = memory.allocations;
    return numbers;
}
void mark_step() {
    static Numbers before;
    static bool first = true;
    Numbers step;
    for (const auto &[what, number] : counts) step[what] = number - before[what];
    before = counts;
    // What came before the first mark is not a step.
    if (!first) steps.push_back(with_memory(step));
    first = false;
}

void write(FILE *file, const Numbers &numbers) {
    const char *separator = "{";
    for (const auto &[name, number] : numbers) {
        fprintf(file, "%s\"%s\": %llu", separator, name.c_str(), number);
        separator = ", ";
    }
    fprintf(file, "%s}", numbers.empty() ? "{" : "");
}
void write_statistics() {
    FILE *file = fopen(settings.statistics.c_str(), "w");
    if (!file) fail("SIMGPU_STATS: cannot write %s", settings.statistics.c_str());
    fprintf(file, "{\"counts\": ");
    write(file, with_memory(counts));
    fprintf(file, ",\n\"kernels\": ");
    write(file, kernels);
    fprintf(file, ",\n\"races\": ");
    write(file, races);
    const char *separator = ",\n\"steps\": [\n";
    for (const Numbers &step : steps) {
        fprintf(file, "%s", separator);
        write(file, step);
        separator = ",\n";
    }
    fprintf(file, "%s]}\n", steps.empty() ? separator : "\n");
    fclose(file);
}

void at_exit() {
    LOCK;
    if (!settings.statistics.empty()) write_statistics();
    if (races.empty()) return;
    fprintf(stderr, "simulated GPU: races between streams:\n");
    for (const auto &[what, times] : races) fprintf(stderr, "%10llu times %s\n", times, what.c_str());
    fflush(nullptr);
    _exit(99);
}
}  // namespace

std::recursive_mutex lock;
const Settings settings = from_environment();

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "simulated GPU: ");
    vfprintf(stderr, format, arguments);
    if (sim::current)
        fprintf(stderr, " [kernel %s, block %u %u %u, thread %u]", running, sim::block.x, sim::block.y, sim::block.z,
                sim::current->number);
    fprintf(stderr, "\n");
    // A fiber's stack has no frames of the host to show.
    if (!sim::current && settings.trace) {
        void *frames[64];
        backtrace_symbols_fd(frames, backtrace(frames, 64), 2);
    }
    _exit(99);
}

void count(const char *what, u64 by) { counts[what] += by; }
void count_kernel(const std::string &name) {
    if (name == settings.mark) mark_step();
    counts["launches"]++;
    kernels[name]++;
}
bool count_race(const std::string &what) { return races[what]++ == 0; }

void report_at_exit() { atexit(at_exit); }
