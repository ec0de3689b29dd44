// Vectors of floats, written once for every instruction set. No include guard: each kernel file includes this
// inside its own namespace, after defining VKIT_VECTOR_BYTES (bytes of a vector) and VKIT_PANEL (rows of the
// micro-kernel's tile; VKIT_PANEL x 3 vectors and 4 more must fit the registers).
//
// These are the vector types of GCC and Clang, which compile to the plain instructions of the target.

typedef float Floats __attribute__((vector_size(VKIT_VECTOR_BYTES), may_alias));
typedef std::int32_t Ints __attribute__((vector_size(VKIT_VECTOR_BYTES), may_alias));
typedef std::int32_t BitsOfFloat __attribute__((may_alias));

constexpr int LANES = VKIT_VECTOR_BYTES / 4;
constexpr int PANEL = VKIT_PANEL;
constexpr int MAX_VECTORS = 3;
constexpr int GROUP = MAX_VECTORS * LANES; // queries that are worked on together, one per lane
constexpr float INFINITE = __builtin_inff();
constexpr std::int32_t MINUS_INFINITE_BITS = std::int32_t(0xff800000u);
constexpr float LARGEST = 3.402823466e38f;
constexpr double LOG2_E = 1.4426950408889634;
constexpr double LN_2 = 0.6931471805599453;

inline Floats splat(float x) {
  return x - Floats{};
}

// The larger of the two; b where either is not a number.
inline Floats larger(Floats a, Floats b) {
  return a > b ? a : b;
}

inline bool any(Ints condition) {
  std::int32_t found = 0;
  for (int i = 0; i < LANES; ++i) {
    found |= condition[i];
  }
  return found != 0;
}

// 2^x for x <= 127; 0 from x = -127 down; not a number where x is none. Relative error below 2e-7.
// x = n + f with |f| <= 1/2: adding 1.5 * 2^23 + 127 leaves n + 127 in the low bits, which are the exponent
// of 2^n, and zero for the clamped x. The polynomial is a minimax fit.
inline Floats exp2(Floats x) {
  x = larger(splat(-127.0f), x);
  const Floats shifted = x + 12583039.0f;
  const Floats f = x - (shifted - 12583039.0f);
  Floats power = f * 0.00132647273f + 0.00967151279f;
  power = power * f + 0.0555073374f;
  power = power * f + 0.240222421f;
  power = power * f + 0.693146978f;
  power = power * f + 1.0f;
  return power * (Floats)((Ints)shifted << 23);
}

// Relative error below 3e-7: a minimax polynomial near zero, where 1 - 2 / (e^2x + 1) would cancel.
inline Floats tanh(Floats x) {
  const Floats square = x * x;
  Floats near = square * 0.00214294895f - 0.00817738466f;
  near = near * square + 0.021700698f;
  near = near * square - 0.0539467621f;
  near = near * square + 0.13333206f;
  near = near * square - 0.333333308f;
  near = near * square * x + x;
  const Floats size = larger(x, -x);
  const Floats clamped = size > 20.0f ? splat(20.0f) : size; // tanh is 1 long before
  const Floats far = 1.0f - 2.0f / (exp2(clamped * float(2 * LOG2_E)) + 1.0f);
  return size < 0.625f ? near : (x < 0.0f ? -far : far);
}
