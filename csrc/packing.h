// Copies tensors, whatever their strides, into the aligned tiles of microkernel.h. No include guard: see
// vectors.h. Packing is one pass over the keys per task, about 1% of the time of the products.
//
// A `Tiles` is how tensors of one dtype are multiplied: the `Dot` of microkernel.h, and the packing it needs.
// Head sizes are rounded up with zeros, to whole panels for the values and to whole steps for the keys.

constexpr int round_up(int x, int multiple) {
  return (x + multiple - 1) / multiple * multiple;
}

inline float to_float(float x) {
  return x;
}

inline float to_float(std::uint16_t bfloat16) {
  const std::uint32_t bits = std::uint32_t(bfloat16) << 16;
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

inline void from_float(float x, float* stored) {
  *stored = x;
}

inline void from_float(float x, std::uint16_t* stored) { // to the nearest, ties to even
  std::uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  *stored = is_nan ? 0x7fc0 : std::uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// A matrix inside a tensor.
template <class T>
struct Rows {
  const T* data;
  std::ptrdiff_t stride, element_stride;
};

template <class T>
Rows<T> rows_of(const Strided<const void>& tensor, std::int64_t item, std::int64_t head, std::int64_t first) {
  const std::ptrdiff_t* stride = tensor.stride;
  const T* data = (const T*)tensor.data + item * stride[0] + head * stride[1] + first * stride[2];
  return {data, stride[2], stride[3]};
}

// Tensors of float32 or (T = uint16_t) bfloat16, multiplied in float32.
template <class T>
struct Float32Tiles : Float32 {
  typedef T Stored;

  // packed (packed_rows, packed_size), of which the first rows and the first `size` columns are not zero.
  static void pack(Rows<T> from, int rows, int size, int packed_rows, int packed_size, float* packed) {
    for (int row = 0; row < packed_rows; ++row, packed += packed_size) {
      const T* elements = from.data + row * from.stride;
      const int filled = row < rows ? size : 0;
      if (from.element_stride == 1) {
        for (int d = 0; d < filled; ++d) {
          packed[d] = to_float(elements[d]);
        }
      } else {
        for (int d = 0; d < filled; ++d) {
          packed[d] = to_float(elements[d * from.element_stride]);
        }
      }
      for (int d = filled; d < packed_size; ++d) {
        packed[d] = 0.0f;
      }
    }
  }

  static void pack_keys(Rows<T> from, int rows, int size, float* packed) {
    pack(from, rows, size, round_up(rows, PANEL), size, packed);
  }

  static void pack_values(Rows<T> from, int rows, int size, float* packed) {
    pack(from, rows, size, rows, round_up(size, PANEL), packed);
  }

  // One query, to a column of packed (size, GROUP).
  static void pack_query(const T* from, std::ptrdiff_t stride, int size, float factor, float* packed) {
    for (int d = 0; d < size; ++d) {
      packed[d * GROUP] = to_float(from[d * stride]) * factor;
    }
  }

  static void pack_weights(float*, int) {}
};

#ifdef VKIT_BF16_DOT
// Tensors of bfloat16, multiplied in pairs: the weights are rounded to bfloat16 too.
struct Bfloat16Tiles : Bfloat16Pairs {
  typedef std::uint16_t Stored;

  // packed (rows, pairs): each float holds two neighbouring elements of a row.
  static void pack_keys(Rows<std::uint16_t> from, int rows, int size, float* packed) {
    const int packed_size = round_up(size, 2);
    for (int row = 0; row < round_up(rows, PANEL); ++row) {
      std::uint16_t* to = (std::uint16_t*)packed + row * packed_size;
      const std::uint16_t* elements = from.data + row * from.stride;
      const int filled = row < rows ? size : 0;
      for (int d = 0; d < filled; ++d) {
        to[d] = elements[d * from.element_stride];
      }
      for (int d = filled; d < packed_size; ++d) {
        to[d] = 0;
      }
    }
  }

  // packed (pairs of rows, head size): each float holds an element of two neighbouring rows.
  static void pack_values(Rows<std::uint16_t> from, int rows, int size, float* packed) {
    const int packed_size = round_up(size, PANEL);
    for (int row = 0; row < rows; row += 2) {
      std::uint32_t* to = (std::uint32_t*)packed + row / 2 * packed_size;
      const std::uint16_t* first = from.data + row * from.stride;
      const std::uint16_t* second = first + from.stride;
      for (int d = 0; d < size; ++d) {
        const std::ptrdiff_t at = d * from.element_stride;
        to[d] = first[at] | std::uint32_t(row + 1 < rows ? second[at] : 0) << 16;
      }
      for (int d = size; d < packed_size; ++d) {
        to[d] = 0;
      }
    }
  }

  // The factor is applied to the scores instead: the rounded query would lose it.
  static void pack_query(const std::uint16_t* from, std::ptrdiff_t stride, int size, float, float* packed) {
    for (int d = 0; d < round_up(size, 2); ++d) {
      ((std::uint16_t*)(packed + d / 2 * GROUP))[d % 2] = d < size ? from[d * stride] : 0;
    }
  }

  // weights (rows, GROUP) of float32, none negative, to (pairs of rows, GROUP), in place and rounded.
  static void pack_weights(float* weights, int rows) {
    for (int row = 0; row < rows; row += 2) {
      for (int lane = 0; lane < GROUP; lane += LANES) {
        const float* pair = weights + row * GROUP + lane;
        const Ints first = *(const Ints*)pair + 0x8000;
        const Ints second = row + 1 < rows ? *(const Ints*)(pair + GROUP) + 0x8000 : Ints{};
        *(Ints*)(weights + row / 2 * GROUP + lane) = first >> 16 | (second & ~0xffff);
      }
    }
  }
};
#endif
