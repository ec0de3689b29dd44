// Which instruction set the kernels use: the best that the CPU has, or the lesser one that the environment
// variable VKIT_CPU_CAPABILITY names. It is read once.
#pragma once

namespace vkit {

enum class CpuCapability { portable, avx2, avx512, avx512_bf16 };

CpuCapability cpu_capability();

const char* name_of(CpuCapability capability);

} // namespace vkit
