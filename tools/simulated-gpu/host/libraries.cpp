// cuBLAS and cuRAND: the calls that candle makes.
#include <stdio.h>

#include <random>

#include "numbers.h"
#include "simulation.h"

namespace {
enum { REAL_32 = 0, REAL_BF16 = 14 };
enum { COMPUTE_32 = 68, COMPUTE_32_FAST_BF16 = 75, COMPUTE_32_FAST_TF32 = 77 };
const int ODD_LENGTH = 105;

struct Handle {
    void *stream = nullptr;
};
struct Generator {
    std::mt19937_64 engine;
    void *stream = nullptr;
};

// A matrix of a batch in column-major order, transposed or not.
struct Matrix {
    const void *values;
    int type, rows, columns, leading;
    long long stride;
    bool transposed;

    u64 size() const { return type == REAL_32 ? 4 : 2; }
    // Bytes from the first value to behind the last one.
    u64 extent(int batch) const {
        if (!rows || !columns) return 0;
        return ((u64)(batch - 1) * stride + (u64)(columns - 1) * leading + rows) * size();
    }
    u64 place(int batch, int i, int j) const {
        return batch * stride + (transposed ? (u64)i * leading + j : (u64)j * leading + i);
    }
    float get(u64 at) const {
        return type == REAL_32 ? ((const float *)values)[at] : (float)((const __nv_bfloat16 *)values)[at];
    }
};
// c = scale a b + add c for one matrix of the batch, with sums in f32.
void multiply(const Matrix &a, const Matrix &b, const Matrix &c, int batch, int k, float scale, float add) {
    const int m = c.rows, n = c.columns;
    std::vector<float> left((u64)m * k), right(k), sums(m);
    for (int j = 0; j < k; j++)
        for (int i = 0; i < m; i++) left[(u64)j * m + i] = a.get(a.place(batch, i, j));
    for (int column = 0; column < n; column++) {
        for (int j = 0; j < k; j++) right[j] = b.get(b.place(batch, j, column));
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int j = 0; j < k; j++)
            for (int i = 0; i < m; i++) sums[i] += left[(u64)j * m + i] * right[j];
        for (int i = 0; i < m; i++) {
            const u64 at = c.place(batch, i, column);
            const float value = scale * sums[i] + (add != 0.0f ? add * c.get(at) : 0.0f);
            if (c.type == REAL_32) ((float *)c.values)[at] = value;
            else ((__nv_bfloat16 *)c.values)[at] = value;
        }
    }
}
}  // namespace

API int cublasCreate_v2(void **handle) {
    *handle = new Handle;
    return 0;
}
API int cublasDestroy_v2(void *handle) {
    delete (Handle *)handle;
    return 0;
}
API int cublasSetStream_v2(void *handle, void *stream) {
    ((Handle *)handle)->stream = stream;
    return 0;
}
API int cublasGemmStridedBatchedEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a,
                                   int type_a, int lda, long long stride_a, const void *b, int type_b, int ldb,
                                   long long stride_b, const void *beta, void *c, int type_c, int ldc, long long stride_c,
                                   int batch, int compute, int) {
    NEED_CONTEXT;
    LOCK;
    count_kernel("gemm");
    if (settings.log)
        fprintf(stderr, "gemm %d%d m %d n %d k %d lda %d ldb %d ldc %d batch %d type %d compute %d\n", ta, tb, m, n, k, lda,
                ldb, ldc, batch, type_a, compute);
    if ((type_a != REAL_32 && type_a != REAL_BF16) || type_a != type_b || type_b != type_c)
        fail("a gemm has the types %d, %d, %d", type_a, type_b, type_c);
    if (compute != COMPUTE_32 && compute != COMPUTE_32_FAST_BF16 && compute != COMPUTE_32_FAST_TF32)
        fail("a gemm has the compute type %d", compute);
    const Matrix left{a, type_a, ta ? k : m, ta ? m : k, lda, stride_a, ta != 0};
    const Matrix right{b, type_b, tb ? n : k, tb ? k : n, ldb, stride_b, tb != 0};
    const Matrix out{c, type_c, m, n, ldc, stride_c, false};
    const auto fits = [](const Matrix &x) { return x.leading >= std::max(1, x.rows); };
    if (m < 0 || n < 0 || k < 0 || batch < 0 || !fits(left) || !fits(right) || !fits(out))
        fail("a gemm is refused: m %d n %d k %d lda %d ldb %d ldc %d batch %d", m, n, k, lda, ldb, ldc, batch);
    if (!m || !n || !batch) return 0;
    Stream *stream = stream_of(((Handle *)handle)->stream);
    use((u64)a, left.extent(batch), stream, false, "gemm");
    use((u64)b, right.extent(batch), stream, false, "gemm");
    use((u64)c, out.extent(batch), stream, true, "gemm");
    const float scale = *(const float *)alpha, add = *(const float *)beta;
    for (int at = 0; at < batch; at++) multiply(left, right, out, at, k, scale, add);
    return 0;
}

API int curandCreateGenerator(void **made, int) {
    *made = new Generator;
    return 0;
}
API int curandDestroyGenerator(void *generator) {
    delete (Generator *)generator;
    return 0;
}
API int curandSetStream(void *generator, void *stream) {
    ((Generator *)generator)->stream = stream;
    return 0;
}
API int curandSetPseudoRandomGeneratorSeed(void *generator, u64 seed) {
    ((Generator *)generator)->engine.seed(seed);
    return 0;
}
// The values are not those of cuRAND: candle draws nothing on a GPU that has to repeat what the CPU draws.
template <class Draw>
static void generate(void *handle, float *to, size_t count, Draw draw) {
    LOCK;
    Generator *generator = (Generator *)handle;
    count_kernel("curand");
    use((u64)to, count * sizeof(float), stream_of(generator->stream), true, "curand");
    for (size_t n = 0; n < count; n++) to[n] = draw(generator->engine);
}
API int curandGenerateUniform(void *handle, float *to, size_t count) {
    generate(handle, to, count, [](auto &engine) { return 1.0f - std::generate_canonical<float, 24>(engine); });
    return 0;
}
API int curandGenerateNormal(void *handle, float *to, size_t count, float mean, float deviation) {
    if (count % 2) return ODD_LENGTH;
    std::normal_distribution<float> normal(mean, deviation);
    generate(handle, to, count, [&](auto &engine) { return normal(engine); });
    return 0;
}
