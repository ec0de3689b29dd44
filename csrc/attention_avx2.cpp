// The kernels in AVX2: eight floats a vector, sixteen registers.
#if defined(__x86_64__)
#include "attention.h"

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
#include "attention_kernel.h"
} // namespace avx2
} // namespace
} // namespace vkit

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vkit {

extern const Kernels AVX2_FLOAT32 = avx2::kernels<avx2::Float32Tiles<float>>();
extern const Kernels AVX2_BFLOAT16 = avx2::kernels<avx2::Float32Tiles<std::uint16_t>>();

} // namespace vkit
#endif
