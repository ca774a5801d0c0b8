// The number types and functions of CUDA that the C++ library does not have: bf16 and half, vectors, intrinsics.
#pragma once
#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <cmath>
#include <limits>
#include <type_traits>

// Kernels are compiled as for compute capability 8.0, as the PTX is.
#define __CUDA_ARCH__ 800
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
using std::isinf;
using std::isnan;
using std::signbit;
namespace cuda {
namespace std {
using ::std::numeric_limits;
}
}  // namespace cuda

// Vectors are aligned as a GPU wants them, so that the CPU's aligned loads fault on a wrong address.
#define VECTOR2(T, name, alignment)                  \
    struct alignas(alignment) name {                 \
        T x, y;                                      \
    };                                               \
    inline name make_##name(T x, T y) { return {x, y}; }
#define VECTOR4(T, name)                                              \
    struct alignas(16) name {                                         \
        T x, y, z, w;                                                 \
    };                                                                \
    inline name make_##name(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTOR2(float, float2, 8)
VECTOR2(double, double2, 16)
VECTOR2(int, int2, 8)
VECTOR2(unsigned, uint2, 8)
VECTOR2(long long, longlong2, 16)
VECTOR4(float, float4)
VECTOR4(int, int4)
VECTOR4(unsigned, uint4)

// The bits of a number as another type.
template <class To, class From>
To bits_as(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}

enum class Format { BF16, HALF };
// A number of 16 bits; every operation is rounded to the nearest, as on a GPU.
template <Format FORMAT>
struct Short {
    uint16_t bits;
    Short() = default;
    template <class N, class = std::enable_if_t<std::is_arithmetic_v<N>>>
    Short(N number) {
        const float x = number;
        if (FORMAT == Format::HALF) {
            bits = _cvtss_sh(x, 0);
            return;
        }
        const uint32_t wide = bits_as<uint32_t>(x);
        bits = x != x ? 0x7FFF : (wide + 0x7FFF + (wide >> 16 & 1)) >> 16;
    }
    operator float() const {
        return FORMAT == Format::HALF ? _cvtsh_ss(bits) : bits_as<float>((uint32_t)bits << 16);
    }
#define OPERATOR(op)                                                                   \
    friend Short operator op(Short a, Short b) { return Short((float)a op(float) b); } \
    Short &operator op##=(Short b) { return *this = *this op b; }
    OPERATOR(+) OPERATOR(-) OPERATOR(*) OPERATOR(/)
#undef OPERATOR
#define COMPARE(op) friend bool operator op(Short a, Short b) { return (float)a op(float) b; }
    COMPARE(<) COMPARE(>) COMPARE(<=) COMPARE(>=) COMPARE(==) COMPARE(!=)
#undef COMPARE
    Short operator-() const { return Short(-(float)*this); }
};
typedef Short<Format::BF16> __nv_bfloat16;
typedef Short<Format::HALF> __half;
typedef __half __half_raw;
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return x; }
inline uint16_t __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(uint16_t bits) { return bits_as<__half>(bits); }
inline uint16_t __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(uint16_t bits) { return bits_as<__nv_bfloat16>(bits); }

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
#define PAIRWISE(name, op) \
    inline __nv_bfloat162 name(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x op b.x, a.y op b.y}; }
PAIRWISE(__hadd2, +)
PAIRWISE(__hsub2, -)
PAIRWISE(__hmul2, *)
PAIRWISE(__h2div, /)
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 x) { return {x.x, x.y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 x) { return {x.x, x.y}; }
inline float __low2float(__nv_bfloat162 x) { return x.x; }
inline float __high2float(__nv_bfloat162 x) { return x.y; }

#define OF_SHORT(name, f)           \
    template <Format F>             \
    Short<F> name(Short<F> x) {     \
        return Short<F>(f((float)x)); \
    }
OF_SHORT(hsqrt, sqrtf)
OF_SHORT(hcos, cosf)
OF_SHORT(hsin, sinf)
OF_SHORT(hlog, logf)
OF_SHORT(hexp, expf)
OF_SHORT(__habs, fabsf)
template <Format F> bool __hisnan(Short<F> x) { return isnan((float)x); }
template <Format F> Short<F> __hmax_nan(Short<F> a, Short<F> b) { return __hisnan(a) ? a : __hisnan(b) ? b : a > b ? a : b; }
template <Format F> Short<F> __hmin_nan(Short<F> a, Short<F> b) { return __hisnan(a) ? a : __hisnan(b) ? b : a < b ? a : b; }

// candle has functions of fp8, which have to compile; nothing computes with them.
struct __nv_fp8_e4m3 {
    uint8_t __x;
    __nv_fp8_e4m3() = default;
    explicit __nv_fp8_e4m3(float) { __builtin_trap(); }
};
enum { __NV_E4M3 };
inline __half __nv_cvt_fp8_to_halfraw(uint8_t, int) { __builtin_trap(); }

inline float normcdff(float x) { return 0.5f * erfcf(-x * (float)M_SQRT1_2); }
inline double normcdf(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline void sincospif(float x, float *sine, float *cosine) {
    *sine = (float)sin(M_PI * x);
    *cosine = (float)cos(M_PI * x);
}
// The fast forms of a GPU are less precise than these; what a kernel makes of them differs from a GPU's in the last bits.
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanhf(float x) { return tanhf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f; }
template <class A, class B> std::common_type_t<A, B> min(A a, B b) { return (std::common_type_t<A, B>)b < a ? b : a; }
template <class A, class B> std::common_type_t<A, B> max(A a, B b) { return a < (std::common_type_t<A, B>)b ? b : a; }

inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return bits_as<int>(x); }
inline float __uint_as_float(unsigned x) { return bits_as<float>(x); }
inline float __int_as_float(int x) { return bits_as<float>(x); }
inline long long __double_as_longlong(double x) { return bits_as<long long>(x); }
inline double __longlong_as_double(long long x) { return bits_as<double>(x); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline int __float2int_rn(float x) { return (int)rintf(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)((unsigned long long)x * y >> 32); }
template <class T> T __ldg(const T *at) { return *at; }
