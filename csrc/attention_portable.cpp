// The kernels in vectors of four floats, for whatever the compiler targets by default.
#include "attention.h"

#define VKIT_VECTOR_BYTES 16
#if defined(__aarch64__)
#define VKIT_PANEL 8 // 32 registers
#else
#define VKIT_PANEL 4 // 16 registers
#endif

namespace vkit {
namespace {
namespace portable {
#include "attention_kernel.h"
} // namespace portable
} // namespace

extern const Kernels PORTABLE_FLOAT32 = portable::kernels<portable::Float32Tiles<float>>();
extern const Kernels PORTABLE_BFLOAT16 = portable::kernels<portable::Float32Tiles<std::uint16_t>>();

} // namespace vkit
