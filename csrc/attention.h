// What the operators of attention.cpp and the kernels, compiled once per instruction set, say to each other.
//
// attention.cpp checks the tensors and fills one of the structs below; it then asks the chosen `Kernels` for
// the scratch memory a thread needs and lets the threads work through numbered tasks. A task writes to
// elements of the result that no other task touches, so results do not depend on the number of threads.
// The kernels use nothing of the standard library: an inline function compiled for AVX-512 in one file could
// otherwise be the copy that the linker keeps for all of them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vkit {

// A tensor of up to four dimensions; strides in elements, 0 where the dimension is broadcast.
template <class T>
struct Strided {
  T* data = nullptr;
  std::ptrdiff_t stride[4] = {0, 0, 0, 0};
};

// Which keys a query sees, and what becomes of the scores: common to both operators.
struct Scoring {
  Strided<const void> query;            // (B, Hq, Tq, D)
  Strided<const void> key;              // (B, Hkv, Tk, D)
  Strided<const std::uint8_t> mask;     // (B, Hq, Tq, Tk), or no data
  Strided<const std::uint8_t> key_mask; // (B, Tk), or no data
  std::int64_t batch, heads, key_heads, query_length, key_length, head_size;
  std::int64_t window; // 0: none
  bool bfloat16;       // else float32
  bool causal;
  float softcap; // 0: none
  float scale;
};

struct SegmentAttention : Scoring {
  Strided<const void> value;       // (B, Hkv, Tk, D)
  const std::int32_t* segment_ids; // (B, Tk), in -1..num_segments-1
  std::int64_t num_segments;
  void* out;                      // (B, Hq, Tq, D), contiguous
  float* lse;                     // (B, Hq, Tq)
  float* mass;                    // (B, Hq, Tq, S)
  std::int64_t queries_per_task;  // a multiple of queries_per_group, see below
};

struct AttentionRows : Scoring {
  Strided<const float> lse; // (B, Hq, Tq)
  const std::int32_t* rows; // (B, R), -1: no row
  std::int64_t num_rows;
  Strided<float> out;         // (B, R, Tk)
  std::int64_t keys_per_task; // a multiple of KEYS_PER_BLOCK
};

constexpr std::int64_t KEYS_PER_BLOCK = 128; // keys that are scored, and put through the softmax, together
constexpr std::int64_t MAX_QUERIES_PER_TASK = 192;
constexpr std::size_t ALIGNMENT = 64;        // of the scratch memory, in bytes

// The kernels for tensors of one dtype, compiled for one instruction set. All accumulate in float32.
struct Kernels {
  std::int64_t queries_per_group; // queries that one pass over the keys serves
  std::size_t (*segment_attention_scratch)(const SegmentAttention&); // bytes
  void (*segment_attention_task)(const SegmentAttention&, std::int64_t task, void* scratch);
  std::size_t (*attention_rows_scratch)(const AttentionRows&); // bytes
  void (*attention_rows_task)(const AttentionRows&, std::int64_t task, void* scratch);
};

// Each is defined in the file of its instruction set.
extern const Kernels PORTABLE_FLOAT32, PORTABLE_BFLOAT16;
#if defined(__x86_64__)
extern const Kernels AVX2_FLOAT32, AVX2_BFLOAT16;
extern const Kernels AVX512_FLOAT32, AVX512_BFLOAT16;
extern const Kernels AVX512_BF16_BFLOAT16;
#endif

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

inline std::int64_t segment_attention_tasks(const SegmentAttention& p) {
  return p.batch * p.heads * ceil_div(p.query_length, p.queries_per_task);
}

inline std::int64_t attention_rows_tasks(const AttentionRows& p, const Kernels& kernels) {
  return p.batch * ceil_div(p.num_rows, kernels.queries_per_group) * ceil_div(p.key_length, p.keys_per_task);
}

} // namespace vkit
