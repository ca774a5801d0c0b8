// Attention (formulas: models/src/ops/sublayer/attention.rs): a block computes one head of one row of up to 192 keys and
// holds all keys and values of that head in shared memory. Q, K and V are side by side in `qkv` [rows, length, 3 heads
// size], without their biases, which follow one another in `bias` [3 heads size]. With learned keys, neither tensor has a
// part for K.
#include "common.cuh"

const int LONGEST = 192, PER_LANE = LONGEST / 32, WARPS = 8;
// Positions that a warp computes together: what it reads of keys and values serves all of them.
const int TILE = 4;

// Loops over a tile are unrolled, so that its sums stay in registers.
#define UNROLL _Pragma("unroll")

// Returns the next multiple of four, where values can be read four at a time.
__device__ inline int round_up(int n) { return (n + 3) / 4 * 4; }

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
// length, keys] and, unless `logits` is null, S in `logits`. Shared memory: 2 keys (size + 1), rounded up, and WARPS TILE
// max(size, keys) floats.
template <class T>
__device__ void attention_forward(const T *qkv, const float *bias, const float *padding, T *f, T *maps, T *logits,
                                  Before<T> before, Learned learned, int heads, int length, int size, float scale,
                                  Mask mask) {
    DYNAMIC_SHARED(memory);
    const Place at = place(heads, length, before.length, size, learned);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, stride = size + 1;
    float *k = memory, *v = k + at.keys * stride;
    // A tile's queries [size, TILE] and, once they are used, its dropped P [keys, TILE].
    float *tile = memory + round_up(2 * at.keys * stride) + warp * TILE * max(size, at.keys);
    const Four<float> *of_tile = (const Four<float> *)tile;
    fetch_keys(at, qkv, bias, before, learned, k);
    fetch_all(at, at.parts - 1, qkv, bias, before, v);
    __syncthreads();
    for (int first = warp * TILE; first < length; first += WARPS * TILE) {
        const int count = min(TILE, length - first);
        for (int j = lane; j < size; j += 32)
            UNROLL
            for (int i = 0; i < TILE; i++)
                tile[j * TILE + i] =
                    i < count ? (get(qkv[at.qkv(0, first + i) + j]) + bias[at.head * size + j]) * scale : 0.0f;
        __syncwarp();
        float x[TILE][PER_LANE];
        UNROLL
        for (int n = 0; n < PER_LANE; n++) {
            const int s = n * 32 + lane;
            float dots[TILE] = {};
            if (s < at.keys)
                for (int j = 0; j < size; j++) {
                    const float key = k[s * stride + j];
                    const Four<float> q = of_tile[j];
                    UNROLL
                    for (int i = 0; i < TILE; i++) dots[i] += q.of[i] * key;
                }
            UNROLL
            for (int i = 0; i < TILE; i++) {
                x[i][n] = -INFINITY;
                if (s >= at.keys || i >= count) continue;
                x[i][n] = dots[i] + learned.add(at.head, first + i, s);
                if (logits) put(logits + at.map(first + i) + s, x[i][n]);
                x[i][n] += padding ? padding[at.row * at.keys + s] : 0.0f;
            }
        }
        __syncwarp();
        UNROLL
        for (int i = 0; i < TILE; i++) {
            float top = -INFINITY, sum = 0.0f;
            UNROLL
            for (int n = 0; n < PER_LANE; n++) top = fmaxf(top, x[i][n]);
            top = warp_max(top);
            UNROLL
            for (int n = 0; n < PER_LANE; n++) {
                x[i][n] = i < count && n * 32 + lane < at.keys ? expf(x[i][n] - top) : 0.0f;
                sum += x[i][n];
            }
            sum = 1.0f / warp_sum(sum);
            UNROLL
            for (int n = 0; n < PER_LANE; n++) {
                const int s = n * 32 + lane;
                if (s >= at.keys) continue;
                if (i < count) put(maps + at.map(first + i) + s, x[i][n] * sum);
                tile[s * TILE + i] = i < count ? drop(mask, at.map(first + i) + s, x[i][n] * sum) : 0.0f;
            }
        }
        __syncwarp();
        for (int j = lane; j < size; j += 32) {
            float mixed[TILE] = {};
            for (int s = 0; s < at.keys; s++) {
                const float value = v[s * stride + j];
                const Four<float> p = of_tile[s];
                UNROLL
                for (int i = 0; i < TILE; i++) mixed[i] += p.of[i] * value;
            }
            UNROLL
            for (int i = 0; i < TILE; i++)
                if (i < count) put(f + at.context(first + i) + j, mixed[i]);
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
// row's part of dK in `of_key` [rows, length, heads size]. Shared memory: 2 keys (size + 1), rounded up, and WARPS TILE
// size floats, then 2 length keys values for D and dS, keys rounded up.
template <class T>
__device__ void attention_backward(const T *qkv, const float *bias, T *maps, const T *df, T *grads, const T *of_logits,
                                   float *of_key, Before<T> before, T *of_before, Learned learned, int heads,
                                   int length, int size, float scale, Mask mask) {
    DYNAMIC_SHARED(memory);
    const Place at = place(heads, length, before.length, size, learned);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, stride = size + 1, line = round_up(at.keys);
    float *one = memory, *other = one + at.keys * stride, *tiles = memory + round_up(2 * at.keys * stride);
    // A tile of df, [size, TILE].
    float *g = tiles + warp * TILE * size;
    T *dropped = (T *)(tiles + WARPS * TILE * size), *ds = dropped + length * line;
    fetch_keys(at, qkv, bias, before, learned, one);
    fetch_all(at, at.parts - 1, qkv, bias, before, other);
    __syncthreads();
    for (int first = warp * TILE; first < length; first += WARPS * TILE) {
        const int count = min(TILE, length - first);
        for (int j = lane; j < size; j += 32)
            UNROLL
            for (int i = 0; i < TILE; i++)
                g[j * TILE + i] = i < count ? get(df[at.context(first + i) + j]) : 0.0f;
        __syncwarp();
        float p[TILE][PER_LANE], dp[TILE][PER_LANE], sums[TILE] = {};
        UNROLL
        for (int n = 0; n < PER_LANE; n++) {
            const int s = n * 32 + lane;
            float dots[TILE] = {};
            if (s < at.keys)
                for (int j = 0; j < size; j++) {
                    const float value = other[s * stride + j];
                    const Four<float> of = ((const Four<float> *)g)[j];
                    UNROLL
                    for (int i = 0; i < TILE; i++) dots[i] += of.of[i] * value;
                }
            UNROLL
            for (int i = 0; i < TILE; i++) {
                p[i][n] = dp[i][n] = 0.0f;
                if (s >= at.keys || i >= count) continue;
                p[i][n] = get(maps[at.map(first + i) + s]);
                // One draw serves both: drop(x) = x drop(1).
                const float kept = drop(mask, at.map(first + i) + s, 1.0f);
                dp[i][n] = dots[i] * kept;
                put(dropped + (first + i) * line + s, p[i][n] * kept);
                sums[i] += p[i][n] * dp[i][n];
            }
        }
        UNROLL
        for (int i = 0; i < TILE; i++) {
            const float sum = warp_sum(sums[i]);
            UNROLL
            for (int n = 0; n < PER_LANE; n++) {
                const int s = n * 32 + lane;
                if (s >= at.keys || i >= count) continue;
                const u64 of = at.map(first + i) + s;
                const float of_logit = p[i][n] * (dp[i][n] - sum) + (of_logits ? get(of_logits[of]) : 0.0f);
                put(ds + (first + i) * line + s, scale * of_logit);
                if (learned.key) put(maps + of, of_logit);
            }
        }
        __syncwarp();
        for (int j = lane; j < size; j += 32) {
            float dq[TILE] = {};
            for (int s = 0; s < at.keys; s++) {
                const float key = one[s * stride + j];
                UNROLL
                for (int i = 0; i < TILE; i++)
                    if (i < count) dq[i] += get(ds[(first + i) * line + s]) * key;
            }
            UNROLL
            for (int i = 0; i < TILE; i++)
                if (i < count) put(grads + at.qkv(0, first + i) + j, dq[i]);
        }
        __syncwarp();
    }
    __syncthreads();
    fetch(at, 0, qkv, bias, one);
    for (int i = threadIdx.x; i < length * size; i += blockDim.x)
        other[i / size * stride + i % size] = get(df[at.context(i / size) + i % size]);
    __syncthreads();
    for (int first = warp * TILE; first < at.keys; first += WARPS * TILE)
        for (int j = lane; j < size; j += 32) {
            float dk[TILE] = {}, dv[TILE] = {};
            for (int t = 0; t < length; t++) {
                const Four<T> of_k = *(const Four<T> *)(ds + t * line + first);
                const Four<T> of_v = *(const Four<T> *)(dropped + t * line + first);
                const float query = one[t * stride + j], of_f = other[t * stride + j];
                UNROLL
                for (int i = 0; i < TILE; i++) {
                    dk[i] += get(of_k.of[i]) * query;
                    dv[i] += get(of_v.of[i]) * of_f;
                }
            }
            UNROLL
            for (int i = 0; i < TILE; i++) {
                const int s = first + i;
                if (s >= at.keys) continue;
                if (s < before.length) {
                    put(of_before + before.index(at, 0, s) + j, dk[i]);
                    put(of_before + before.index(at, 1, s) + j, dv[i]);
                    continue;
                }
                const int own = s - before.length;
                if (learned.key) of_key[at.context(own) + j] = dk[i];
                else put(grads + at.qkv(1, own) + j, dk[i]);
                put(grads + at.qkv(at.parts - 1, own) + j, dv[i]);
            }
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
      Mask{key, threshold, keep}),
     __launch_bounds__(32 * WARPS, 2))

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
