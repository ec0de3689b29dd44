// Which keys a group of queries sees. No include guard: see vectors.h, which comes before this.

// The queries of one head that are worked on together, one per lane. Lanes without a query (-1) work on
// zeros, and their results are dropped.
struct Lanes {
  std::int64_t item, head;
  int count, vectors;
  std::int64_t query[GROUP];    // index in the tensor
  Ints position[MAX_VECTORS];   // of each query among the keys
  std::int64_t lowest, highest; // of these positions
};

template <class QueryOfLane>
void fill_lanes(
    const Scoring& p, std::int64_t item, std::int64_t head, int count, QueryOfLane query_of_lane,
    Lanes& lanes) {
  lanes.item = item;
  lanes.head = head;
  lanes.count = count;
  lanes.vectors = (count + LANES - 1) / LANES;
  lanes.lowest = p.key_length;
  lanes.highest = -1;
  for (int lane = 0; lane < GROUP; ++lane) {
    lanes.query[lane] = lane < count ? query_of_lane(lane) : -1;
    std::int64_t position = -1;
    if (lanes.query[lane] >= 0) {
      position = p.key_length - p.query_length + lanes.query[lane];
      lanes.lowest = position < lanes.lowest ? position : lanes.lowest;
      lanes.highest = position > lanes.highest ? position : lanes.highest;
    }
    lanes.position[lane / LANES][lane % LANES] = std::int32_t(position);
  }
}

// The keys that `causal` and `window` leave: first to end - 1. Empty where no lane has a query.
inline std::int64_t first_visible(const Scoring& p, const Lanes& lanes) {
  const std::int64_t first = p.window ? lanes.lowest - p.window + 1 : 0;
  return first > 0 ? first : 0;
}

inline std::int64_t end_visible(const Scoring& p, const Lanes& lanes) {
  return p.causal || lanes.highest < 0 ? lanes.highest + 1 : p.key_length;
}

inline bool all_equal(const std::uint8_t* bytes, std::ptrdiff_t stride, int count, bool expected) {
  int k = 0;
  if (stride == 1) {
    const std::uint64_t pattern = expected ? 0x0101010101010101u : 0;
    for (; k + 8 <= count; k += 8) {
      std::uint64_t word;
      __builtin_memcpy(&word, bytes + k, 8);
      if (word != pattern) {
        return false;
      }
    }
  }
  for (; k < count; ++k) {
    if (bool(bytes[k * stride]) != expected) {
      return false;
    }
  }
  return true;
}

inline const std::uint8_t* mask_row(const Scoring& p, const Lanes& lanes, int lane, std::int64_t key) {
  const std::ptrdiff_t* stride = p.mask.stride;
  return p.mask.data + lanes.item * stride[0] + lanes.head * stride[1] + lanes.query[lane] * stride[2] +
      key * stride[3];
}

inline const std::uint8_t* key_mask_row(const Scoring& p, const Lanes& lanes, std::int64_t key) {
  return p.key_mask.data + lanes.item * p.key_mask.stride[0] + key * p.key_mask.stride[1];
}

// Whether the masks hide all these keys from every query, so that nothing need be computed.
inline bool hidden_by_masks(const Scoring& p, const Lanes& lanes, std::int64_t key, int num_keys) {
  if (p.key_mask.data && all_equal(key_mask_row(p, lanes, key), p.key_mask.stride[1], num_keys, false)) {
    return true;
  }
  if (!p.mask.data) {
    return false;
  }
  for (int lane = 0; lane < lanes.count; ++lane) {
    const bool has_query = lanes.query[lane] >= 0;
    if (has_query && !all_equal(mask_row(p, lanes, lane, key), p.mask.stride[3], num_keys, false)) {
      return false;
    }
  }
  return true;
}

// Put -inf into scores (num_keys, GROUP), of the keys from `key` on, where a query does not see the key.
inline void hide_scores(const Scoring& p, const Lanes& lanes, std::int64_t key, int num_keys, float* scores) {
  const Floats hidden = splat(-INFINITE);
  const bool after = p.causal && key + num_keys - 1 > lanes.lowest;
  const bool before = p.window && key <= lanes.highest - p.window;
  if (after || before) {
    for (int j = 0; j < num_keys; ++j) {
      const std::int32_t index = std::int32_t(key + j);
      for (int v = 0; v < lanes.vectors; ++v) {
        Floats* row = (Floats*)(scores + j * GROUP + v * LANES);
        *row = lanes.position[v] >= index ? *row : hidden;
        if (before) {
          *row = lanes.position[v] - index < std::int32_t(p.window) ? *row : hidden;
        }
      }
    }
  }
  if (p.key_mask.data) {
    const std::uint8_t* visible = key_mask_row(p, lanes, key);
    for (int j = 0; j < num_keys; ++j) {
      if (!visible[j * p.key_mask.stride[1]]) {
        for (int v = 0; v < lanes.vectors; ++v) {
          *(Floats*)(scores + j * GROUP + v * LANES) = hidden;
        }
      }
    }
  }
  if (p.mask.data) {
    for (int lane = 0; lane < lanes.count; ++lane) {
      if (lanes.query[lane] < 0) {
        continue;
      }
      const std::uint8_t* visible = mask_row(p, lanes, lane, key);
      if (all_equal(visible, p.mask.stride[3], num_keys, true)) {
        continue;
      }
      for (int j = 0; j < num_keys; ++j) {
        BitsOfFloat& bits = ((BitsOfFloat*)scores)[j * GROUP + lane];
        const std::int32_t kept = -std::int32_t(visible[j * p.mask.stride[3]] != 0);
        bits = (bits & kept) | (MINUS_INFINITE_BITS & ~kept); // without a branch, which would be mispredicted
      }
    }
  }
}
