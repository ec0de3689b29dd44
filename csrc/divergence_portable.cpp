// The divergence in vectors of four floats, for whatever the compiler targets by default.
#include "divergence.h"

#define VKIT_VECTOR_BYTES 16
#if defined(__aarch64__)
#define VKIT_PANEL 8 // 32 registers
#else
#define VKIT_PANEL 4 // 16 registers
#endif

namespace vkit {
namespace {
namespace portable {
#include "divergence_kernel.h"
} // namespace portable
} // namespace

extern const DivergenceRow PORTABLE_DIVERGENCE_ROW = portable::row_of;

} // namespace vkit
