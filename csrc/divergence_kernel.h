// One row of the divergence: its three parts, and in place the gradient. No include guard: the file of each
// instruction set includes this inside its own namespace, see divergence_avx512.cpp.
//
// A row of 51200 floats is 200 KB, so student and teacher stay in the L2 cache while they are read two or three
// times: for the maxima (and the moments of a z-score), for the sums of exponentials, and for the gradient.
// Exponentials are computed again for the gradient: two cost as much as fetching them from the L2 cache would.
//
// With u = (a - max(a)) / tau and w = (b - max(b)) / tau, which lose nothing to large common offsets,
//     d = u - w = log p - log q + log(sum exp(u)) - log(sum exp(w))

#include "vectors.h"

typedef float LooseFloats __attribute__((vector_size(VKIT_VECTOR_BYTES), aligned(4), may_alias));

constexpr float LOGIT_LIMIT = 1e30f;
constexpr double STD_EPSILON = 1e-6;
constexpr std::int64_t VECTORS_PER_SUM = 128; // after which partial sums are put aside: rounding stays small

#define VKIT_INLINE __attribute__((always_inline))

// Walking a row ------------------------------------------------------------------------------------------

// A vector inside the row.
struct Whole {
  Floats load(const float* from) const {
    return *(const LooseFloats*)from;
  }
  void store(Floats x, float* to) const {
    *(LooseFloats*)to = x;
  }
  Floats only(Floats x, float) const {
    return x;
  }
};

// The row's last vector, of which the row has `count` lanes.
struct Part {
  int count;

  Floats load(const float* from) const {
    Floats x = {};
    for (int lane = 0; lane < count; ++lane) {
      x[lane] = from[lane];
    }
    return x;
  }
  void store(Floats x, float* to) const {
    for (int lane = 0; lane < count; ++lane) {
      to[lane] = x[lane];
    }
  }
  Floats only(Floats x, float otherwise) const {
    for (int lane = count; lane < LANES; ++lane) {
      x[lane] = otherwise;
    }
    return x;
  }
};

// body(access, first index) for every vector, and settle() after every VECTORS_PER_SUM of them and at the end.
template <class Body, class Settle>
inline void each_vector(std::int64_t size, Body body, Settle settle) {
  std::int64_t i = 0;
  while (i + LANES <= size) {
    std::int64_t end = i + VECTORS_PER_SUM * LANES;
    end = end < size ? end : size;
    for (; i + LANES <= end; i += LANES) {
      body(Whole(), i);
    }
    settle();
  }
  if (i < size) {
    body(Part{int(size - i)}, i);
    settle();
  }
}

struct Sum {
  Floats recent = {}, settled = {};

  void settle() {
    settled += recent;
    recent = Floats{};
  }
  double total() const {
    double sum = 0;
    for (int lane = 0; lane < LANES; ++lane) {
      sum += settled[lane];
    }
    return sum;
  }
};

inline float largest_lane(Floats x) {
  float largest = x[0];
  for (int lane = 1; lane < LANES; ++lane) {
    largest = x[lane] > largest ? x[lane] : largest;
  }
  return largest;
}

// Logits -------------------------------------------------------------------------------------------------

inline Floats within_limit(Floats x) { // a NaN stays one
  x = x > LOGIT_LIMIT ? splat(LOGIT_LIMIT) : x;
  return x < -LOGIT_LIMIT ? splat(-LOGIT_LIMIT) : x;
}

// What is multiplied by the `span` below to give the soft-capped logit. Differences of these are exactly zero
// for equal logits, where the compiler would contract those of the products.
template <bool CAPPED>
inline Floats unit_logits(Floats x, float inverse_softcap) {
  x = within_limit(x);
  return CAPPED ? tanh(x * inverse_softcap) : x;
}

// The softcap's slope, and zero beyond the limit; x are raw logits.
template <bool CAPPED>
inline Floats through_cap(Floats gradient, Floats x, Floats unit) {
  if (CAPPED) {
    gradient *= 1.0f - unit * unit;
  }
  return (x > LOGIT_LIMIT) | (x < -LOGIT_LIMIT) ? Floats{} : gradient;
}

// A row of logits. Where nothing else is said, numbers are in units of the span.
struct Logits {
  float maximum;
  float mean = 0.0f;
  double deviation = 1.0;         // of the logits
  double inverse_deviation = 1.0; // 1 / (deviation + STD_EPSILON), or 1
};

template <bool CAPPED>
inline double span_of(const DivergenceRows& p) {
  return CAPPED ? double(p.softcap) : 1.0;
}

// The maximum ignores NaN: they show in the sums.
template <bool CAPPED>
inline Logits plain_logits(const DivergenceRows& p, const float* data) {
  Floats maximum[2] = {splat(-LOGIT_LIMIT), splat(-LOGIT_LIMIT)};
  const std::int64_t size = p.vocabulary;
  std::int64_t i = 0;
  for (; i + 2 * LANES <= size; i += 2 * LANES) {
    maximum[0] = larger(Whole().load(data + i), maximum[0]);
    maximum[1] = larger(Whole().load(data + i + LANES), maximum[1]);
  }
  each_vector(
      size - i,
      [&](auto access, std::int64_t j) VKIT_INLINE {
        maximum[0] = larger(access.only(access.load(data + i + j), -LOGIT_LIMIT), maximum[0]);
      },
      [] {});
  const Floats largest = splat(largest_lane(larger(maximum[0], maximum[1])));
  return {unit_logits<CAPPED>(largest, 1.0f / p.softcap)[0]};
}

// With the moments of the z-score. The unbiased deviation of a single logit is taken as zero.
template <bool CAPPED>
inline Logits standardized_logits(const DivergenceRows& p, const float* data) {
  const float inverse_softcap = 1.0f / p.softcap;
  const std::int64_t size = p.vocabulary;
  Floats highest = splat(-LOGIT_LIMIT), lowest = splat(LOGIT_LIMIT);
  Sum sum;
  each_vector(
      size,
      [&](auto access, std::int64_t i) VKIT_INLINE {
        const Floats s = unit_logits<CAPPED>(access.load(data + i), inverse_softcap);
        highest = larger(access.only(s, -LOGIT_LIMIT), highest);
        lowest = -larger(-access.only(s, LOGIT_LIMIT), -lowest);
        sum.recent += access.only(s, 0.0f);
      },
      [&] { sum.settle(); });
  Logits logits = {largest_lane(highest)};
  const double mean = sum.total() / double(size);
  logits.mean = float(mean);
  const float minimum = -largest_lane(-lowest);
  // Squares of logits near the limit would be infinite.
  const float unit = logits.maximum < 1e15f && minimum > -1e15f ? 1.0f : 1e-20f;
  Sum squares;
  each_vector(
      size,
      [&](auto access, std::int64_t i) VKIT_INLINE {
        const Floats s = unit_logits<CAPPED>(access.load(data + i), inverse_softcap);
        const Floats centred = access.only((s - logits.mean) * unit, 0.0f);
        squares.recent += centred * centred;
      },
      [&] { squares.settle(); });
  const double variance = squares.total() / double(size > 1 ? size - 1 : 1);
  logits.deviation = __builtin_sqrt(variance) / unit * span_of<CAPPED>(p);
  logits.inverse_deviation = 1.0 / (logits.deviation + STD_EPSILON);
  return logits;
}

template <bool CAPPED, bool STANDARDIZED>
inline Logits logits_of(const DivergenceRows& p, const float* data) {
  return STANDARDIZED ? standardized_logits<CAPPED>(p, data) : plain_logits<CAPPED>(p, data);
}

// Cross-entropy alone ------------------------------------------------------------------------------------

// Adds -weight to the gradient at the label, where the raw logit was `logit`.
template <bool CAPPED>
inline void subtract_label(const DivergenceRows& p, float* gradient, float logit, float weight) {
  const Floats x = splat(logit);
  *gradient -= through_cap<CAPPED>(splat(weight), x, unit_logits<CAPPED>(x, 1.0f / p.softcap))[0];
}

template <bool CAPPED>
void cross_entropy_row(const DivergenceRows& p, std::int64_t row) {
  const std::int64_t size = p.vocabulary, label = p.labels[row];
  float* const data = p.student + row * size;
  const float inverse_softcap = 1.0f / p.softcap;
  const float maximum = plain_logits<CAPPED>(p, data).maximum, logit = data[label];
  const double span = span_of<CAPPED>(p);
  const float to_base_2 = float(span * LOG2_E);

  Sum sum;
  each_vector(
      size,
      [&](auto access, std::int64_t i) VKIT_INLINE {
        const Floats s = unit_logits<CAPPED>(access.load(data + i), inverse_softcap);
        sum.recent += access.only(exp2((s - maximum) * to_base_2), 0.0f);
      },
      [&] { sum.settle(); });
  const double total = sum.total();
  const double at_label = unit_logits<CAPPED>(splat(logit), inverse_softcap)[0];
  float* const parts = p.parts + row * 3;
  parts[0] = parts[1] = 0.0f;
  parts[2] = float(__builtin_log(total) + span * (double(maximum) - at_label));
  if (!p.gradient) {
    return;
  }
  const float weight = float(p.scale * (1.0 - p.lam)), factor = float(p.scale * (1.0 - p.lam) / total);
  each_vector(
      size,
      [&](auto access, std::int64_t i) VKIT_INLINE {
        const Floats x = access.load(data + i), s = unit_logits<CAPPED>(x, inverse_softcap);
        const Floats gradient = factor * exp2((s - maximum) * to_base_2);
        access.store(through_cap<CAPPED>(gradient, x, s), data + i);
      },
      [] {});
  subtract_label<CAPPED>(p, data + label, logit, weight);
}

// Both divergences and cross-entropy ---------------------------------------------------------------------

// PLAIN: no z-score and temperature 1, so that the cross-entropy shares the student's exponentials.
enum class Divergences { PLAIN, TEMPERED, STANDARDIZED };

template <bool CAPPED, Divergences KIND>
void divergence_row(const DivergenceRows& p, std::int64_t row) {
  constexpr bool STANDARDIZED = KIND == Divergences::STANDARDIZED, SHARED = KIND == Divergences::PLAIN;
  const std::int64_t size = p.vocabulary, label = p.labels[row];
  float* const data = p.student + row * size;
  const float* const teacher_data = p.teacher + row * size;
  const float inverse_softcap = 1.0f / p.softcap;
  const Logits student = logits_of<CAPPED, STANDARDIZED>(p, data);
  const Logits teacher = logits_of<CAPPED, STANDARDIZED>(p, teacher_data);
  const float s_maximum = student.maximum, t_maximum = teacher.maximum, logit = data[label];
  const double span = span_of<CAPPED>(p);
  const double slope = student.inverse_deviation / p.temperature; // of u by the logit
  const float s_factor = float(span * slope);
  const float t_factor = float(span * teacher.inverse_deviation / p.temperature);
  const float to_base_2 = float(span * LOG2_E);

  Sum r_sum, p_sum, p_d, q_sum, q_d; // sums of exponentials, and of these times d
  Sum p_u, q_u, p_du;                // and times u, for the gradient through the z-score
  each_vector(
      size,
      [&](auto access, std::int64_t i) VKIT_INLINE {
        const Floats s = unit_logits<CAPPED>(access.load(data + i), inverse_softcap) - s_maximum;
        const Floats t = unit_logits<CAPPED>(access.load(teacher_data + i), inverse_softcap) - t_maximum;
        const Floats u = s * s_factor, w = t * t_factor, d = u - w;
        const Floats e_p = access.only(exp2(u * float(LOG2_E)), 0.0f);
        const Floats e_q = access.only(exp2(w * float(LOG2_E)), 0.0f);
        p_sum.recent += e_p;
        q_sum.recent += e_q;
        p_d.recent += e_p * d;
        q_d.recent += e_q * d;
        if (!SHARED) {
          r_sum.recent += access.only(exp2(s * to_base_2), 0.0f);
        }
        if (STANDARDIZED) {
          p_u.recent += e_p * u;
          q_u.recent += e_q * u;
          p_du.recent += e_p * d * u;
        }
      },
      [&] {
        p_sum.settle(), q_sum.settle(), p_d.settle(), q_d.settle();
        if (!SHARED) {
          r_sum.settle();
        }
        if (STANDARDIZED) {
          p_u.settle(), q_u.settle(), p_du.settle();
        }
      });
  const double p_total = p_sum.total(), q_total = q_sum.total();
  const double r_total = SHARED ? p_total : r_sum.total();
  const double log_ratio = __builtin_log(p_total / q_total);
  const double p_mean_d = p_d.total() / p_total, q_mean_d = q_d.total() / q_total;
  const double at_label = unit_logits<CAPPED>(splat(logit), inverse_softcap)[0];
  float* const parts = p.parts + row * 3;
  parts[0] = float(p_mean_d - log_ratio);
  parts[1] = float(log_ratio - q_mean_d);
  parts[2] = float(__builtin_log(r_total) + span * (double(s_maximum) - at_label));
  if (!p.gradient) {
    return;
  }

  // By u: p (forward (d - E_p d) + backward) - backward q.
  const double divergence = p.scale * p.lam * p.temperature * p.temperature;
  const double by_forward = divergence * p.alpha, by_backward = divergence * (1.0 - p.alpha);
  const float forward = float(by_forward * slope), backward = float(by_backward * slope);
  const float p_factor = float(1.0 / p_total), q_factor = float(by_backward * slope / q_total);
  const float mean_d = float(p_mean_d);
  const float label_weight = float(p.scale * (1.0 - p.lam));
  const float r_factor = float(p.scale * (1.0 - p.lam) / r_total);
  float through_deviation = 0.0f; // (s - mean) times this, for dependence of the deviation on s
  const float mean = student.mean;
  if (STANDARDIZED && student.deviation > 0.0) {
    const double p_mean_u = p_u.total() / p_total, q_mean_u = q_u.total() / q_total;
    const double dot = by_forward * (p_du.total() / p_total - p_mean_d * p_mean_u) +
        by_backward * (p_mean_u - q_mean_u); // of the gradient by u with u
    through_deviation =
        float(dot * student.inverse_deviation * span / (double(size > 1 ? size - 1 : 1) * student.deviation));
  }
  each_vector(
      size,
      [&](auto access, std::int64_t i) VKIT_INLINE {
        const Floats x = access.load(data + i), unit = unit_logits<CAPPED>(x, inverse_softcap);
        const Floats s = unit - s_maximum;
        const Floats t = unit_logits<CAPPED>(access.load(teacher_data + i), inverse_softcap) - t_maximum;
        const Floats u = s * s_factor, w = t * t_factor, d = u - w;
        const Floats e_p = exp2(u * float(LOG2_E)), e_q = exp2(w * float(LOG2_E));
        Floats gradient = e_p * p_factor * (forward * (d - mean_d) + backward) - e_q * q_factor;
        if (STANDARDIZED) {
          gradient -= (unit - mean) * through_deviation;
        }
        gradient += r_factor * (SHARED ? e_p : exp2(s * to_base_2));
        access.store(through_cap<CAPPED>(gradient, x, unit), data + i);
      },
      [] {});
  subtract_label<CAPPED>(p, data + label, logit, label_weight);
}

template <bool CAPPED>
inline void any_row(const DivergenceRows& p, std::int64_t row) {
  if (p.teacher == nullptr) {
    cross_entropy_row<CAPPED>(p, row);
  } else if (p.standardize) {
    divergence_row<CAPPED, Divergences::STANDARDIZED>(p, row);
  } else if (p.temperature != 1.0) {
    divergence_row<CAPPED, Divergences::TEMPERED>(p, row);
  } else {
    divergence_row<CAPPED, Divergences::PLAIN>(p, row);
  }
}

void row_of(const DivergenceRows& p, std::int64_t row) {
  p.softcap > 0.0f ? any_row<true>(p, row) : any_row<false>(p, row);
}

#undef VKIT_INLINE
