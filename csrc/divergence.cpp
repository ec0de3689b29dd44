// The CPU operator of vkit.kernels.divergence, for float32:
//
//     torch.ops.vkit_cpp.divergence_rows_(student, teacher, labels, alpha, lam, temperature, standardize,
//                                         softcap, scale, gradient) -> parts
//
// What it computes stands in kernels/divergence_scoring.py. Built against the stable ABI, see attention.cpp.
#include <optional>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include "cpu_capability.h"
#include "divergence.h"

namespace vkit {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

DivergenceRow kernel_for_this_cpu() {
  switch (cpu_capability()) {
#if defined(__x86_64__)
    case CpuCapability::avx512_bf16:
    case CpuCapability::avx512: return AVX512_DIVERGENCE_ROW;
    case CpuCapability::avx2: return AVX2_DIVERGENCE_ROW;
#endif
    default: return PORTABLE_DIVERGENCE_ROW;
  }
}

void check_logits(const Tensor& logits, const char* name) {
  STD_TORCH_CHECK(
      logits.is_cpu() && logits.scalar_type() == ScalarType::Float && logits.dim() == 2 &&
          logits.is_contiguous() && logits.size(1) >= 1,
      name, " must be contiguous float32 (N, V) on the CPU");
}

Tensor divergence_rows_(
    Tensor student, const std::optional<Tensor>& teacher, const Tensor& labels, double alpha, double lam,
    double temperature, bool standardize, std::optional<double> softcap, double scale, bool gradient) {
  check_logits(student, "student");
  const std::int64_t num_rows = student.size(0);
  DivergenceRows p;
  p.vocabulary = student.size(1);
  if (teacher) {
    check_logits(*teacher, "teacher");
    STD_TORCH_CHECK(
        teacher->size(0) == num_rows && teacher->size(1) == p.vocabulary, "teacher must have student's shape");
  }
  STD_TORCH_CHECK(
      labels.is_cpu() && labels.scalar_type() == ScalarType::Long && labels.dim() == 1 &&
          labels.size(0) == num_rows && labels.is_contiguous(),
      "labels must be contiguous int64 (", num_rows, ",) on the CPU");
  STD_TORCH_CHECK(temperature > 0, "temperature must be positive, not ", temperature);
  STD_TORCH_CHECK(!softcap || float(*softcap) > 0, "softcap must be positive");

  Tensor parts = torch::stable::new_empty(student, {num_rows, 3});
  p.student = static_cast<float*>(student.data_ptr());
  p.teacher = teacher ? static_cast<const float*>(teacher->data_ptr()) : nullptr;
  p.labels = static_cast<const std::int64_t*>(labels.data_ptr());
  p.parts = static_cast<float*>(parts.data_ptr());
  p.alpha = alpha;
  p.lam = lam;
  p.temperature = temperature;
  p.scale = scale;
  p.softcap = softcap ? float(*softcap) : 0.0f;
  p.standardize = standardize;
  p.gradient = gradient;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    STD_TORCH_CHECK(
        p.labels[row] >= 0 && p.labels[row] < p.vocabulary, "label ", p.labels[row], " is not in 0..",
        p.vocabulary - 1);
  }
  const DivergenceRow kernel = kernel_for_this_cpu();
  torch::stable::parallel_for(0, num_rows, 1, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t row = first; row < end; ++row) {
      kernel(p, row);
    }
  });
  return parts;
}

} // namespace
} // namespace vkit

STABLE_TORCH_LIBRARY_FRAGMENT(vkit_cpp, m) {
  m.def(
      "divergence_rows_(Tensor(a!) student, Tensor? teacher, Tensor labels, float alpha, float lam, "
      "float temperature, bool standardize, float? softcap, float scale, bool gradient) -> Tensor parts");
}

STABLE_TORCH_LIBRARY_IMPL(vkit_cpp, CPU, m) {
  m.impl("divergence_rows_", TORCH_BOX(&vkit::divergence_rows_));
}
