// The divergence in AVX-512: sixteen floats a vector, thirty-two registers.
#if defined(__x86_64__)
#include "divergence.h"

#define VKIT_VECTOR_BYTES 64
#define VKIT_PANEL 8

#if defined(__clang__)
#pragma clang attribute push(                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#endif

namespace vkit {
namespace {
namespace avx512 {
#include "divergence_kernel.h"
} // namespace avx512
} // namespace
} // namespace vkit

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vkit {

extern const DivergenceRow AVX512_DIVERGENCE_ROW = avx512::row_of;

} // namespace vkit
#endif
