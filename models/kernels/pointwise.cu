// Operations on single values: GELU with its bias (models/src/ops/activation.rs), dropout (models/src/ops/mask.rs), and
// weights converted to the number type of the products.
#include "common.cuh"

#define EACH(i, count) for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += (u64)gridDim.x * blockDim.x)

// Returns i mod width. A remainder of 64 bits takes several times as long as one of 32.
__device__ inline u32 column(u64 i, u32 width) { return i >> 32 ? i % width : (u32)i % width; }

// Returns the value and slope of GELU in the form `kind`: 0 by erf, 1 by tanh, 2 by a sigmoid.
__device__ inline float2 gelu(int kind, float x) {
    if (kind == 0) {
        const float share = normcdff(x);
        return make_float2(x * share, share + x * 0.3989422804f * expf(-0.5f * x * x));
    }
    const float u = kind == 1 ? 1.5957691216f * (x + 0.044715f * x * x * x) : 1.702f * x;
    const float du = kind == 1 ? 1.5957691216f * (1.0f + 0.134145f * x * x) : 1.702f;
    const float share = 1.0f / (1.0f + expf(-u)), rest = 1.0f / (1.0f + expf(u));
    return make_float2(x * share, share + x * share * rest * du);
}

// Computes f = gelu(a + bias + extra); `extra` may be null.
template <class T>
__device__ void gelu_forward(const T *a, const float *bias, const T *extra, T *f, u64 count, int width, int kind) {
    EACH(i, count) put(f + i, gelu(kind, get(a[i]) + bias[column(i, width)] + (extra ? get(extra[i]) : 0.0f)).x);
}
#define GELU_FORWARD(T) (const T *a, const float *bias, const T *extra, T *f, u64 count, int width, int kind)
BOTH(gelu_forward, GELU_FORWARD, (a, bias, extra, f, count, width, kind))

// Computes da = g gelu'(a + bias + extra), which is the gradient of `extra` too, and f again.
template <class T>
__device__ void gelu_backward(const T *a, const float *bias, const T *extra, const T *g, T *da, T *f, u64 count, int width,
                              int kind) {
    EACH(i, count) {
        const float2 y = gelu(kind, get(a[i]) + bias[column(i, width)] + (extra ? get(extra[i]) : 0.0f));
        put(da + i, get(g[i]) * y.y);
        put(f + i, y.x);
    }
}
#define GELU_BACKWARD(T) \
    (const T *a, const float *bias, const T *extra, const T *g, T *da, T *f, u64 count, int width, int kind)
BOTH(gelu_backward, GELU_BACKWARD, (a, bias, extra, g, da, f, count, width, kind))

// Joins K and V with their biases and f, [3, rows, width], which another stream reads. `qkv` and `bias` are those of
// attention, and `count` is rows times width.
template <class T>
__device__ void reveal(const T *qkv, const float *bias, const T *f, T *y, u64 count, int width) {
    EACH(i, count) {
        const u64 row = i / width;
        const int j = i % width;
        for (int part = 1; part < 3; part++)
            put(y + (part - 1) * count + i, get(qkv[(row * 3 + part) * width + j]) + bias[part * width + j]);
        put(y + 2 * count + i, get(f[i]));
    }
}
#define REVEAL(T) (const T *qkv, const float *bias, const T *f, T *y, u64 count, int width)
BOTH(reveal, REVEAL, (qkv, bias, f, y, count, width))

// Adds the gradient g of what `reveal` joined to the parts of K and V of `grads`, which is laid out as `qkv`.
template <class T>
__device__ void reveal_backward(const T *g, T *grads, u64 count, int width) {
    EACH(i, count) {
        T *row = grads + i / width * 3 * width + i % width;
        for (int part = 1; part < 3; part++) put(row + part * width, get(row[part * width]) + get(g[(part - 1) * count + i]));
    }
}
#define REVEAL_BACKWARD(T) (const T *g, T *grads, u64 count, int width)
BOTH(reveal_backward, REVEAL_BACKWARD, (g, grads, count, width))

// Computes y = drop(x).
template <class T>
__device__ void dropout(const T *x, T *y, u64 count, Mask mask) {
    EACH(i, count) put(y + i, drop(mask, i, get(x[i])));
}
#define DROPOUT(T) (const T *x, T *y, u64 count, u64 key, u32 threshold, float scale)
BOTH(dropout, DROPOUT, (x, y, count, Mask{key, threshold, scale}))

// Joins up to three f32 tensors of `each` values, one after another.
template <class T>
__device__ void stack(const float *a, const float *b, const float *c, T *y, u64 each, u64 count) {
    EACH(i, count) put(y + i, i < each ? a[i] : i < 2 * each ? b[i - each] : c[i - 2 * each]);
}
#define STACK(T) (const float *a, const float *b, const float *c, T *y, u64 each, u64 count)
BOTH(stack, STACK, (a, b, c, y, each, count))

// Converts bf16 to f32, four values a thread.
extern "C" __global__ void widen(const bf16 *x, float *y, u64 count) {
    EACH(i, count / 4) {
        const Four<bf16> four = ((const Four<bf16> *)x)[i];
        Four<float> wide;
        for (int n = 0; n < 4; n++) wide.of[n] = get(four.of[n]);
        ((Four<float> *)y)[i] = wide;
    }
    EACH(i, count % 4) y[count / 4 * 4 + i] = get(x[count / 4 * 4 + i]);
}
