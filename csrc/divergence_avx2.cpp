// The divergence in AVX2: eight floats a vector, sixteen registers.
#if defined(__x86_64__)
#include "divergence.h"

#define VKIT_VECTOR_BYTES 32
#define VKIT_PANEL 4

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace vkit {
namespace {
namespace avx2 {
#include "divergence_kernel.h"
} // namespace avx2
} // namespace
} // namespace vkit

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vkit {

extern const DivergenceRow AVX2_DIVERGENCE_ROW = avx2::row_of;

} // namespace vkit
#endif
