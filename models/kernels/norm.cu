// Layer normalisation (models/src/ops/layer_norm.rs), what surrounds it in an encoder layer (models/src/ops/sublayer),
// and sums over rows.
#include "common.cuh"

// Returns the mean and 1 / deviation of a row.
template <class T>
__device__ float2 moments(const T *row, int width, float eps) {
    float sum = 0.0f, squares = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) sum += get(row[i]);
    const float mean = block_sum(sum) / width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        const float x = get(row[i]) - mean;
        squares += x * x;
    }
    return make_float2(mean, rsqrtf(block_sum(squares) / width + eps));
}

template <class T>
__device__ void normalise(const T *row, const float *weight, const float *bias, T *y, int width, float eps) {
    const float2 m = moments(row, width, eps);
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        put(y + i, (get(row[i]) - m.x) * m.y * weight[i] + bias[i]);
}

// Computes y = norm(x), one block per row.
template <class T>
__device__ void norm_forward(const T *x, const float *weight, const float *bias, T *y, int width, float eps) {
    const u64 at = (u64)blockIdx.x * width;
    normalise(x + at, weight, bias, y + at, width, eps);
}
#define NORM_FORWARD(T) (const T *x, const float *weight, const float *bias, T *y, int width, float eps)
BOTH(norm_forward, NORM_FORWARD, (x, weight, bias, y, width, eps))

// Ends half a layer: r = x + drop(out + b) and, unless `y` is null, y = norm(r). One block per row.
template <class T>
__device__ void close_forward(const T *x, const T *out, const float *b, T *r, const float *weight, const float *bias,
                              T *y, int width, float eps, Mask mask) {
    const u64 at = (u64)blockIdx.x * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        const float sum = get(out[at + i]) + (b ? b[i] : 0.0f);
        put(r + at + i, get(x[at + i]) + drop(mask, at + i, sum));
    }
    // No barrier is needed: each thread reads only what it wrote itself.
    if (y) normalise(r + at, weight, bias, y + at, width, eps);
}
#define CLOSE_FORWARD(T)                                                                                       \
    (const T *x, const T *out, const float *b, T *r, const float *weight, const float *bias, T *y, int width, \
     float eps, u64 key, u32 threshold, float scale)
BOTH(close_forward, CLOSE_FORWARD, (x, out, b, r, weight, bias, y, width, eps, Mask{key, threshold, scale}))

// Computes dx = norm'(x, g) + add and, unless `dropped` is null, `dropped` = drop(dx). Writes mean and 1 / deviation of
// each row for `column_sums`. One block per row.
template <class T>
__device__ void norm_backward(const T *x, const T *g, const T *add, const float *weight, T *dx, T *dropped,
                              float2 *of_rows, int width, float eps, Mask mask) {
    const u64 at = (u64)blockIdx.x * width;
    const float2 m = moments(x + at, width, eps);
    float sum = 0.0f, product = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        const float gw = get(g[at + i]) * weight[i];
        sum += gw;
        product += gw * (get(x[at + i]) - m.x) * m.y;
    }
    sum = block_sum(sum) / width;
    product = block_sum(product) / width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        const float hat = (get(x[at + i]) - m.x) * m.y;
        const float d = m.y * (get(g[at + i]) * weight[i] - sum - hat * product) + (add ? get(add[at + i]) : 0.0f);
        put(dx + at + i, d);
        if (dropped) put(dropped + at + i, drop(mask, at + i, d));
    }
    if (threadIdx.x == 0) of_rows[blockIdx.x] = m;
}
#define NORM_BACKWARD(T)                                                                                     \
    (const T *x, const T *g, const T *add, const float *weight, T *dx, T *dropped, float2 *of_rows, int width, \
     float eps, u64 key, u32 threshold, float scale)
BOTH(norm_backward, NORM_BACKWARD, (x, g, add, weight, dx, dropped, of_rows, width, eps, Mask{key, threshold, scale}))

// Sums over rows: sums = Σ g and, unless `x` is null, products = Σ g (x - mean) / deviation. A block of 32 x 32 threads
// has 32 columns.
template <class T>
__device__ void column_sums(const T *g, const T *x, const float2 *of_rows, float *sums, float *products, int rows,
                            int width) {
    __shared__ float parts[2][32][33];
    const int column = blockIdx.x * 32 + threadIdx.x % 32, lane = threadIdx.x / 32;
    float sum = 0.0f, product = 0.0f;
    if (column < width)
        for (int row = lane; row < rows; row += 32) {
            const u64 at = (u64)row * width + column;
            sum += get(g[at]);
            if (x) product += get(g[at]) * (get(x[at]) - of_rows[row].x) * of_rows[row].y;
        }
    parts[0][lane][threadIdx.x % 32] = sum;
    parts[1][lane][threadIdx.x % 32] = product;
    __syncthreads();
    // Warp `lane` adds up column `lane` of the block.
    sum = warp_sum(parts[0][threadIdx.x % 32][lane]);
    product = warp_sum(parts[1][threadIdx.x % 32][lane]);
    const int own = blockIdx.x * 32 + lane;
    if (threadIdx.x % 32 == 0 && own < width) {
        sums[own] = sum;
        if (x) products[own] = product;
    }
}
#define COLUMN_SUMS(T) \
    (const T *g, const T *x, const float2 *of_rows, float *sums, float *products, int rows, int width)
BOTH(column_sums, COLUMN_SUMS, (g, x, of_rows, sums, products, rows, width))
