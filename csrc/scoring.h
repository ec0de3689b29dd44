// The scores of packed queries and keys, which both operators begin with. No include guard: see vectors.h.
//
// Scores are kept in base 2, as s * log2(e), so that a weight is 2^(score - maximum).

// Cuts aligned arrays from one piece of memory; with no memory it only adds up their sizes.
struct Carver {
  char* memory;
  std::size_t used = 0;

  float* floats(std::size_t count) {
    float* start = memory ? (float*)(memory + used) : nullptr;
    used += (count * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return start;
  }
};

inline float score_factor(const Scoring& p) {
  return p.softcap ? p.scale / p.softcap : float(p.scale * LOG2_E);
}

template <class Tiles>
int steps_of(int size) {
  return (size + Tiles::DEPTH - 1) / Tiles::DEPTH;
}

template <class Tiles>
void pack_queries(const Scoring& p, const Lanes& lanes, float* packed) {
  const int size = int(p.head_size);
  for (int i = 0; i < steps_of<Tiles>(size) * GROUP; i += LANES) {
    *(Floats*)(packed + i) = Floats{};
  }
  for (int lane = 0; lane < lanes.count; ++lane) {
    if (lanes.query[lane] >= 0) {
      const auto row = rows_of<typename Tiles::Stored>(p.query, lanes.item, lanes.head, lanes.query[lane]);
      Tiles::pack_query(row.data, row.element_stride, size, score_factor(p), packed + lane);
    }
  }
}

// Scores (num_keys, GROUP) of the packed keys from first_key on: scale, softcap and visibility applied.
template <class Tiles>
void score_keys(
    const Scoring& p, const Lanes& lanes, std::int64_t first_key, int num_keys, const float* keys,
    const float* queries, float* scores) {
  const int steps = steps_of<Tiles>(int(p.head_size));
  const int panels = (num_keys + PANEL - 1) / PANEL;
  const float factor = score_factor(p);
  switch (lanes.vectors) {
    case 1: multiply_keys<Tiles, 1>(keys, steps, panels, queries, steps, factor, scores); break;
    case 2: multiply_keys<Tiles, 2>(keys, steps, panels, queries, steps, factor, scores); break;
    default: multiply_keys<Tiles, 3>(keys, steps, panels, queries, steps, factor, scores);
  }
  if (p.softcap) {
    const float largest = float(p.softcap * LOG2_E);
    for (int i = 0; i < num_keys * GROUP; i += LANES) {
      *(Floats*)(scores + i) = tanh(*(Floats*)(scores + i)) * largest;
    }
  }
  hide_scores(p, lanes, first_key, num_keys, scores);
}
