// Both attention operators, a block of keys at a time. No include guard: the file of each instruction set
// includes this inside its own namespace, see attention_avx512.cpp.

// The order matters: each of these needs those before it.
#include "vectors.h"

#include "microkernel.h"

#include "packing.h"

#include "visibility.h"

#include "scoring.h"

// Segment attention --------------------------------------------------------------------------------------

// The running softmax of one group of queries; every array has a column per query.
struct SoftmaxState {
  float* queries; // packed
  float* outputs; // (head size, GROUP), to be divided by total
  float* mass;    // (S + 1, GROUP), likewise; the last row is for keys in no segment
  float* maximum; // (GROUP)
  float* total;   // (GROUP)
};

inline SoftmaxState carve_state(const SegmentAttention& p, Carver& carver) {
  SoftmaxState state;
  state.queries = carver.floats(p.head_size * GROUP);
  state.outputs = carver.floats(round_up(int(p.head_size), PANEL) * GROUP);
  state.mass = carver.floats((p.num_segments + 1) * GROUP);
  state.maximum = carver.floats(GROUP);
  state.total = carver.floats(GROUP);
  return state;
}

struct BlockOfKeys {
  float *keys, *values, *scores;
  float* slots; // as int32: the row of `mass` for each key
};

inline BlockOfKeys carve_block(const SegmentAttention& p, Carver& carver) {
  const std::size_t size = round_up(int(p.head_size), PANEL);
  BlockOfKeys block;
  block.keys = carver.floats(KEYS_PER_BLOCK * size);
  block.values = carver.floats(KEYS_PER_BLOCK * size);
  block.scores = carver.floats(KEYS_PER_BLOCK * GROUP);
  block.slots = carver.floats(KEYS_PER_BLOCK);
  return block;
}

inline std::size_t segment_attention_scratch(const SegmentAttention& p) {
  Carver block{nullptr}, state{nullptr};
  carve_block(p, block);
  carve_state(p, state);
  return block.used + state.used * std::size_t(p.queries_per_task / GROUP);
}

inline void reset(const SegmentAttention& p, SoftmaxState& state) {
  const int rows = round_up(int(p.head_size), PANEL);
  for (int i = 0; i < rows * GROUP; ++i) {
    state.outputs[i] = 0.0f;
  }
  for (std::int64_t i = 0; i < (p.num_segments + 1) * GROUP; ++i) {
    state.mass[i] = 0.0f;
  }
  for (int i = 0; i < GROUP; ++i) {
    state.maximum[i] = -INFINITE;
    state.total[i] = 0.0f;
  }
}

// Turns scores (num_keys, GROUP) into weights and adds them to the totals and masses. `decay` is what the
// outputs so far must be multiplied by, because the maximum has grown.
//
// Sums of one segment go to its mass and to the total in the same order, so rounding keeps mass <= total.
template <int VECTORS>
void softmax_block(
    const SegmentAttention& p, const std::int32_t* slots, int num_keys, float* scores, SoftmaxState& state,
    Floats* decay) {
  Floats maximum[VECTORS], base[VECTORS];
  for (int v = 0; v < VECTORS; ++v) {
    maximum[v] = ((Floats*)state.maximum)[v];
  }
  for (int j = 0; j < num_keys; ++j) {
#pragma GCC unroll 3
    for (int v = 0; v < VECTORS; ++v) {
      maximum[v] = larger(*(Floats*)(scores + j * GROUP + v * LANES), maximum[v]);
    }
  }
  Ints overflow = {}, grown = {};
  for (int v = 0; v < VECTORS; ++v) {
    overflow |= maximum[v] > LARGEST;
    grown |= maximum[v] > ((Floats*)state.maximum)[v];
  }
  if (any(overflow)) { // finite inputs whose product is not: such keys share the weight
    for (int v = 0; v < VECTORS; ++v) {
      for (int j = 0; j < num_keys; ++j) {
        Floats* score = (Floats*)(scores + j * GROUP + v * LANES);
        *score = *score > LARGEST ? splat(LARGEST) : *score;
      }
      maximum[v] = maximum[v] > LARGEST ? splat(LARGEST) : maximum[v];
    }
  }
  for (int v = 0; v < VECTORS; ++v) {
    base[v] = maximum[v] < -LARGEST ? Floats{} : maximum[v]; // no visible key yet
    decay[v] = exp2(((Floats*)state.maximum)[v] - base[v]);
    ((Floats*)state.maximum)[v] = maximum[v];
  }
  if (any(grown)) {
    for (std::int64_t slot = 0; slot <= p.num_segments; ++slot) {
      for (int v = 0; v < VECTORS; ++v) {
        *(Floats*)(state.mass + slot * GROUP + v * LANES) *= decay[v];
      }
    }
    for (int v = 0; v < VECTORS; ++v) {
      ((Floats*)state.total)[v] *= decay[v];
    }
  }
  for (int j = 0; j < num_keys;) { // a run of keys in one segment at a time
    const std::int32_t slot = slots[j];
    Floats sum[VECTORS] = {};
    for (; j < num_keys && slots[j] == slot; ++j) {
#pragma GCC unroll 3
      for (int v = 0; v < VECTORS; ++v) {
        Floats* score = (Floats*)(scores + j * GROUP + v * LANES);
        *score = exp2(*score - base[v]);
        sum[v] += *score;
      }
    }
    for (int v = 0; v < VECTORS; ++v) {
      *(Floats*)(state.mass + slot * GROUP + v * LANES) += sum[v];
      ((Floats*)state.total)[v] += sum[v];
    }
  }
}

template <class Tiles, int VECTORS>
void attend_block(const SegmentAttention& p, const BlockOfKeys& block, int num_keys, SoftmaxState& state) {
  Floats decay[VECTORS];
  softmax_block<VECTORS>(p, (const std::int32_t*)block.slots, num_keys, block.scores, state, decay);
  Tiles::pack_weights(block.scores, num_keys);
  multiply_values<Tiles, VECTORS>(
      block.values, round_up(int(p.head_size), PANEL), steps_of<Tiles>(num_keys), block.scores, decay,
      state.outputs);
}

template <class T>
void write_results(const SegmentAttention& p, const Lanes& lanes, const SoftmaxState& state) {
  for (int lane = 0; lane < lanes.count; ++lane) {
    const std::int64_t row = (lanes.item * p.heads + lanes.head) * p.query_length + lanes.query[lane];
    const float total = state.total[lane]; // 0: no key was seen; it may also be no number
    const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
    T* out = (T*)p.out + row * p.head_size;
    for (std::int64_t d = 0; d < p.head_size; ++d) {
      from_float(state.outputs[d * GROUP + lane] * inverse, out + d);
    }
    float* mass = p.mass + row * p.num_segments;
    for (std::int64_t s = 0; s < p.num_segments; ++s) {
      mass[s] = total == 0.0f ? 0.0f : state.mass[s * GROUP + lane] / total;
    }
    p.lse[row] = total == 0.0f ? -INFINITE : float(state.maximum[lane] * LN_2 + __builtin_log(total));
  }
}

// One task is `queries_per_task` queries of one head, against all the keys that they see. Tasks with the most
// keys come first.
template <class Tiles>
void segment_attention_task(const SegmentAttention& p, std::int64_t task, void* scratch) {
  typedef typename Tiles::Stored T;
  const std::int64_t all_heads = p.batch * p.heads;
  const std::int64_t item = task % all_heads / p.heads, head = task % p.heads;
  const std::int64_t key_head = head / (p.heads / p.key_heads);
  const std::int64_t first_query =
      (ceil_div(p.query_length, p.queries_per_task) - 1 - task / all_heads) * p.queries_per_task;
  std::int64_t num_queries = p.query_length - first_query;
  num_queries = num_queries < p.queries_per_task ? num_queries : p.queries_per_task;

  Carver carver{(char*)scratch};
  const BlockOfKeys block = carve_block(p, carver);
  constexpr int MAX_GROUPS = MAX_QUERIES_PER_TASK / GROUP;
  SoftmaxState states[MAX_GROUPS];
  Lanes lanes[MAX_GROUPS];
  const int num_groups = int(ceil_div(num_queries, GROUP));
  for (int g = 0; g < num_groups; ++g) {
    const std::int64_t first = first_query + g * GROUP, left = num_queries - g * GROUP;
    const int count = int(left < GROUP ? left : GROUP);
    fill_lanes(p, item, head, count, [first](int lane) { return first + lane; }, lanes[g]);
    states[g] = carve_state(p, carver);
    reset(p, states[g]);
    pack_queries<Tiles>(p, lanes[g], states[g].queries);
  }

  const std::int64_t begin = first_visible(p, lanes[0]), end = end_visible(p, lanes[num_groups - 1]);
  for (std::int64_t key = begin / KEYS_PER_BLOCK * KEYS_PER_BLOCK; key < end; key += KEYS_PER_BLOCK) {
    const int block_keys = int(end - key < KEYS_PER_BLOCK ? end - key : KEYS_PER_BLOCK);
    Tiles::pack_keys(rows_of<T>(p.key, item, key_head, key), block_keys, int(p.head_size), block.keys);
    Tiles::pack_values(rows_of<T>(p.value, item, key_head, key), block_keys, int(p.head_size), block.values);
    for (int j = 0; j < block_keys; ++j) {
      const std::int32_t segment = p.segment_ids[item * p.key_length + key + j];
      ((std::int32_t*)block.slots)[j] = segment < 0 ? std::int32_t(p.num_segments) : segment;
    }
    for (int g = 0; g < num_groups; ++g) {
      const std::int64_t seen = end_visible(p, lanes[g]) - key;
      const int num_keys = int(seen < block_keys ? seen : block_keys);
      if (num_keys <= 0 || first_visible(p, lanes[g]) >= key + num_keys ||
          hidden_by_masks(p, lanes[g], key, num_keys)) {
        continue;
      }
      score_keys<Tiles>(p, lanes[g], key, num_keys, block.keys, states[g].queries, block.scores);
      switch (lanes[g].vectors) {
        case 1: attend_block<Tiles, 1>(p, block, num_keys, states[g]); break;
        case 2: attend_block<Tiles, 2>(p, block, num_keys, states[g]); break;
        default: attend_block<Tiles, 3>(p, block, num_keys, states[g]);
      }
    }
  }
  for (int g = 0; g < num_groups; ++g) {
    write_results<T>(p, lanes[g], states[g]);
  }
}

// Attention rows -----------------------------------------------------------------------------------------

struct RowsScratch {
  float *keys, *queries, *scores, *lse;
  float* sums; // (keys_per_task, GROUP): the weights, summed over the heads
};

inline RowsScratch carve_rows(const AttentionRows& p, Carver& carver) {
  RowsScratch rows;
  rows.keys = carver.floats(KEYS_PER_BLOCK * p.head_size + KEYS_PER_BLOCK);
  rows.queries = carver.floats(p.head_size * GROUP);
  rows.scores = carver.floats(KEYS_PER_BLOCK * GROUP);
  rows.lse = carver.floats(GROUP);
  rows.sums = carver.floats(p.keys_per_task * GROUP);
  return rows;
}

inline std::size_t attention_rows_scratch(const AttentionRows& p) {
  Carver carver{nullptr};
  carve_rows(p, carver);
  return carver.used;
}

// The lse of each lane in base 2; infinite, so that weights are zero, where there is no row or no key to see.
inline void load_lse(const AttentionRows& p, const Lanes& lanes, float* lse) {
  const float* values = p.lse.data + lanes.item * p.lse.stride[0] + lanes.head * p.lse.stride[1];
  for (int lane = 0; lane < GROUP; ++lane) {
    const float value = lanes.query[lane] < 0 ? INFINITE : values[lanes.query[lane] * p.lse.stride[2]];
    lse[lane] = value == -INFINITE ? INFINITE : float(value * LOG2_E);
  }
}

// One task is one group of rows against `keys_per_task` keys, over all the heads, in their order.
template <class Tiles>
void attention_rows_task(const AttentionRows& p, std::int64_t task, void* scratch) {
  typedef typename Tiles::Stored T;
  const std::int64_t chunks = ceil_div(p.key_length, p.keys_per_task), groups = ceil_div(p.num_rows, GROUP);
  const std::int64_t item = task / (groups * chunks), first_row = task / chunks % groups * GROUP;
  const std::int64_t begin = task % chunks * p.keys_per_task;
  const std::int64_t rows_left = p.num_rows - first_row;
  const int count = int(rows_left < GROUP ? rows_left : GROUP);
  const std::int32_t* rows = p.rows + item * p.num_rows + first_row;

  Carver carver{(char*)scratch};
  const RowsScratch work = carve_rows(p, carver);
  Lanes lanes;
  fill_lanes(p, item, 0, count, [rows](int lane) { return std::int64_t(rows[lane]); }, lanes);
  std::int64_t end = end_visible(p, lanes);
  end = end < begin + p.keys_per_task ? end : begin + p.keys_per_task;
  for (std::int64_t i = 0; i < (end - begin) * GROUP; ++i) {
    work.sums[i] = 0.0f;
  }
  for (lanes.head = 0; lanes.head < p.heads; ++lanes.head) {
    pack_queries<Tiles>(p, lanes, work.queries);
    load_lse(p, lanes, work.lse);
    for (std::int64_t key = begin; key < end; key += KEYS_PER_BLOCK) {
      const int num_keys = int(end - key < KEYS_PER_BLOCK ? end - key : KEYS_PER_BLOCK);
      if (first_visible(p, lanes) >= key + num_keys || hidden_by_masks(p, lanes, key, num_keys)) {
        continue;
      }
      const std::int64_t key_head = lanes.head / (p.heads / p.key_heads);
      Tiles::pack_keys(rows_of<T>(p.key, item, key_head, key), num_keys, int(p.head_size), work.keys);
      score_keys<Tiles>(p, lanes, key, num_keys, work.keys, work.queries, work.scores);
      float* sums = work.sums + (key - begin) * GROUP;
      for (int i = 0; i < num_keys * GROUP; i += LANES) {
        *(Floats*)(sums + i) += exp2(*(Floats*)(work.scores + i) - *(Floats*)(work.lse + i % GROUP));
      }
    }
  }
  const float share = 1.0f / float(p.heads);
  for (int lane = 0; lane < count; ++lane) {
    if (rows[lane] < 0) {
      continue;
    }
    float* out = p.out.data + item * p.out.stride[0] + (first_row + lane) * p.out.stride[1];
    for (std::int64_t key = begin; key < end; ++key) {
      out[key * p.out.stride[2]] += work.sums[(key - begin) * GROUP + lane] * share;
    }
  }
}

template <class Tiles>
constexpr Kernels kernels() {
  return {
      GROUP,
      segment_attention_scratch,
      segment_attention_task<Tiles>,
      attention_rows_scratch,
      attention_rows_task<Tiles>,
  };
}
