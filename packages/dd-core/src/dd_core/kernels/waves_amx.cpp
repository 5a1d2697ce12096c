// Means of cos and sin of the projections of bfloat16 vectors on frequencies, and their gradient,
// by the AMX unit. amx_product.hpp comes before in the same translation unit.
//
// A matrix is a sequence of tiles of 16 rows by 32 bfloat16 values, one after another along the sum
// of the product. The frequencies are the right side, whose tiles hold pairs of values, of the
// forward and of the backward product, so they are packed twice, once for all products with them.
// Each sum runs over all rows in their order, in one thread.
#ifdef HAS_AMX

namespace {

constexpr int kRows = 16;            // of a tile
constexpr int kRowTilesAtOnce = 16;  // row tiles that stay in the cache of a core

// M row tiles by two column tiles of the product; `c` takes 2 M tiles of sums, by row tiles.
template <int M>
void multiply_block(const bf16* a, const bf16* b, int steps, float* c) {
  asm volatile("" ::: "memory");  // the compiler does not see that tile instructions read memory
  const int64_t next = (int64_t)steps * kTile;
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (M > 1) _tile_zero(2);
  if constexpr (M > 1) _tile_zero(3);
  for (int k = 0; k < steps; k++, a += kTile, b += kTile) {
    if (k % 24 == 23) _tile_stored(0, c, 64);  // against a stall, see `multiply`
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + next, 64);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (M > 1) {
      _tile_loadd(5, a + next, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, 64);
  _tile_stored(1, c + 256, 64);
  if constexpr (M > 1) _tile_stored(2, c + 512, 64);
  if constexpr (M > 1) _tile_stored(3, c + 768, 64);
}

void multiply_block(int m, const bf16* a, const bf16* b, int steps, float* c) {
  m == 2 ? multiply_block<2>(a, b, steps, c) : multiply_block<1>(a, b, steps, c);
}

// Tiles of 16 frequencies by 32 features: the pair of features k of frequency f at (k, f).
void pack_forward(const float* t, int frequencies, int features, bf16* out) {
  const __m512i column = _mm512_mullo_epi32(_mm512_set1_epi32(16), _mm512_set_epi32(
      15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
#pragma omp for schedule(static)
  for (int f = 0; f < frequencies; f += kLanes)
    for (int k = 0; k < features; k += kPlane) {
      int32_t* tile = (int32_t*)(out + ((int64_t)f * features + (int64_t)k * kLanes));
      for (int r = 0; r < kLanes; r++) {
        const float* p = t + (int64_t)(f + r) * features + k;
        const __m512i pairs = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(p + kLanes),
                                                           _mm512_loadu_ps(p));
        _mm512_i32scatter_epi32(tile + r, column, pairs, 4);
      }
    }
}

// Tiles of 32 frequencies by 16 features: the pair of frequencies f of feature k at (f, k).
void pack_backward(const float* t, int frequencies, int features, bf16* out) {
  alignas(64) int16_t order[kPlane];
  for (int i = 0; i < kPlane; i++) order[i] = i / 2 + i % 2 * kLanes;
  const __m512i interleave = _mm512_load_si512(order);
#pragma omp for schedule(static)
  for (int f = 0; f < frequencies; f += kPlane)
    for (int k = 0; k < features; k += kLanes) {
      bf16* tile = out + ((int64_t)k * frequencies + (int64_t)f * kLanes);
      for (int r = 0; r < kPlane; r += 2, tile += kPlane) {
        const float* p = t + (int64_t)(f + r) * features + k;
        const __m512i rows = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(p + features),
                                                          _mm512_loadu_ps(p));
        _mm512_store_si512(tile, _mm512_permutexvar_epi16(interleave, rows));
      }
    }
}

// Row tiles of the vectors x; rows beyond the last are zero.
void pack_rows(const bf16* x, int n, int features, bf16* out) {
  for (int i = 0; i < n; i++)
    for (int k = 0; k < features; k += kPlane) {
      const int64_t at = (int64_t)(i / kRows * kRows) * features + k * kRows + i % kRows * kPlane;
      _mm512_store_si512(out + at, _mm512_loadu_si512(x + (int64_t)i * features + k));
    }
}

struct Wave {
  __m512 cos, sin;
};

// To about 1e-7 for angles up to some thousands; then the error grows with the angle.
Wave wave(__m512 angle) {
  auto all = [](float v) { return _mm512_set1_ps(v); };
  const __m512i quarter = _mm512_cvtps_epi32(angle * all(0.63661977f));
  const __m512 turns = _mm512_cvtepi32_ps(quarter);
  __m512 r = _mm512_fnmadd_ps(turns, all(1.5707964f), angle);  // less multiples of pi / 2, in two
  r = _mm512_fnmadd_ps(turns, all(-4.371139e-8f), r);          // parts
  const __m512 z = r * r;
  __m512 s = _mm512_fmadd_ps(z, all(-1.9515296e-4f), all(8.3321609e-3f));  // after Cephes
  s = _mm512_fmadd_ps(_mm512_fmadd_ps(s, z, all(-1.6666655e-1f)), z * r, r);
  __m512 c = _mm512_fmadd_ps(z, all(2.4433157e-5f), all(-1.3887316e-3f));
  c = _mm512_fmadd_ps(_mm512_fmadd_ps(c, z, all(4.1666646e-2f)), z * z, all(1));
  c = _mm512_fnmadd_ps(z, all(0.5f), c);
  const __mmask16 odd = _mm512_test_epi32_mask(quarter, _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(quarter, _mm512_set1_epi32(1));
  auto signed_by = [](__m512 v, __m512i q) {  // bit 1 of q goes to the sign
    const __m512i sign = _mm512_slli_epi32(_mm512_and_si512(q, _mm512_set1_epi32(2)), 30);
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(v), sign));
  };
  return {signed_by(_mm512_mask_mov_ps(c, odd, s), up),
          signed_by(_mm512_mask_mov_ps(s, odd, c), quarter)};
}

struct Waves {
  int n, frequencies, features;

  int row_tiles() const { return (n + kRows - 1) / kRows; }
};

// Adds cos and sin of 32 frequencies over a row tile to sums[4], and writes them down as tiles.
void add_waves(const float* angles, int rows, __m512* sums, bf16* cos, bf16* sin) {
  for (int i = 0; i < rows; i++) {
    const Wave low = wave(_mm512_load_ps(angles + i * kLanes));
    const Wave high = wave(_mm512_load_ps(angles + 256 + i * kLanes));
    sums[0] += low.cos, sums[1] += high.cos, sums[2] += low.sin, sums[3] += high.sin;
    if (!cos) continue;
    _mm512_stream_si512((__m512i*)(cos + i * kPlane),
                        (__m512i)_mm512_cvtne2ps_pbh(high.cos, low.cos));
    _mm512_stream_si512((__m512i*)(sin + i * kPlane),
                        (__m512i)_mm512_cvtne2ps_pbh(high.sin, low.sin));
  }
}

// The gradient of the angles of a row tile, by that of the sums over cos and over sin.
void angle_gradient(const Waves& w, const bf16* cos, const bf16* sin, const float* grad,
                    bf16* out) {
  for (int f = 0; f < w.frequencies; f += kPlane) {
    for (int i = 0; i < kRows; i++, cos += kPlane, sin += kPlane, out += kPlane) {
      __m512 d[2];
      for (int h = 0; h < 2; h++) {
        const float* g = grad + f + h * kLanes;
        d[h] = _mm512_loadu_ps(g + w.frequencies) * widen(cos + h * kLanes) -
               _mm512_loadu_ps(g) * widen(sin + h * kLanes);
      }
      _mm512_store_si512(out, (__m512i)_mm512_cvtne2ps_pbh(d[1], d[0]));
    }
  }
}

}  // namespace

extern "C" {

// Packs frequencies, of shape (frequencies, features), both multiples of 32, as bfloat16.
void waves_pack(const float* t, uint16_t* forward, uint16_t* backward, int frequencies,
                int features, int threads) {
#pragma omp parallel num_threads(threads)
  {
    pack_forward(t, frequencies, features, forward);
    pack_backward(t, frequencies, features, backward);
  }
}

// sums: (2, frequencies), of cos and of sin over the n vectors x. kept, unless it is null, takes
// all cos and all sin, each of the n vectors rounded up to 16 times the frequencies.
void waves_sum(const uint16_t* x, const uint16_t* packed, float* sums, uint16_t* kept, int n,
               int frequencies, int features, int threads) {
  const Waves w{n, frequencies, features};
  const int tiles = w.row_tiles(), steps = features / kPlane;
  Packed rows((size_t)tiles * kRows * features, 0);
  pack_rows(x, n, features, rows.data());
  std::memset(sums, 0, 2 * sizeof(float) * frequencies);
#pragma omp parallel num_threads(threads)
  {
    const TileConfig config;
    _tile_loadconfig(&config);
    alignas(64) float angles[4 * 256];
    for (int first = 0; first < tiles; first += kRowTilesAtOnce) {
      const int end = std::min(tiles, first + kRowTilesAtOnce);
#pragma omp for schedule(static)
      for (int f = 0; f < frequencies; f += kPlane) {
        float* s = sums + f;
        __m512 total[4];
        for (int k = 0; k < 4; k++)
          total[k] = _mm512_loadu_ps(s + k / 2 * frequencies + k % 2 * kLanes);
        for (int t = first; t < end; t += 2) {
          const int m = std::min(2, end - t);
          multiply_block(m, rows.data() + (int64_t)t * steps * kTile,
                         packed + (int64_t)f * features, steps, angles);
          for (int i = t; i < t + m; i++) {
            const int64_t at = ((int64_t)i * (frequencies / kPlane) + f / kPlane) * kTile;
            bf16* cos = kept ? kept + at : nullptr;
            bf16* sin = kept ? cos + (int64_t)tiles * kRows * frequencies : nullptr;
            add_waves(angles + (i - t) * 512, std::min(kRows, n - i * kRows), total, cos, sin);
          }
        }
        for (int k = 0; k < 4; k++)
          _mm512_storeu_ps(s + k / 2 * frequencies + k % 2 * kLanes, total[k]);
      }
    }
    _mm_sfence();  // what was kept went past the caches
    _tile_release();
  }
}

// The gradient of x from that of the sums and from what was kept.
void waves_gradient(const uint16_t* kept, const uint16_t* packed, const float* grad, uint16_t* out,
                    int n, int frequencies, int features, int threads) {
  const Waves w{n, frequencies, features};
  const int tiles = w.row_tiles(), steps = frequencies / kPlane;
  const bf16* sin = kept + (int64_t)tiles * kRows * frequencies;
  const int64_t row_tile = (int64_t)steps * kTile;
  Packed angles((size_t)std::min(tiles, kRowTilesAtOnce / 2) * row_tile);
#pragma omp parallel num_threads(threads)
  {
    const TileConfig config;
    _tile_loadconfig(&config);
    alignas(64) float c[4 * 256];
    for (int first = 0; first < tiles; first += kRowTilesAtOnce / 2) {
      const int end = std::min(tiles, first + kRowTilesAtOnce / 2);
#pragma omp for schedule(static)
      for (int t = first; t < end; t++)
        angle_gradient(w, kept + t * row_tile, sin + t * row_tile, grad,
                       angles.data() + (t - first) * row_tile);
#pragma omp for schedule(static)
      for (int k = 0; k < features; k += kPlane)
        for (int t = first; t < end; t += 2) {
          const int m = std::min(2, end - t);
          multiply_block(m, angles.data() + (t - first) * row_tile,
                         packed + (int64_t)k * frequencies, steps, c);
          for (int i = 0; i < m * kRows && t * kRows + i < n; i++) {
            const float* row = c + i / kRows * 512 + i % kRows * kLanes;
            uint16_t* o = out + (int64_t)(t * kRows + i) * features + k;
            _mm512_storeu_si512(o, (__m512i)_mm512_cvtne2ps_pbh(_mm512_load_ps(row + 256),
                                                                _mm512_load_ps(row)));
          }
        }
    }
    _tile_release();
  }
}

}  // extern "C"

#endif
