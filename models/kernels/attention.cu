// Attention (formulas: models/src/ops/sublayer/attention.rs): a block computes one head of one row of up to 192 keys and
// holds all keys and values of that head in shared memory. Q, K and V are side by side in `qkv` [rows, length, 3 heads
// size], without their biases, which follow one another in `bias` [3 heads size]. With learned keys, neither tensor has a
// part for K.
#include "common.cuh"

const int LONGEST = 192, PER_LANE = LONGEST / 32, WARPS = 8;

// The row and head that a block computes, and where their values begin in the tensors.
struct Place {
    int row, head, heads, length, keys, size, parts;
    __device__ int width() const { return heads * size; }
    // Returns the index of the first value of `part` (0 Q, 1 K, `parts` - 1 V) at a position.
    __device__ u64 qkv(int part, int position) const {
        return ((u64)row * length + position) * parts * width() + part * width() + head * size;
    }
    __device__ u64 context(int position) const { return ((u64)row * length + position) * width() + head * size; }
    __device__ u64 map(int position) const { return (((u64)row * heads + head) * length + position) * keys; }
};

// Keys and values of another stream, [2, rows, length, heads size], which go before those of the layer. Without them,
// `length` is 0.
template <class T>
struct Before {
    const T *values;
    int length;
    // Returns the index of the first value of a position's key (`part` 0) or value (`part` 1).
    __device__ u64 index(Place at, int part, int position) const {
        return (((u64)part * gridDim.y + at.row) * length + position) * at.width() + at.head * at.size;
    }
};

// Learned keys [heads, keys, size] (one for all positions if `keys` is 1) and a position bias [heads, longest,
// longest]. Without learned keys, `key` is null and K is a part of `qkv`.
struct Learned {
    const float *key;
    int keys;
    const float *bias;
    int longest;
    float scale;
    // Returns what the bias adds to a logit.
    __device__ float add(int head, int t, int s) const {
        return key ? scale * bias[((u64)head * longest + t) * longest + s] : 0.0f;
    }
};

__device__ inline Place place(int heads, int length, int before, int size, const Learned &learned) {
    return {(int)blockIdx.y, (int)blockIdx.x, heads, length, before + length, size, learned.key ? 2 : 3};
}

// Copies Q, K or V plus its bias to shared memory, `size + 1` values per position.
template <class T>
__device__ void fetch(Place at, int part, const T *qkv, const float *bias, float *to) {
    const float *own = bias + part * at.width() + at.head * at.size;
    for (int i = threadIdx.x; i < at.length * at.size; i += blockDim.x) {
        const int position = i / at.size, j = i % at.size;
        to[position * (at.size + 1) + j] = get(qkv[at.qkv(part, position) + j]) + own[j];
    }
}

// Copies what goes before K (`part` 1) or V to shared memory, and K or V after it.
template <class T>
__device__ void fetch_all(Place at, int part, const T *qkv, const float *bias, Before<T> before, float *to) {
    for (int i = threadIdx.x; i < before.length * at.size; i += blockDim.x) {
        const int position = i / at.size, j = i % at.size;
        to[position * (at.size + 1) + j] = get(before.values[before.index(at, part == 1 ? 0 : 1, position) + j]);
    }
    fetch(at, part, qkv, bias, to + before.length * (at.size + 1));
}

// Copies K to shared memory.
template <class T>
__device__ void fetch_keys(Place at, const T *qkv, const float *bias, Before<T> before, const Learned &learned, float *to) {
    if (!learned.key) return fetch_all(at, 1, qkv, bias, before, to);
    for (int i = threadIdx.x; i < at.length * at.size; i += blockDim.x) {
        const int position = i / at.size, j = i % at.size, key = learned.keys == 1 ? 0 : position;
        to[position * (at.size + 1) + j] = learned.key[((u64)at.head * learned.keys + key) * at.size + j];
    }
}

// Computes f = drop(P) V, P = softmax(S + padding), S = scale Q Kᵀ + a learned bias. Keeps P in `maps` [rows, heads,
// length, keys] and, unless `logits` is null, S in `logits`. Shared memory: 2 keys (size + 1) + WARPS (size + LONGEST)
// floats.
template <class T>
__device__ void attention_forward(const T *qkv, const float *bias, const float *padding, T *f, T *maps, T *logits,
                                  Before<T> before, Learned learned, int heads, int length, int size, float scale,
                                  Mask mask) {
    DYNAMIC_SHARED(memory);
    const Place at = place(heads, length, before.length, size, learned);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, stride = size + 1;
    float *k = memory, *v = k + at.keys * stride, *q = v + at.keys * stride + warp * (size + LONGEST), *p = q + size;
    fetch_keys(at, qkv, bias, before, learned, k);
    fetch_all(at, at.parts - 1, qkv, bias, before, v);
    __syncthreads();
    for (int t = warp; t < length; t += WARPS) {
        for (int j = lane; j < size; j += 32) q[j] = (get(qkv[at.qkv(0, t) + j]) + bias[at.head * size + j]) * scale;
        __syncwarp();
        float x[PER_LANE], top = -INFINITY, sum = 0.0f;
        for (int n = 0; n < PER_LANE; n++) {
            const int s = n * 32 + lane;
            x[n] = -INFINITY;
            if (s < at.keys) {
                float dot = 0.0f;
                for (int j = 0; j < size; j++) dot += q[j] * k[s * stride + j];
                x[n] = dot + learned.add(at.head, t, s);
                if (logits) put(logits + at.map(t) + s, x[n]);
                x[n] += padding ? padding[at.row * at.keys + s] : 0.0f;
            }
            top = fmaxf(top, x[n]);
        }
        top = warp_max(top);
        for (int n = 0; n < PER_LANE; n++) {
            x[n] = n * 32 + lane < at.keys ? expf(x[n] - top) : 0.0f;
            sum += x[n];
        }
        sum = 1.0f / warp_sum(sum);
        for (int n = 0; n < PER_LANE; n++) {
            const int s = n * 32 + lane;
            if (s >= at.keys) continue;
            put(maps + at.map(t) + s, x[n] * sum);
            p[s] = drop(mask, at.map(t) + s, x[n] * sum);
        }
        __syncwarp();
        for (int j = lane; j < size; j += 32) {
            float mixed = 0.0f;
            for (int s = 0; s < at.keys; s++) mixed += p[s] * v[s * stride + j];
            put(f + at.context(t) + j, mixed);
        }
        __syncwarp();
    }
}
#define ATTENTION_FORWARD(T)                                                                                    \
    (const T *qkv, const float *bias, const float *padding, T *f, T *maps, T *logits, const T *before, int befores, \
     const float *learned_key, int keys, const float *learned_bias, int longest, float bias_scale, int heads,       \
     int length, int size, float scale, u64 key, u32 threshold, float keep)
BOTH(attention_forward, ATTENTION_FORWARD,
     (qkv, bias, padding, f, maps, logits, {before, befores}, Learned{learned_key, keys, learned_bias, longest, bias_scale},
      heads, length, size, scale, Mask{key, threshold, keep}))

// Computes the gradients of Q, K and V from df, in `grads`, which is laid out as `qkv`, and those of what goes before K
// and V in `of_before`. With D = drop(P): dV = Dᵀ df, dP = drop(df Vᵀ), dS = P (dP - Σ P dP) + `of_logits` (the logits'
// own gradient, if there is one), dQ = scale dS K, dK = scale dSᵀ Q. With learned keys, it leaves dS in `maps` and each
// row's part of dK in `of_key` [rows, length, heads size]. Shared memory: 2 keys (size + 1) + WARPS size floats, then
// 2 length (keys + 1) values for D and dS.
template <class T>
__device__ void attention_backward(const T *qkv, const float *bias, T *maps, const T *df, T *grads, const T *of_logits,
                                   float *of_key, Before<T> before, T *of_before, Learned learned, int heads,
                                   int length, int size, float scale, Mask mask) {
    DYNAMIC_SHARED(memory);
    const Place at = place(heads, length, before.length, size, learned);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, stride = size + 1;
    float *one = memory, *other = one + at.keys * stride, *g = other + at.keys * stride + warp * size;
    T *dropped = (T *)(memory + 2 * at.keys * stride + WARPS * size), *ds = dropped + length * (at.keys + 1);
    fetch_keys(at, qkv, bias, before, learned, one);
    fetch_all(at, at.parts - 1, qkv, bias, before, other);
    __syncthreads();
    for (int t = warp; t < length; t += WARPS) {
        for (int j = lane; j < size; j += 32) g[j] = get(df[at.context(t) + j]);
        __syncwarp();
        float p[PER_LANE], dp[PER_LANE], sum = 0.0f;
        for (int n = 0; n < PER_LANE; n++) {
            const int s = n * 32 + lane;
            p[n] = dp[n] = 0.0f;
            if (s >= at.keys) continue;
            p[n] = get(maps[at.map(t) + s]);
            float dot = 0.0f;
            for (int j = 0; j < size; j++) dot += g[j] * other[s * stride + j];
            // One draw serves both: drop(x) = x drop(1).
            const float kept = drop(mask, at.map(t) + s, 1.0f);
            dp[n] = dot * kept;
            put(dropped + t * (at.keys + 1) + s, p[n] * kept);
            sum += p[n] * dp[n];
        }
        sum = warp_sum(sum);
        for (int n = 0; n < PER_LANE; n++) {
            const int s = n * 32 + lane;
            if (s >= at.keys) continue;
            const float of_logit = p[n] * (dp[n] - sum) + (of_logits ? get(of_logits[at.map(t) + s]) : 0.0f);
            put(ds + t * (at.keys + 1) + s, scale * of_logit);
            if (learned.key) put(maps + at.map(t) + s, of_logit);
        }
        __syncwarp();
        for (int j = lane; j < size; j += 32) {
            float dq = 0.0f;
            for (int s = 0; s < at.keys; s++) dq += get(ds[t * (at.keys + 1) + s]) * one[s * stride + j];
            put(grads + at.qkv(0, t) + j, dq);
        }
        __syncwarp();
    }
    __syncthreads();
    fetch(at, 0, qkv, bias, one);
    for (int i = threadIdx.x; i < length * size; i += blockDim.x)
        other[i / size * stride + i % size] = get(df[at.context(i / size) + i % size]);
    __syncthreads();
    for (int s = warp; s < at.keys; s += WARPS)
        for (int j = lane; j < size; j += 32) {
            float dk = 0.0f, dv = 0.0f;
            for (int t = 0; t < length; t++) {
                dk += get(ds[t * (at.keys + 1) + s]) * one[t * stride + j];
                dv += get(dropped[t * (at.keys + 1) + s]) * other[t * stride + j];
            }
            if (s < before.length) {
                put(of_before + before.index(at, 0, s) + j, dk);
                put(of_before + before.index(at, 1, s) + j, dv);
                continue;
            }
            const int own = s - before.length;
            if (learned.key) of_key[at.context(own) + j] = dk;
            else put(grads + at.qkv(1, own) + j, dk);
            put(grads + at.qkv(at.parts - 1, own) + j, dv);
        }
}
#define ATTENTION_BACKWARD(T)                                                                               \
    (const T *qkv, const float *bias, T *maps, const T *df, T *grads, const T *of_logits, float *of_key,    \
     const T *before, int befores, T *of_before, const float *learned_key, int keys,                        \
     const float *learned_bias, int longest, float bias_scale, int heads, int length, int size, float scale, \
     u64 key, u32 threshold, float keep)
BOTH(attention_backward, ATTENTION_BACKWARD,
     (qkv, bias, maps, df, grads, of_logits, of_key, {before, befores}, of_before,
      Learned{learned_key, keys, learned_bias, longest, bias_scale}, heads, length, size, scale,
      Mask{key, threshold, keep}))

// Sums what the rows of a batch add to the gradient of a learned key or bias, in their order: y[i][j][k] = scale Σ_r
// x[r stride + i plane + j line + k] for j < `down` and k < `across`, else 0. y has `count` values, [.., tall, wide].
template <class T>
__device__ void learned_gradient(const T *x, float *y, u64 count, int rows, u64 stride, int tall, int wide, int down,
                                 int across, u64 plane, u64 line, float scale) {
    for (u64 n = (u64)blockIdx.x * blockDim.x + threadIdx.x; n < count; n += (u64)gridDim.x * blockDim.x) {
        const int k = n % wide, j = n / wide % tall;
        const T *from = x + n / wide / tall * plane + j * line + k;
        float sum = 0.0f;
        if (j < down && k < across)
            for (int r = 0; r < rows; r++) sum += get(from[r * stride]);
        y[n] = scale * sum;
    }
}
#define LEARNED_GRADIENT(T)                                                                                       \
    (const T *x, float *y, u64 count, int rows, u64 stride, int tall, int wide, int down, int across, u64 plane, \
     u64 line, float scale)
BOTH(learned_gradient, LEARNED_GRADIENT,
     (x, y, count, rows, stride, tall, wide, down, across, plane, line, scale))
