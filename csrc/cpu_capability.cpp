#include "cpu_capability.h"

#include <cstdlib>
#include <string>
#include <vector>

#include <torch/headeronly/util/Exception.h>

namespace vkit {
namespace {

// What this CPU can run, the best first.
std::vector<CpuCapability> supported_capabilities() {
  std::vector<CpuCapability> supported;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) {
    supported.push_back(CpuCapability::avx512_bf16);
  }
  if (avx512) {
    supported.push_back(CpuCapability::avx512);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    supported.push_back(CpuCapability::avx2);
  }
#endif
  supported.push_back(CpuCapability::portable);
  return supported;
}

CpuCapability choose_capability() {
  const std::vector<CpuCapability> supported = supported_capabilities();
  const char* wanted = std::getenv("VKIT_CPU_CAPABILITY");
  if (wanted == nullptr || *wanted == '\0') {
    return supported.front();
  }
  std::string names;
  for (const CpuCapability capability : supported) {
    if (std::string(name_of(capability)) == wanted) {
      return capability;
    }
    names += std::string(names.empty() ? "" : ", ") + name_of(capability);
  }
  STD_TORCH_CHECK(false, "VKIT_CPU_CAPABILITY=", wanted, " is not one of those that this CPU has: ", names);
}

} // namespace

CpuCapability cpu_capability() {
  static const CpuCapability chosen = choose_capability();
  return chosen;
}

const char* name_of(CpuCapability capability) {
  switch (capability) {
    case CpuCapability::avx512_bf16: return "avx512_bf16";
    case CpuCapability::avx512: return "avx512";
    case CpuCapability::avx2: return "avx2";
    default: return "portable";
  }
}

} // namespace vkit
