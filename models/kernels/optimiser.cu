// Updates of all variables in one launch: AdamW with clipping (models/src/optim.rs) and gradient noise
// (models/src/losses/modulation.rs).
#include "common.cuh"

// A variable. Its gradient is split into chunks of CHUNK values, of which the first has the number `first`.
struct Variable {
    float *value, *grad, *m;
    union {
        float *v;
        // For the noise, the stream that the variable belongs to: 0 text, 1 vision.
        u64 stream;
    };
    u64 count, first;
    // For AdamW, 1 - rate · decay and rate / (1 - β₁ᵗ). For the noise, κ if the host knows it, and whether to add
    // noise.
    float keep, rate;
    // For the noise, the key of its generator.
    u64 key;
};

const int CHUNK = 1 << 14;

// Returns the index of the variable that a chunk belongs to.
__device__ inline int owner(const Variable *variables, int count, u64 chunk) {
    int low = 0, high = count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (variables[middle].first <= chunk) low = middle;
        else high = middle - 1;
    }
    return low;
}

// Sums x over a block of 256 threads in f64, in a fixed order; thread 0 gets the sum.
__device__ inline double wide_sum(double x) {
    __shared__ double parts[256];
    __syncthreads();
    parts[threadIdx.x] = x;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    return parts[0];
}

// Computes Σ g and Σ g² of each chunk, one block of 256 threads per chunk.
extern "C" __global__ void gradient_sums(const Variable *variables, int count, double2 *sums) {
    const Variable own = variables[owner(variables, count, blockIdx.x)];
    const u64 start = (blockIdx.x - own.first) * CHUNK;
    double sum = 0.0, squares = 0.0;
    for (u64 i = start + threadIdx.x; i < min(start + CHUNK, own.count); i += 256) {
        const double g = own.grad[i];
        sum += g;
        squares += g * g;
    }
    sum = wide_sum(sum);
    squares = wide_sum(squares);
    if (threadIdx.x == 0) sums[blockIdx.x] = make_double2(sum, squares);
}

// Writes the L2 norm of all gradients to out[0] and the factor that scales it down to `clip` (0: no limit) to out[1].
// One block of 256 threads.
extern "C" __global__ void clip_factor(const double2 *sums, u64 chunks, float clip, float *out) {
    double squares = 0.0;
    for (u64 i = threadIdx.x; i < chunks; i += 256) squares += sums[i].y;
    squares = wide_sum(squares);
    if (threadIdx.x == 0) {
        out[0] = (float)sqrt(squares);
        out[1] = clip > 0.0f ? fminf(clip / (out[0] + 1e-6f), 1.0f) : 1.0f;
    }
}

// Updates all variables, one block of 256 threads per chunk.
extern "C" __global__ void adamw(const Variable *variables, int count, const float *clip, float beta1, float beta2,
                                 float eps, float root) {
    const Variable own = variables[owner(variables, count, blockIdx.x)];
    const u64 start = (blockIdx.x - own.first) * CHUNK;
    const float scale = clip[1];
    for (u64 i = start + threadIdx.x; i < min(start + CHUNK, own.count); i += 256) {
        const float g = own.grad[i] * scale;
        const float m = beta1 * own.m[i] + (1.0f - beta1) * g, v = beta2 * own.v[i] + (1.0f - beta2) * g * g;
        own.m[i] = m;
        own.v[i] = v;
        own.value[i] = own.value[i] * own.keep - own.rate * m / (sqrtf(v) * root + eps);
    }
}

// Computes the deviation of the noise on each variable's gradient, the gradient's sample standard deviation + 1e-8,
// from the sums of its chunks. One block of 256 threads per variable.
extern "C" __global__ void deviations(const Variable *variables, const double2 *sums, float *out) {
    const Variable own = variables[blockIdx.x];
    double sum = 0.0, squares = 0.0;
    for (u64 i = threadIdx.x; i < (own.count + CHUNK - 1) / CHUNK; i += 256) {
        sum += sums[own.first + i].x;
        squares += sums[own.first + i].y;
    }
    sum = wide_sum(sum);
    squares = wide_sum(squares);
    const double n = (double)own.count, spread = (squares - sum * sum / n) / (n > 1.0 ? n - 1.0 : 1.0);
    if (threadIdx.x == 0) out[blockIdx.x] = (float)(sqrt(spread > 0.0 ? spread : 0.0) + 1e-8);
}

// Returns κ of a stream from the sums of both streams, text first: 1 - tanh(α ρ) for the stream with ρ > 1, else 1.
__device__ inline float damping(const float *sums, u64 stream, float alpha) {
    const double ratio = (double)sums[stream] / (double)sums[1 - stream];
    return ratio > 1.0 ? (float)(1.0 - tanh((double)alpha * ratio)) : 1.0f;
}

// Computes g = κ · g + deviation · ε if `rate` is not 0, else κ · g. κ follows from `sums` unless they are null. One
// block of 256 threads per chunk.
extern "C" __global__ void gradient_noise(const Variable *variables, int count, const float *spread, const float *sums,
                                          float alpha) {
    const int at = owner(variables, count, blockIdx.x);
    const Variable own = variables[at];
    const u64 start = (blockIdx.x - own.first) * CHUNK;
    const float keep = sums ? damping(sums, own.stream, alpha) : own.keep;
    if (own.rate == 0.0f) {
        for (u64 i = start + threadIdx.x; i < min(start + CHUNK, own.count); i += 256) own.grad[i] *= keep;
        return;
    }
    // A thread has the four values of a block of the generator.
    for (u64 block = start / 4 + threadIdx.x; block < (start + CHUNK) / 4; block += 256) {
        const u64 first = block / 16 * 64 + block % 16;
        if (first >= own.count) continue;
        const Four<float> noise = normals(own.key, block);
        for (int n = 0; n < 4; n++) {
            const u64 i = first + 16 * n;
            if (i < own.count) own.grad[i] = keep * own.grad[i] + spread[at] * noise.of[n];
        }
    }
}
