// The kernels as a library for check.py.
#define MKGC_EMULATED
#include "all.cu"

#define KERNEL(name) static const bool added_##name = emulated::add(#name, name);
#define PAIR(name) KERNEL(name##_f32) KERNEL(name##_bf16)
PAIR(norm_forward)
PAIR(norm_backward)
PAIR(close_forward)
PAIR(column_sums)
PAIR(gelu_forward)
PAIR(gelu_backward)
PAIR(dropout)
PAIR(stack)
PAIR(attention_forward)
PAIR(attention_backward)
PAIR(learned_gradient)
PAIR(softmax_forward)
PAIR(softmax_backward)
PAIR(embedding_forward)
PAIR(embedding_backward)
KERNEL(cross_entropy)
KERNEL(gradient_sums)
KERNEL(clip_factor)
KERNEL(adamw)
KERNEL(deviations)
KERNEL(gradient_noise)

// 0, or 1 for a kernel that is not there.
extern "C" int launch(const char *name, unsigned x, unsigned y, unsigned threads, unsigned shared, void **arguments) {
    const auto kernel = emulated::kernels.find(name);
    if (kernel == emulated::kernels.end()) return 1;
    emulated::launch(kernel->second, {x, y}, threads, shared, arguments);
    return 0;
}
