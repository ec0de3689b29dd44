// The CPU operators of vkit.kernels.attention, for float32 and bfloat16:
//
//     torch.ops.vkit_cpp.segment_attention(query, key, value, segment_ids, num_segments, causal, mask,
//                                          key_mask, window, softcap, scale) -> (out, lse, mass)
//     torch.ops.vkit_cpp.attention_rows_(query, key, lse, rows, out, causal, mask, key_mask, window, softcap,
//                                        scale)
//     torch.ops.vkit_cpp.cpu_capability() -> "avx512_bf16", "avx512", "avx2" or "portable"
//
// Built against the stable ABI of torch 2.11, so that one binary serves later versions.
#include <algorithm>
#include <atomic>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <tuple>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include "attention.h"
#include "cpu_capability.h"

namespace vkit {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

const Kernels& kernels_for(const Scoring& p) {
  switch (cpu_capability()) {
#if defined(__x86_64__)
    case CpuCapability::avx512_bf16: return p.bfloat16 ? AVX512_BF16_BFLOAT16 : AVX512_FLOAT32;
    case CpuCapability::avx512: return p.bfloat16 ? AVX512_BFLOAT16 : AVX512_FLOAT32;
    case CpuCapability::avx2: return p.bfloat16 ? AVX2_BFLOAT16 : AVX2_FLOAT32;
#endif
    default: return p.bfloat16 ? PORTABLE_BFLOAT16 : PORTABLE_FLOAT32;
  }
}

// Threads ------------------------------------------------------------------------------------------------

struct AlignedDelete {
  void operator()(char* memory) const {
    ::operator delete(memory, std::align_val_t(ALIGNMENT));
  }
};

// Each thread takes the next task when it is done with one: tasks are unequal under a causal mask.
template <class Problem>
void run_tasks(
    const Problem& problem, std::int64_t num_tasks, std::size_t scratch_bytes,
    void (*task)(const Problem&, std::int64_t, void*)) {
  const std::int64_t threads = std::min<std::int64_t>(torch::stable::get_num_threads(), num_tasks);
  scratch_bytes = (scratch_bytes + 4095) / 4096 * 4096; // threads share no page
  const std::unique_ptr<char, AlignedDelete> scratch(
      static_cast<char*>(::operator new(scratch_bytes * threads, std::align_val_t(ALIGNMENT))));
  std::atomic<std::int64_t> next{0};
  torch::stable::parallel_for(0, threads, 1, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t i = next++; i < num_tasks && first < end; i = next++) {
      task(problem, i, scratch.get() + first * scratch_bytes);
    }
  });
}

// Arguments ----------------------------------------------------------------------------------------------

// Strides over `shape`, to which the tensor broadcasts.
template <class T>
Strided<T> strided(const Tensor& tensor, std::initializer_list<std::int64_t> shape, const char* name) {
  STD_TORCH_CHECK(
      tensor.dim() == std::int64_t(shape.size()), name, " must have ", shape.size(), " dimensions, not ",
      tensor.dim());
  STD_TORCH_CHECK(tensor.is_cpu(), name, " must be on the CPU");
  Strided<T> result;
  result.data = static_cast<T*>(tensor.data_ptr());
  std::int64_t d = 0;
  for (const std::int64_t size : shape) {
    STD_TORCH_CHECK(
        tensor.size(d) == size || tensor.size(d) == 1, name, " must have size ", size, " in dimension ", d,
        ", not ", tensor.size(d));
    result.stride[d] = tensor.size(d) == 1 ? 0 : tensor.stride(d);
    ++d;
  }
  return result;
}

void check_dtype(const Tensor& tensor, ScalarType expected, const char* name) {
  STD_TORCH_CHECK(
      tensor.scalar_type() == expected, name, " must be ", torch::headeronly::toString(expected), ", not ",
      torch::headeronly::toString(tensor.scalar_type()));
}

void fill_scoring(
    Scoring& p, const Tensor& query, const Tensor& key, bool causal, const std::optional<Tensor>& mask,
    const std::optional<Tensor>& key_mask, std::optional<std::int64_t> window, std::optional<double> softcap,
    double scale) {
  const ScalarType dtype = query.scalar_type();
  STD_TORCH_CHECK(
      dtype == ScalarType::Float || dtype == ScalarType::BFloat16, "query must be float32 or bfloat16, not ",
      torch::headeronly::toString(dtype));
  STD_TORCH_CHECK(query.dim() == 4 && key.dim() == 4, "query and key must be (B, H, T, D)");
  check_dtype(key, dtype, "key");
  p.batch = query.size(0);
  p.heads = query.size(1);
  p.query_length = query.size(2);
  p.head_size = query.size(3);
  p.key_heads = key.size(1);
  p.key_length = key.size(2);
  STD_TORCH_CHECK(
      p.key_heads > 0 && p.heads % p.key_heads == 0, "the ", p.key_heads, " key heads must divide the ",
      p.heads, " query heads");
  STD_TORCH_CHECK(
      p.query_length <= p.key_length, "more queries (", p.query_length, ") than keys (", p.key_length, ")");
  STD_TORCH_CHECK(
      1 <= p.head_size && p.head_size <= 256, "the head size must be in 1..256, not ", p.head_size);
  STD_TORCH_CHECK(p.key_length < (std::int64_t(1) << 30), "more than 2^30 keys");
  p.query = strided<const void>(query, {p.batch, p.heads, p.query_length, p.head_size}, "query");
  p.key = strided<const void>(key, {p.batch, p.key_heads, p.key_length, p.head_size}, "key");
  STD_TORCH_CHECK(
      key.size(0) == p.batch && key.size(3) == p.head_size, "key must have the query's batch and head size");
  if (mask) {
    check_dtype(*mask, ScalarType::Bool, "mask");
    p.mask = strided<const std::uint8_t>(*mask, {p.batch, p.heads, p.query_length, p.key_length}, "mask");
  }
  if (key_mask) {
    check_dtype(*key_mask, ScalarType::Bool, "key_mask");
    p.key_mask = strided<const std::uint8_t>(*key_mask, {p.batch, p.key_length}, "key_mask");
  }
  STD_TORCH_CHECK(!window || (*window >= 1 && causal), "window must be at least 1 and needs causal");
  STD_TORCH_CHECK(!softcap || *softcap > 0, "softcap must be positive");
  p.window = window && *window < p.key_length ? *window : 0;
  p.bfloat16 = dtype == ScalarType::BFloat16;
  p.causal = causal;
  p.softcap = softcap ? float(*softcap) : 0.0f;
  p.scale = float(scale);
}

// Operators ----------------------------------------------------------------------------------------------

std::tuple<Tensor, Tensor, Tensor> segment_attention(
    const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& segment_ids,
    std::int64_t num_segments, bool causal, const std::optional<Tensor>& mask,
    const std::optional<Tensor>& key_mask, std::optional<std::int64_t> window, std::optional<double> softcap,
    double scale) {
  SegmentAttention p;
  fill_scoring(p, query, key, causal, mask, key_mask, window, softcap, scale);
  check_dtype(value, query.scalar_type(), "value");
  p.value = strided<const void>(value, {p.batch, p.key_heads, p.key_length, p.head_size}, "value");
  STD_TORCH_CHECK(
      value.size(0) == p.batch && value.size(1) == p.key_heads && value.size(2) == p.key_length &&
          value.size(3) == p.head_size,
      "value must have the shape of key");
  check_dtype(segment_ids, ScalarType::Int, "segment_ids");
  STD_TORCH_CHECK(
      segment_ids.dim() == 2 && segment_ids.size(0) == p.batch && segment_ids.size(1) == p.key_length &&
          segment_ids.is_contiguous(),
      "segment_ids must be contiguous (", p.batch, ", ", p.key_length, ")");
  STD_TORCH_CHECK(num_segments >= 1, "num_segments must be at least 1, not ", num_segments);
  p.segment_ids = static_cast<const std::int32_t*>(segment_ids.data_ptr());
  p.num_segments = num_segments;
  for (std::int64_t i = 0; i < p.batch * p.key_length; ++i) {
    STD_TORCH_CHECK(
        p.segment_ids[i] >= -1 && p.segment_ids[i] < num_segments, "segment id ", p.segment_ids[i],
        " is not in -1..", num_segments - 1);
  }

  Tensor out = torch::stable::new_empty(query, query.sizes());
  Tensor lse = torch::stable::new_empty(query, {p.batch, p.heads, p.query_length}, ScalarType::Float);
  Tensor mass =
      torch::stable::new_empty(query, {p.batch, p.heads, p.query_length, num_segments}, ScalarType::Float);
  p.out = out.data_ptr();
  p.lse = static_cast<float*>(lse.data_ptr());
  p.mass = static_cast<float*>(mass.data_ptr());
  if (lse.numel() > 0) {
    // Many queries share a packed block of keys, but every thread should have several tasks.
    const Kernels& kernels = kernels_for(p);
    const std::int64_t wanted_tasks = 4 * std::int64_t(torch::stable::get_num_threads());
    const std::int64_t groups = p.batch * p.heads * ceil_div(p.query_length, kernels.queries_per_group);
    const std::int64_t groups_per_task =
        std::clamp<std::int64_t>(groups / wanted_tasks, 1, MAX_QUERIES_PER_TASK / kernels.queries_per_group);
    p.queries_per_task = groups_per_task * kernels.queries_per_group;
    run_tasks(
        p, segment_attention_tasks(p), kernels.segment_attention_scratch(p), kernels.segment_attention_task);
  }
  return {out, lse, mass};
}

void attention_rows_(
    const Tensor& query, const Tensor& key, const Tensor& lse, const Tensor& rows, Tensor out, bool causal,
    const std::optional<Tensor>& mask, const std::optional<Tensor>& key_mask,
    std::optional<std::int64_t> window, std::optional<double> softcap, double scale) {
  AttentionRows p;
  fill_scoring(p, query, key, causal, mask, key_mask, window, softcap, scale);
  check_dtype(lse, ScalarType::Float, "lse");
  p.lse = strided<const float>(lse, {p.batch, p.heads, p.query_length}, "lse");
  check_dtype(rows, ScalarType::Int, "rows");
  STD_TORCH_CHECK(
      rows.dim() == 2 && rows.size(0) == p.batch && rows.is_contiguous(), "rows must be contiguous (",
      p.batch, ", R)");
  p.rows = static_cast<const std::int32_t*>(rows.data_ptr());
  p.num_rows = rows.size(1);
  for (std::int64_t i = 0; i < p.batch * p.num_rows; ++i) {
    STD_TORCH_CHECK(
        p.rows[i] >= -1 && p.rows[i] < p.query_length, "row ", p.rows[i], " is not in -1..",
        p.query_length - 1);
  }
  check_dtype(out, ScalarType::Float, "out");
  p.out = strided<float>(out, {p.batch, p.num_rows, p.key_length}, "out");
  STD_TORCH_CHECK(
      out.size(0) == p.batch && out.size(1) == p.num_rows && out.size(2) == p.key_length, "out must be (",
      p.batch, ", ", p.num_rows, ", ", p.key_length, ")");
  if (out.numel() > 0) {
    // The queries are packed once per head and task, so a task should have many keys.
    const Kernels& kernels = kernels_for(p);
    const std::int64_t wanted_tasks = 4 * std::int64_t(torch::stable::get_num_threads());
    const std::int64_t blocks =
        p.batch * ceil_div(p.num_rows, kernels.queries_per_group) * ceil_div(p.key_length, KEYS_PER_BLOCK);
    p.keys_per_task = KEYS_PER_BLOCK * std::clamp<std::int64_t>(blocks / wanted_tasks, 1, 8);
    run_tasks(
        p, attention_rows_tasks(p, kernels), kernels.attention_rows_scratch(p), kernels.attention_rows_task);
  }
}

std::string capability_name() {
  return name_of(cpu_capability());
}

} // namespace
} // namespace vkit

STABLE_TORCH_LIBRARY(vkit_cpp, m) {
  m.def(
      "segment_attention(Tensor query, Tensor key, Tensor value, Tensor segment_ids, int num_segments, "
      "bool causal, Tensor? mask, Tensor? key_mask, int? window, float? softcap, float scale) "
      "-> (Tensor out, Tensor lse, Tensor mass)");
  m.def(
      "attention_rows_(Tensor query, Tensor key, Tensor lse, Tensor rows, Tensor(a!) out, bool causal, "
      "Tensor? mask, Tensor? key_mask, int? window, float? softcap, float scale) -> ()");
  m.def("cpu_capability() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(vkit_cpp, CPU, m) {
  m.impl("segment_attention", TORCH_BOX(&vkit::segment_attention));
  m.impl("attention_rows_", TORCH_BOX(&vkit::attention_rows_));
}

STABLE_TORCH_LIBRARY_IMPL(vkit_cpp, CompositeExplicitAutograd, m) {
  m.impl("cpu_capability", TORCH_BOX(&vkit::capability_name));
}
