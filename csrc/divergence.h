// What the operator of divergence.cpp and its kernels, compiled once per instruction set, say to each other.
//
// divergence.cpp checks the tensors and fills the struct below; its threads then work through the rows, which
// are independent of each other. The kernels use nothing of the standard library, see attention.h.
#pragma once

#include <cstdint>

namespace vkit {

struct DivergenceRows {
  float* student;             // (N, V); with `gradient`, overwritten by `scale` times the gradient
  const float* teacher;       // (N, V), or null
  const std::int64_t* labels; // (N)
  float* parts;               // (N, 3)
  std::int64_t vocabulary;
  double alpha, lam, temperature, scale;
  float softcap; // 0: none
  bool standardize, gradient;
};

typedef void (*DivergenceRow)(const DivergenceRows&, std::int64_t row);

// Each is defined in the file of its instruction set.
extern const DivergenceRow PORTABLE_DIVERGENCE_ROW;
#if defined(__x86_64__)
extern const DivergenceRow AVX2_DIVERGENCE_ROW, AVX512_DIVERGENCE_ROW;
#endif

} // namespace vkit
