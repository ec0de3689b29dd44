// The kernels for bfloat16 with the AVX-512 instruction that multiplies pairs of it and adds in float32.
#if defined(__x86_64__)
#include <immintrin.h>

#include "attention.h"

#define VKIT_VECTOR_BYTES 64
#define VKIT_PANEL 8
#define VKIT_BF16_DOT

#if defined(__clang__)
#pragma clang attribute push(                                                          \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")
#endif

namespace vkit {
namespace {
namespace avx512_bf16 {
#include "attention_kernel.h"
} // namespace avx512_bf16
} // namespace
} // namespace vkit

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vkit {

extern const Kernels AVX512_BF16_BFLOAT16 = avx512_bf16::kernels<avx512_bf16::Bfloat16Tiles>();

} // namespace vkit
#endif
