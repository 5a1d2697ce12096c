// Convolutions of bfloat16 images as matrix products of the AMX unit. amx_block.hpp or
// waves_amx.cpp follows in the same translation unit.
//
// Layout. A "plane" holds 32 channels of an image, pixel by pixel (64 bytes a pixel), with a border
// of zeros. Sixteen consecutive pixels of it are one AMX tile of 16 x 32 values, and shifting the
// start by a pixel or a row gives the tile of another tap of the convolution: nothing is copied.
// Results are in "panels" of 16 channels: pixel by pixel, 16 float32 values (64 bytes) each.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512BF16__) && \
    defined(__AVX512BW__) && defined(__linux__)
#define HAS_AMX 1
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace {

typedef uint16_t bf16;
constexpr int kLanes = 16, kPlane = 32;  // channels of a panel and of a plane
constexpr int kTile = 16 * kPlane;       // values of a tile of bfloat16
constexpr int kSlack = 32;               // pixels after a plane that the last tile may touch

__m256i narrow(__m512 v) { return (__m256i)_mm512_cvtneps_pbh(v); }

bf16 narrow(float v) {
  return (bf16)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set1_ps(v)), 0);
}

float widen(bf16 v) {
  const uint32_t word = (uint32_t)v << 16;
  float f;
  std::memcpy(&f, &word, sizeof f);
  return f;
}

__m512 widen(__m256i v) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

__m512 widen(const bf16* at) { return widen(_mm256_load_si256((const __m256i*)at)); }

// Memory for a vector that begins at a cache line: a tile row must not lie in two of them.
template <class T>
struct Aligned {
  typedef T value_type;
  T* allocate(size_t n) { return (T*)std::aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64); }
  void deallocate(T* p, size_t) { std::free(p); }
  bool operator==(const Aligned&) const { return true; }
  bool operator!=(const Aligned&) const { return false; }
};

typedef std::vector<bf16, Aligned<bf16>> Packed;

// A convolution as a matrix product: (pixels, steps * 32) by (steps * 32, channels).
struct Product {
  int planes, taps, channels;  // planes of the input; taps 9, 3 in a column, or 1; output channels
  int pitch;                   // pixels from one row of the input plane to the next
  int start;                   // pixel of the input plane where output pixel (0, 0) has its tap 0
  int64_t plane;               // values of one input plane
  int height, width;           // of the output
  bool exact;  // tiles hold output pixels only; else rows are as long as in the input

  int rows() const { return exact ? width : pitch; }  // pixels from row to row of an output panel
  int tiles() const { return ((height - 1) * rows() + width + 15) / 16; }
  int64_t panel() const { return (int64_t)(tiles() + 1) * 16 * kLanes; }  // with room for a strip
  int panels() const { return (channels + kLanes - 1) / kLanes; }
  int steps() const { return planes * taps; }

  // Where the input of a tile begins.
  int64_t input(int tile) const {
    const int p = tile * 16;
    return (int64_t)kPlane * (start + (exact ? p / width * pitch + p % width : p));
  }

  // Rows of a strip: an even number, about as many as the unit has tiles for.
  int strip_rows() const { return rows() > 20 ? 4 : 40 / rows() * 2; }

  // The product for the strip of output rows that begins at this row.
  Product strip(int row) const {
    Product s = *this;
    s.height = height - row < strip_rows() ? height - row : strip_rows();
    return s;
  }
};

Product convolution(int in_channels, int out_channels, int pitch, int plane_rows, int start,
                    int height, int width) {
  const int64_t plane = (int64_t)kPlane * (pitch * plane_rows + kSlack);
  const int planes = (in_channels + kPlane - 1) / kPlane;
  return {planes, 9, out_channels, pitch, start, plane, height, width, width % 16 == 0};
}

// A product of the values of every pixel alone, or of those of the pixels 0, 1 and 2 rows below.
// The plane has no border but `border` rows above, and below.
Product on_pixels(int values, int channels, int height, int width, int border, int taps) {
  const int rows = height + 2 * border;
  const int64_t plane = (int64_t)kPlane * (rows * width + kSlack);
  const int start = taps == 1 ? border * width : 0, planes = (values + kPlane - 1) / kPlane;
  return {planes, taps, channels, width, start, plane, height, width, true};
}

// Puts the 16 values of two rows in pairs: of the even row first, then of the odd one.
__m512i in_pairs(__m256i even, __m256i odd) {
  const __m512i order = _mm512_set_epi32(
      0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008, 0x170007,
      0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
  const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1);
  return _mm512_permutexvar_epi16(order, both);
}

// Weights as AMX wants them: for each panel of 16 columns and each step, 16 rows of 16 pairs.
// weights(r, tap, c) are those of input channel r, below `rows`, and output channels c to c + 15.
template <class Weights>
Packed pack(const Product& p, int rows, Weights weights) {
  Packed packed((size_t)p.panels() * p.steps() * kTile);
  bf16* o = packed.data();
  auto row = [&](int r, int tap, int c) {
    return r < rows ? narrow(weights(r, tap, c)) : __m256i{};
  };
  for (int c = 0; c < p.channels; c += kLanes)
    for (int plane = 0; plane < p.planes; plane++)
      for (int tap = 0; tap < p.taps; tap++)
        for (int r = plane * kPlane; r < (plane + 1) * kPlane; r += 2, o += kPlane)
          _mm512_store_si512(o, in_pairs(row(r, tap, c), row(r + 1, tap, c)));
  return packed;
}

// 0 to 15 times a number.
__m512i multiples(int of) {
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_mullo_epi32(lane, _mm512_set1_epi32(of));
}

// 16 values that lie `stride` apart.
__m512 apart(const float* at, int stride) {
  return _mm512_i32gather_ps(multiples(stride), at, 4);
}

// Multiplies M tiles of pixels by one panel of weights; the tiles 0 to M - 1 gather the sums.
template <int M, int Taps>
void multiply(const bf16* a, const Product& p, int tile, const bf16* w, float* c) {
  asm volatile("" ::: "memory");  // the compiler does not see that tile instructions read memory
  const bf16* rows[M];
  for (int i = 0; i < M; i++)
    rows[i] = a + (Taps == 9 ? p.input(tile + i) : (int64_t)p.start * kPlane + (tile + i) * kTile);
  _tile_zero(0);
  if constexpr (M > 1) _tile_zero(1);
  if constexpr (M > 2) _tile_zero(2);
  if constexpr (M > 3) _tile_zero(3);
  if constexpr (M > 4) _tile_zero(4);
  for (int plane = 0; plane < p.planes; plane++) {
    // More than about 110 products without a store end in a stall of some 250 ns, as measured on
    // Sapphire Rapids. This store has no other purpose; the last one overwrites it.
    if (plane && plane % 2 == 0) _tile_stored(0, c, 64);
#pragma GCC unroll 9
    for (int tap = 0; tap < Taps; tap++, w += kTile) {
      const int row = Taps == 3 ? tap : tap / 3, column = Taps == 3 ? 0 : tap % 3;
      const int64_t at = plane * p.plane + (int64_t)kPlane * (row * p.pitch + column);
      _tile_loadd(7, w, 64);
      _tile_loadd(6, rows[0] + at, 64);
      _tile_dpbf16ps(0, 6, 7);
      if constexpr (M > 1) {
        _tile_loadd(5, rows[1] + at, 64);
        _tile_dpbf16ps(1, 5, 7);
      }
      if constexpr (M > 2) {
        _tile_loadd(6, rows[2] + at, 64);
        _tile_dpbf16ps(2, 6, 7);
      }
      if constexpr (M > 3) {
        _tile_loadd(5, rows[3] + at, 64);
        _tile_dpbf16ps(3, 5, 7);
      }
      if constexpr (M > 4) {
        _tile_loadd(6, rows[4] + at, 64);
        _tile_dpbf16ps(4, 6, 7);
      }
    }
  }
  _tile_stored(0, c, 64);
  if constexpr (M > 1) _tile_stored(1, c + 256, 64);
  if constexpr (M > 2) _tile_stored(2, c + 512, 64);
  if constexpr (M > 3) _tile_stored(3, c + 768, 64);
  if constexpr (M > 4) _tile_stored(4, c + 1024, 64);
}

template <int Taps>
void multiply_tiles(const bf16* a, const Product& p, const bf16* w, float* c) {
  for (int t = 0, left = p.tiles(); left > 0;) {
    const int m = left <= 5 ? left : left < 8 ? 3 : 4;  // a single chain of sums would be slow
    switch (m) {
      case 5: multiply<5, Taps>(a, p, t, w, c); break;
      case 4: multiply<4, Taps>(a, p, t, w, c); break;
      case 3: multiply<3, Taps>(a, p, t, w, c); break;
      case 2: multiply<2, Taps>(a, p, t, w, c); break;
      default: multiply<1, Taps>(a, p, t, w, c);
    }
    t += m, left -= m, c += m * 16 * kLanes;
  }
}

// All output pixels of p, or of a strip, for one panel of the packed weights.
void multiply_panel(const bf16* a, const Product& p, int panel, const bf16* packed, float* c) {
  const bf16* w = packed + (int64_t)panel * p.steps() * kTile;
  if (p.taps == 9) {
    multiply_tiles<9>(a, p, w, c);
  } else if (p.taps == 3) {
    multiply_tiles<3>(a, p, w, c);
  } else {
    multiply_tiles<1>(a, p, w, c);
  }
}

struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

}  // namespace

#endif
