// Instance norm, ReLU and 2x2 average pooling of channels-last images in one pass, with backward.
//
// out[i, j, c] = mean over the 2x2 window of relu(weight[c] * (x - mean[c]) * rstd[c] + bias[c]),
// with mean and rstd over the pixels of one image and channel. All sums are float32; x, out and
// their gradients are float32 or bfloat16. One thread takes whole images, so results do not
// depend on the number of threads. Channels must be a multiple of 16. NaN passes through.
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

inline Floats load(const float* p) {
  Floats v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }

// bfloat16 is the upper half of a float32.
inline Floats load(const uint16_t* p) {
  Halves half;
  std::memcpy(&half, p, sizeof half);
  Words word = __builtin_convertvector(half, Words) << 16;
  Floats v;
  std::memcpy(&v, &word, sizeof v);
  return v;
}

// Rounds to nearest, ties to even; a NaN whose payload would overflow is made quiet first.
inline void store(uint16_t* p, Floats v) {
  Words word;
  std::memcpy(&word, &v, sizeof word);
  Words nan = (Words)(v != v);
  word = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
  word = (nan & 0x7fc0) | (~nan & word);
  Halves half = __builtin_convertvector(word, Halves);
  std::memcpy(p, &half, sizeof half);
}

struct Shape {
  int height, width, channels;
  int pooled_height() const { return height / 2; }
  int pooled_width() const { return width / 2; }
  int64_t pixel(int row, int column) const {
    return (static_cast<int64_t>(row) * width + column) * channels;
  }
  int64_t cell(int row, int column) const {
    return (static_cast<int64_t>(row) * pooled_width() + column) * channels;
  }
  // Offset of pixel d = 0..3 in the 2x2 window of a cell.
  int64_t window(int d) const { return (static_cast<int64_t>(d >> 1) * width + (d & 1)) * channels; }
};

template <class T, int K>
void forward_channels(const T* x, const float* weight, const float* bias, T* out, float* mean,
                      float* rstd, Shape s, float eps) {
  Floats sum[K], square[K], origin[K], slope[K], offset[K];
  for (int k = 0; k < K; k++) {
    sum[k] = square[k] = Floats{};
    origin[k] = load(x + k * kLanes);  // shifted sums: no cancellation for a large mean
  }
  const int pixels = s.height * s.width;
  for (int i = 0; i < pixels; i++) {
    const T* p = x + static_cast<int64_t>(i) * s.channels;
    for (int k = 0; k < K; k++) {
      Floats v = load(p + k * kLanes) - origin[k];
      sum[k] += v;
      square[k] += v * v;
    }
  }
  for (int k = 0; k < K; k++) {
    Floats m = sum[k] / static_cast<float>(pixels);
    Floats variance = square[k] / static_cast<float>(pixels) - m * m;
    Floats r;
    for (int l = 0; l < kLanes; l++) {
      r[l] = 1.0f / std::sqrt((variance[l] < 0 ? 0.0f : variance[l]) + eps);
    }
    m += origin[k];
    store(mean + k * kLanes, m);
    store(rstd + k * kLanes, r);
    slope[k] = load(weight + k * kLanes) * r * 0.25f;
    offset[k] = load(bias + k * kLanes) * 0.25f - m * slope[k];
  }
  for (int i = 0; i < s.pooled_height(); i++) {
    for (int j = 0; j < s.pooled_width(); j++) {
      const T* p = x + s.pixel(2 * i, 2 * j);
      T* o = out + s.cell(i, j);
      for (int k = 0; k < K; k++) {
        Floats total{};
        for (int d = 0; d < 4; d++) {
          Floats v = load(p + s.window(d) + k * kLanes) * slope[k] + offset[k];
          total += v < 0 ? Floats{} : v;
        }
        store(o + k * kLanes, total);
      }
    }
  }
}

template <class T, int K>
void backward_channels(const T* x, const T* grad, const float* weight, const float* bias,
                       const float* mean, const float* rstd, T* dx, float* dweight, float* dbias,
                       Shape s) {
  Floats slope[K], offset[K], sum[K], cross[K], constant[K], linear[K];
  for (int k = 0; k < K; k++) {
    slope[k] = load(weight + k * kLanes) * load(rstd + k * kLanes);
    offset[k] = load(bias + k * kLanes) - load(mean + k * kLanes) * slope[k];
    sum[k] = cross[k] = Floats{};
  }
  for (int i = 0; i < s.pooled_height(); i++) {
    for (int j = 0; j < s.pooled_width(); j++) {
      const T* p = x + s.pixel(2 * i, 2 * j);
      const T* g = grad + s.cell(i, j);
      for (int k = 0; k < K; k++) {
        Floats incoming = load(g + k * kLanes) * 0.25f, m = load(mean + k * kLanes);
        for (int d = 0; d < 4; d++) {
          Floats v = load(p + s.window(d) + k * kLanes);
          Floats active = v * slope[k] + offset[k] > 0 ? incoming : Floats{};
          sum[k] += active;
          cross[k] += active * (v - m);
        }
      }
    }
  }
  const float pixels = static_cast<float>(s.height * s.width);
  for (int k = 0; k < K; k++) {
    Floats r = load(rstd + k * kLanes), m = load(mean + k * kLanes);
    cross[k] *= r;
    store(dbias + k * kLanes, sum[k]);
    store(dweight + k * kLanes, cross[k]);
    linear[k] = -slope[k] * r * cross[k] / pixels;
    constant[k] = -slope[k] * sum[k] / pixels - linear[k] * m;
  }
  for (int i = 0; i < s.height; i++) {
    for (int j = 0; j < s.width; j++) {
      const bool pooled = i / 2 < s.pooled_height() && j / 2 < s.pooled_width();
      const T* p = x + s.pixel(i, j);
      const T* g = grad + s.cell(i / 2, j / 2);
      T* o = dx + s.pixel(i, j);
      for (int k = 0; k < K; k++) {
        Floats v = load(p + k * kLanes);
        Floats incoming = pooled ? load(g + k * kLanes) * 0.25f : Floats{};
        Floats active = v * slope[k] + offset[k] > 0 ? incoming : Floats{};
        store(o + k * kLanes, active * slope[k] + v * linear[k] + constant[k]);
      }
    }
  }
}

template <class T>
void forward(const T* x, const float* weight, const float* bias, T* out, float* mean, float* rstd,
             int images, Shape s, float eps) {
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++) {
    const int64_t row = static_cast<int64_t>(n) * s.channels;
    const T* xn = x + row * s.height * s.width;
    T* on = out + row * s.pooled_height() * s.pooled_width();
    int c = 0;
    for (; c + 2 * kLanes <= s.channels; c += 2 * kLanes) {
      forward_channels<T, 2>(xn + c, weight + c, bias + c, on + c, mean + row + c, rstd + row + c,
                             s, eps);
    }
    for (; c < s.channels; c += kLanes) {
      forward_channels<T, 1>(xn + c, weight + c, bias + c, on + c, mean + row + c, rstd + row + c,
                             s, eps);
    }
  }
}

template <class T>
void backward(const T* x, const T* grad, const float* weight, const float* bias, const float* mean,
              const float* rstd, T* dx, float* dweight, float* dbias, int images, Shape s) {
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++) {
    const int64_t row = static_cast<int64_t>(n) * s.channels;
    const T* xn = x + row * s.height * s.width;
    T* dn = dx + row * s.height * s.width;
    const T* gn = grad + row * s.pooled_height() * s.pooled_width();
    int c = 0;
    for (; c + 2 * kLanes <= s.channels; c += 2 * kLanes) {
      backward_channels<T, 2>(xn + c, gn + c, weight + c, bias + c, mean + row + c, rstd + row + c,
                              dn + c, dweight + row + c, dbias + row + c, s);
    }
    for (; c < s.channels; c += kLanes) {
      backward_channels<T, 1>(xn + c, gn + c, weight + c, bias + c, mean + row + c, rstd + row + c,
                              dn + c, dweight + row + c, dbias + row + c, s);
    }
  }
}

}  // namespace

extern "C" {

void forward_float32(const float* x, const float* weight, const float* bias, float* out,
                     float* mean, float* rstd, int images, int height, int width, int channels,
                     float eps) {
  forward(x, weight, bias, out, mean, rstd, images, Shape{height, width, channels}, eps);
}

void forward_bfloat16(const uint16_t* x, const float* weight, const float* bias, uint16_t* out,
                      float* mean, float* rstd, int images, int height, int width, int channels,
                      float eps) {
  forward(x, weight, bias, out, mean, rstd, images, Shape{height, width, channels}, eps);
}

void backward_float32(const float* x, const float* grad, const float* weight, const float* bias,
                      const float* mean, const float* rstd, float* dx, float* dweight, float* dbias,
                      int images, int height, int width, int channels) {
  backward(x, grad, weight, bias, mean, rstd, dx, dweight, dbias, images,
           Shape{height, width, channels});
}

void backward_bfloat16(const uint16_t* x, const uint16_t* grad, const float* weight,
                       const float* bias, const float* mean, const float* rstd, uint16_t* dx,
                       float* dweight, float* dbias, int images, int height, int width,
                       int channels) {
  backward(x, grad, weight, bias, mean, rstd, dx, dweight, dbias, images,
           Shape{height, width, channels});
}

}  // extern "C"
