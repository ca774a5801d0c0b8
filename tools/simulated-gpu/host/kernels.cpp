// Modules and launches: what a GPU would refuse about PTX, parameters, grids, blocks and shared memory.
#include <stdio.h>
#include <string.h>

#include <fstream>
#include <regex>

#include "simulation.h"

namespace {
using sim::Kernel;
using sim::Parameter;
const unsigned WITHOUT_ASKING = 48 << 10;
// Registers of a multiprocessor, all of which one block may have.
const u64 REGISTERS = 64 << 10;
const int MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;

// What the PTX says of a kernel: the sizes of its parameters, and its static shared memory.
struct Entry {
    std::vector<unsigned> sizes;
    unsigned shared = 0;
};
struct Module {
    std::map<std::string, Entry> entries;
};
struct Function {
    std::string name;
    const Kernel *kernel;
    unsigned static_shared, registers, allowed = WITHOUT_ASKING;
};

// The kernels that were compiled for the CPU.
std::map<std::string, Kernel> &compiled() {
    static std::map<std::string, Kernel> all;
    return all;
}
std::map<std::string, Function *> functions;

unsigned size_of_parameter(const std::string &parameter, const std::string &kernel) {
    static const std::regex structure("\\.b8 [^\\[]*\\[([0-9]+)\\]"), number("\\.[usfb](8|16|32|64)");
    std::smatch found;
    if (std::regex_search(parameter, found, structure)) return std::stoul(found[1]);
    if (std::regex_search(parameter, found, number)) return std::stoul(found[1]) / 8;
    fail("the PTX of %s has a parameter '%s'", kernel.c_str(), parameter.c_str());
}
unsigned shared_in(const std::string &body) {
    static const std::regex array("\\.shared [^;\\[]*\\.[usfb](8|16|32|64) [^;\\[]*\\[([0-9]+)\\]");
    unsigned total = 0;
    for (std::sregex_iterator at(body.begin(), body.end(), array), end; at != end; ++at)
        total += std::stoul((*at)[1]) / 8 * std::stoul((*at)[2]);
    return total;
}
void read_entries(const std::string &ptx, Module &module) {
    for (size_t at = 0; (at = ptx.find(".entry ", at)) != std::string::npos;) {
        const size_t open = ptx.find('(', at), close = ptx.find(')', at), end = ptx.find("\n}", close);
        std::string name = ptx.substr(at + 7, open - at - 7);
        name.erase(name.find_last_not_of(" \n\t") + 1);
        Entry &entry = module.entries[name];
        for (size_t p = open; (p = ptx.find(".param ", p)) < close; p += 7)
            entry.sizes.push_back(size_of_parameter(ptx.substr(p, ptx.find_first_of(",)", p) - p), name));
        entry.shared = shared_in(ptx.substr(close, end - close));
        at = close;
    }
}
// The registers that a thread of a kernel needs, as the assembler has told; 0 if it is not known.
unsigned registers_of(const std::string &kernel) {
    static const std::map<std::string, unsigned> told = [] {
        std::map<std::string, unsigned> numbers;
        std::ifstream file(settings.registers);
        std::string name;
        for (unsigned number; file >> name >> number;) numbers[name] = number;
        return numbers;
    }();
    const auto found = told.find(kernel);
    return found == told.end() ? 0 : found->second;
}
Function *make_function(const std::string &name, const Entry &entry) {
    const auto kernel = compiled().find(name);
    if (kernel == compiled().end()) fail("the kernel %s was not compiled for the CPU", name.c_str());
    std::vector<unsigned> sizes;
    for (const Parameter &parameter : kernel->second.parameters) sizes.push_back(parameter.size);
    if (sizes != entry.sizes) fail("the kernel %s has other parameters in its PTX", name.c_str());
    return new Function{name, &kernel->second, entry.shared, registers_of(name)};
}

// Calls `each` with the parameter and the address of every pointer that is not null.
template <class Each>
void pointers(const Kernel &kernel, void **values, Each each) {
    for (size_t n = 0; n < kernel.parameters.size(); n++) {
        u64 address = 0;
        if (kernel.parameters[n].pointer) memcpy(&address, values[n], sizeof address);
        if (address) each(kernel.parameters[n], address);
    }
}
const char *refusal(uint3 grid, uint3 block, unsigned shared, const Function &function) {
    const u64 threads = (u64)block.x * block.y * block.z;
    if (!grid.x || !grid.y || !grid.z || !threads) return "the grid is empty";
    if (grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535) return "the grid is too large";
    if (threads > 1024 || block.z > 64) return "the block is too large";
    // Registers are dealt out to whole warps, eight at a time to each thread.
    const u64 registers = (threads + 31) / 32 * 32 * ((function.registers + 7) / 8 * 8);
    if (registers > REGISTERS) return "its threads need more registers than there are";
    if (shared + function.static_shared > function.allowed) return "it has more shared memory than the function may have";
    return nullptr;
}
}  // namespace

const char *running = "";

bool sim::add(const char *name, Kernel kernel) {
    if (!compiled().emplace(name, std::move(kernel)).second) fail("there are two kernels %s", name);
    return true;
}

// PTX runs on its own capability and later ones; with a letter, as in sm_90a, on its own only.
API CUresult cuModuleLoadData(void **loaded, const void *image) {
    NEED_CONTEXT;
    LOCK;
    const std::string ptx = (const char *)image;
    std::smatch match;
    if (!std::regex_search(ptx, match, std::regex("\\.target sm_([0-9]+)([a-z]?)"))) return INVALID_PTX;
    const u64 target = std::stoull(match[1]);
    if (target > settings.capability || (match[2].length() && target != settings.capability)) return NO_BINARY_FOR_GPU;
    Module *module = new Module;
    read_entries(ptx, *module);
    *loaded = module;
    return SUCCESS;
}
API CUresult cuModuleUnload(void *) { return SUCCESS; }
API CUresult cuModuleGetFunction(void **got, void *module, const char *name) {
    LOCK;
    const auto &entries = ((Module *)module)->entries;
    const auto entry = entries.find(name);
    if (entry == entries.end()) {
        fprintf(stderr, "simulated GPU: a module has no kernel %s\n", name);
        return NOT_FOUND;
    }
    Function *&function = functions[name];
    if (!function) function = make_function(name, entry->second);
    *got = function;
    return SUCCESS;
}
API CUresult cuFuncSetAttribute(void *handle, int attribute, int value) {
    NEED_CONTEXT;
    LOCK;
    Function *function = (Function *)handle;
    if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES) fail("the function attribute %d is unknown", attribute);
    if (value < 0 || value + function->static_shared > settings.most_shared) return INVALID_VALUE;
    function->allowed = std::max(WITHOUT_ASKING, value + function->static_shared);
    return SUCCESS;
}
API CUresult cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                            unsigned block_y, unsigned block_z, unsigned shared, void *on, void **values, void **) {
    NEED_CONTEXT;
    LOCK;
    const Function &function = *(Function *)handle;
    const uint3 grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
    Stream *stream = stream_of(on);
    running = function.name.c_str();
    count_kernel(function.name);
    if (settings.log)
        fprintf(stderr, "%s grid %u %u %u block %u %u %u shared %u\n", running, grid.x, grid.y, grid.z, block.x, block.y,
                block.z, shared);
    if (const char *why = refusal(grid, block, shared, function))
        fail("the launch of %s is refused: %s (grid %u %u %u, block %u %u %u, shared %u)", running, why, grid.x, grid.y,
             grid.z, block.x, block.y, block.z, shared);
    pointers(*function.kernel, values,
             [&](const Parameter &parameter, u64 address) { use(address, 0, stream, !parameter.constant, running); });
    run_grid(*function.kernel, values, grid, block, shared);
    pointers(*function.kernel, values, [&](const Parameter &parameter, u64 address) {
        if (!parameter.constant) check_edges(address);
    });
    return SUCCESS;
}
