// Small matrix products on packed tiles. No include guard: see vectors.h, which comes before this.
//
// Everything is kept transposed, a query per lane: scores are (keys, queries), outputs (head size, queries).
// Then the softmax works on whole vectors with no sum across lanes; the weights of a key are one row, which
// goes to the mass of the key's segment whatever the order of the segments; and neither keys nor values need
// transposing. Both products are the same loop, tile[r][queries] += left[r][k] * right[k][queries], where
// left is the keys for the scores, and the transposed values for the outputs.
//
// A `Dot` says how a step of that loop multiplies. Float32 takes one k at a time. Bfloat16Pairs takes two:
// its "floats" are pairs of bfloat16 for neighbouring k, and the product is accumulated in float32.

struct Float32 {
  static constexpr int DEPTH = 1; // k per step

  static inline Floats multiply_add(Floats left, Floats right, Floats sum) {
    return left * right + sum;
  }
};

#ifdef VKIT_BF16_DOT
struct Bfloat16Pairs {
  static constexpr int DEPTH = 2;

  static inline Floats multiply_add(Floats left, Floats right, Floats sum) {
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
  }
};
#endif

// tile[r][v] += sum over k of left[r * row_stride + k * step_stride] * right[k * GROUP + v * LANES ...].
template <class Dot, int VECTORS>
inline __attribute__((always_inline)) void multiply_tile(
    const float* left, std::ptrdiff_t row_stride, std::ptrdiff_t step_stride, const float* right, int steps,
    Floats (&tile)[PANEL][VECTORS]) {
  for (int k = 0; k < steps; ++k) {
    Floats queries[VECTORS];
#pragma GCC unroll 3
    for (int v = 0; v < VECTORS; ++v) {
      queries[v] = *(const Floats*)(right + v * LANES);
    }
#pragma GCC unroll 8
    for (int r = 0; r < PANEL; ++r) {
      const Floats value = splat(left[r * row_stride]);
#pragma GCC unroll 3
      for (int v = 0; v < VECTORS; ++v) {
        tile[r][v] = Dot::multiply_add(value, queries[v], tile[r][v]);
      }
    }
    left += step_stride;
    right += GROUP;
  }
}

// scores (num_panels * PANEL, GROUP) = factor * keys (num_panels * PANEL, key_stride) times queries
// (steps, GROUP), for the first VECTORS vectors of queries. Float32 has the factor in the queries already.
// A product that overflows to -inf becomes the least finite score: -inf means hidden. No number stays none.
template <class Dot, int VECTORS>
void multiply_keys(
    const float* keys, std::ptrdiff_t key_stride, int num_panels, const float* queries, int steps,
    float factor, float* scores) {
  for (int panel = 0; panel < num_panels; ++panel) {
    Floats tile[PANEL][VECTORS] = {};
    multiply_tile<Dot, VECTORS>(keys, key_stride, 1, queries, steps, tile);
#pragma GCC unroll 8
    for (int r = 0; r < PANEL; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < VECTORS; ++v) {
        const Floats score = Dot::DEPTH == 1 ? tile[r][v] : tile[r][v] * factor;
        *(Floats*)(scores + r * GROUP + v * LANES) = larger(splat(-LARGEST), score);
      }
    }
    keys += PANEL * key_stride;
    scores += PANEL * GROUP;
  }
}

// outputs (value_stride, GROUP) = outputs * decay + values (steps, value_stride)^T times weights
// (steps, GROUP). value_stride is the head size, rounded up to whole panels.
template <class Dot, int VECTORS>
void multiply_values(
    const float* values, std::ptrdiff_t value_stride, int steps, const float* weights, const Floats* decay,
    float* outputs) {
  for (std::ptrdiff_t d = 0; d < value_stride; d += PANEL) {
    Floats tile[PANEL][VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < PANEL; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < VECTORS; ++v) {
        tile[r][v] = *(const Floats*)(outputs + r * GROUP + v * LANES) * decay[v];
      }
    }
    multiply_tile<Dot, VECTORS>(values + d, 1, value_stride, weights, steps, tile);
#pragma GCC unroll 8
    for (int r = 0; r < PANEL; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < VECTORS; ++v) {
        *(Floats*)(outputs + r * GROUP + v * LANES) = tile[r][v];
      }
    }
    outputs += PANEL * GROUP;
  }
}
