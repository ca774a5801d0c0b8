// Runs the blocks of a grid: a fiber for each thread, which hands over at barriers. The order in which fibers go on
// between two barriers is forward, reverse or random.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <random>

#include "simulation.h"

// Saves the registers of one fiber and goes on with another.
extern "C" void sim_switch(void **from, void *to);
asm(R"(
.text
.globl sim_switch
.hidden sim_switch
.type sim_switch, @function
sim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

namespace sim {
Fiber *current = nullptr;
uint3 block, block_size, grid_size;
char *dynamic_shared;
Barrier everyone;
}  // namespace sim

namespace {
using namespace sim;
const size_t STACK = 64 << 10, PAGE = 4096, SHARED = 256 << 10;
// Different masks that one warp of a block may use.
const unsigned MASKS = 16;

// The lanes of a warp that exist, those that have not ended, and those of each mask that was used.
struct Warp {
    unsigned lanes, live, masks;
    Lanes of_mask[MASKS];
};
Warp warps[32];
Fiber fibers[1024];
std::vector<char *> stacks;
void *scheduler;
const Kernel *launched;
void **arguments;
char *shared_end;
// Counts barriers that opened and threads that ended: without progress, all wait for ever.
u64 progress = 0;
// Threads of the block that have begun and not ended, in the order in which they go on, and the place of the one that runs.
std::vector<Fiber *> waiting;
size_t place = 0;

bool can_go_on(const Fiber &fiber) { return fiber.at->turn != fiber.turn; }
void open(Barrier &barrier) {
    if (barrier.arrived == 0 || barrier.arrived != barrier.expected) return;
    barrier.arrived = 0;
    barrier.turn++;
    progress++;
}

// Goes on with the next thread whose barrier has opened, or with the scheduler at the end of a round.
void hand_over() {
    Fiber *self = current;
    while (++place < waiting.size()) {
        if (!can_go_on(*waiting[place])) continue;
        current = waiting[place];
        sim_switch(&self->stack_pointer, current->stack_pointer);
        return;
    }
    sim_switch(&self->stack_pointer, scheduler);
}

// A thread that has ended is no longer expected where all are; a warp's mask must not name it again.
void entry() {
    launched->call(launched->function, arguments);
    current->done = true;
    progress++;
    warps[current->number / 32].live &= ~(1u << current->number % 32);
    everyone.expected--;
    open(everyone);
    hand_over();
    abort();
}
void resume(Fiber &fiber) {
    current = &fiber;
    sim_switch(&scheduler, fiber.stack_pointer);
    current = nullptr;
}

// A stack has a page below it that cannot be touched.
char *take_stack() {
    if (stacks.empty()) {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        char *base = (char *)mmap(nullptr, PAGE + STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (base == MAP_FAILED) fail("no memory for the stack of a thread");
        mprotect(base, PAGE, PROT_NONE);
        stacks.push_back(base + PAGE);
    }
    char *stack = stacks.back();
    stacks.pop_back();
    return stack;
}
// The stack looks as if the fiber had called `sim_switch` from the first line of `entry`. Stacks begin at different
// places in their pages, so that they do not all compete for the same lines of the cache.
void start(Fiber &fiber, unsigned n) {
    const uint3 thread = {n % block_size.x, n / block_size.x % block_size.y, n / block_size.x / block_size.y};
    fiber = {nullptr, take_stack(), thread, n, 0, nullptr, false};
    void **top = (void **)(fiber.stack + STACK - n % 32 * 128) - 2;
    *top = (void *)entry;
    fiber.stack_pointer = top - 6;
    resume(fiber);
}

// Takes back the stack of a thread that has ended.
bool ended(Fiber *fiber) {
    if (fiber->done) stacks.push_back(fiber->stack);
    return fiber->done;
}

void run_block(unsigned threads, const std::vector<unsigned> &order) {
    // Whatever a block does not write itself must not look right.
    std::fill(launched->shared_from, launched->shared_to, (char)0xFF);
    std::fill(dynamic_shared, shared_end, (char)0xFF);
    everyone = {threads, 0, 0};
    for (unsigned n = 0; n < threads; n += 32) {
        const unsigned lanes = threads - n < 32 ? (1u << (threads - n)) - 1 : ~0u;
        Warp &warp = warps[n / 32];
        warp.lanes = warp.live = lanes;
        warp.masks = 0;
    }
    waiting.clear();
    for (const unsigned n : order) {
        place = waiting.size();
        start(fibers[n], n);
        if (!ended(&fibers[n])) waiting.push_back(&fibers[n]);
    }
    while (!waiting.empty()) {
        const u64 before = progress;
        for (place = 0; place < waiting.size(); place++)
            if (can_go_on(*waiting[place])) resume(*waiting[place]);
        waiting.erase(std::remove_if(waiting.begin(), waiting.end(), ended), waiting.end());
        if (progress == before && !waiting.empty()) {
            current = waiting[0];
            fail("%zu of %u threads wait for others that never come", waiting.size(), threads);
        }
    }
}
}  // namespace

namespace sim {
void wait(Barrier &barrier) {
    current->at = &barrier;
    current->turn = barrier.turn;
    barrier.arrived++;
    open(barrier);
    while (barrier.turn == current->turn) hand_over();
}

Lanes &lanes_of(unsigned mask) {
    Warp &warp = warps[current->number / 32];
    const unsigned named = mask & warp.lanes;
    if (!(named >> current->number % 32 & 1)) fail("the mask %#x does not name its own lane", mask);
    if (named & ~warp.live) fail("the mask %#x names lanes that have ended; %#x are there", mask, warp.live);
    for (unsigned n = 0; n < warp.masks; n++)
        if (warp.of_mask[n].mask == named) return warp.of_mask[n];
    if (warp.masks == MASKS) fail("a warp uses more than %u masks", MASKS);
    Lanes &made = warp.of_mask[warp.masks++];
    made.barrier = {(unsigned)__builtin_popcount(named), 0, 0};
    made.mask = named;
    return made;
}
unsigned live_lanes() { return warps[current->number / 32].live; }
}  // namespace sim

// Dynamic shared memory ends at a page that cannot be touched.
void prepare_fibers() {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *base = (char *)mmap(nullptr, SHARED + PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED) fail("no memory for shared memory");
    shared_end = base + SHARED;
    mprotect(shared_end, PAGE, PROT_NONE);
}

bool behind_shared(u64 address) { return address >= (u64)shared_end && address < (u64)shared_end + PAGE; }

void run_grid(const Kernel &what, void **values, uint3 grid, uint3 threads, unsigned shared) {
    static std::minstd_rand random(1);
    const bool reverse = settings.order == "reverse";
    launched = &what;
    arguments = values;
    grid_size = grid;
    block_size = threads;
    dynamic_shared = shared_end - (shared + 15) / 16 * 16;
    const unsigned count = threads.x * threads.y * threads.z;
    std::vector<unsigned> order(count);
    for (unsigned n = 0; n < count; n++) order[n] = reverse ? count - 1 - n : n;
    const u64 blocks = (u64)grid.x * grid.y * grid.z;
    for (u64 n = 0; n < blocks; n++) {
        const u64 at = reverse ? blocks - 1 - n : n;
        block = {(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y), (unsigned)(at / grid.x / grid.y)};
        if (settings.order == "random") std::shuffle(order.begin(), order.end(), random);
        run_block(count, order);
    }
}
