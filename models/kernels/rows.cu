// Softmax (models/src/ops/softmax.rs), cross-entropy (models/src/losses/cross_entropy.rs) and embeddings
// (models/src/ops/embedding.rs): operations on single rows.
#include "common.cuh"

// Computes y = softmax(x + bias), with one row of `bias` for each `share` rows of x. One warp per row.
template <class T>
__device__ void softmax_forward(const T *x, const float *bias, T *y, int rows, int width, int share) {
    const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    const T *in = x + (u64)row * width;
    const float *add = bias ? bias + (u64)(row / share) * width : nullptr;
    float top = -INFINITY, sum = 0.0f;
    for (int i = lane; i < width; i += 32) top = fmaxf(top, get(in[i]) + (add ? add[i] : 0.0f));
    top = warp_max(top);
    for (int i = lane; i < width; i += 32) sum += expf(get(in[i]) + (add ? add[i] : 0.0f) - top);
    sum = 1.0f / warp_sum(sum);
    for (int i = lane; i < width; i += 32)
        put(y + (u64)row * width + i, expf(get(in[i]) + (add ? add[i] : 0.0f) - top) * sum);
}
#define SOFTMAX_FORWARD(T) (const T *x, const float *bias, T *y, int rows, int width, int share)
BOTH(softmax_forward, SOFTMAX_FORWARD, (x, bias, y, rows, width, share))

// Computes dx = y (g - Σ g y), one warp per row.
template <class T>
__device__ void softmax_backward(const T *y, const T *g, T *dx, int rows, int width) {
    const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    const u64 at = (u64)row * width;
    float sum = 0.0f;
    for (int i = lane; i < width; i += 32) sum += get(g[at + i]) * get(y[at + i]);
    sum = warp_sum(sum);
    for (int i = lane; i < width; i += 32) put(dx + at + i, get(y[at + i]) * (get(g[at + i]) - sum));
}
#define SOFTMAX_BACKWARD(T) (const T *y, const T *g, T *dx, int rows, int width)
BOTH(softmax_backward, SOFTMAX_BACKWARD, (y, g, dx, rows, width))

// Computes loss[row] = -log softmax(x + bias)[target] and its gradient dx = softmax - onehot, one warp per row.
extern "C" __global__ void cross_entropy(const float *x, const float *bias, const u32 *targets, float *loss, float *dx,
                                         int rows, int width) {
    const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    const u64 at = (u64)row * width;
    const u32 target = targets[row];
    float top = -INFINITY, sum = 0.0f;
    for (int i = lane; i < width; i += 32) top = fmaxf(top, x[at + i] + (bias ? bias[i] : 0.0f));
    top = warp_max(top);
    for (int i = lane; i < width; i += 32) sum += expf(x[at + i] + (bias ? bias[i] : 0.0f) - top);
    sum = warp_sum(sum);
    for (int i = lane; i < width; i += 32) {
        const float logit = x[at + i] + (bias ? bias[i] : 0.0f) - top;
        dx[at + i] = expf(logit) / sum - (i == target ? 1.0f : 0.0f);
        if (i == target) loss[row] = logf(sum) - logit;
    }
    if (lane == 0 && target >= width) loss[row] = NAN;
}

// Computes y[i] = table[ids[i]], or NaN if the id is outside the table. One block per id.
template <class T>
__device__ void embedding_forward(const float *table, const u32 *ids, T *y, u32 entries, int width) {
    const u32 id = ids[blockIdx.x];
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        put(y + (u64)blockIdx.x * width + i, id < entries ? table[(u64)id * width + i] : NAN);
}
#define EMBEDDING_FORWARD(T) (const float *table, const u32 *ids, T *y, u32 entries, int width)
BOTH(embedding_forward, EMBEDDING_FORWARD, (table, ids, y, entries, width))

// Computes sums[id] = Σ g over the positions of the id, in their order. `places` holds the positions sorted by id, and
// the block of an id's first position computes its sum. `sums` must be zero before, and stays zero for the id
// `padding`.
template <class T>
__device__ void embedding_backward(const u32 *ids, const u32 *places, const T *g, float *sums, u32 count, u32 entries,
                                   u32 padding, int width) {
    const u32 first = blockIdx.x, id = ids[places[first]];
    if (id >= entries || id == padding || (first > 0 && ids[places[first - 1]] == id)) return;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0.0f;
        for (u32 n = first; n < count && ids[places[n]] == id; n++) sum += get(g[(u64)places[n] * width + i]);
        sums[(u64)id * width + i] = sum;
    }
}
#define EMBEDDING_BACKWARD(T) \
    (const u32 *ids, const u32 *places, const T *g, float *sums, u32 count, u32 entries, u32 padding, int width)
BOTH(embedding_backward, EMBEDDING_BACKWARD, (ids, places, g, sums, count, entries, padding, width))
