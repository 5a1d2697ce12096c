// One block of the ConvNet of convnet_amx.cpp: its products, its input, its norm and its pooling.
// amx_product.hpp comes before in the same translation unit, amx_forward.hpp follows.
#ifdef HAS_AMX

namespace {

constexpr int kMostPatchChannels = 5;  // three pixels of an image have room in a panel

// One block of the network for images of one size: its input, its products and its weights.
struct Block {
  int in_channels, channels, height, width, padding;  // of the input image, before padding
  bool patches;               // few channels: the patches of 9 pixels are gathered first
  Product forward, backward;  // backward leads from the gradient of the output to the input's
  Packed weights, backward_weights, part_weights;
  // Of patches: from the weights, one pixel for each value of a patch, to what `mixing` multiplies.
  Product of_weights, mixing;
  const float *weight, *gamma, *beta;

  int pitch() const { return width + 2 * padding; }
  int padded_height() const { return height + 2 * padding; }
  int border() const { return padding < 2 ? 2 - padding : 0; }  // of the gradient of the output

  // Bytes that the forward pass keeps of an image: norms; values and masks, unless they are cheap.
  int64_t kept_norms() const { return forward.panels() * 2 * (int64_t)sizeof(__m512); }
  int64_t kept_pixels() const {  // an even number
    return ((forward.height - 1) * forward.rows() + forward.width + 1) / 2 * 2;
  }
  int64_t kept_panel() const {  // whole cache lines
    const int64_t masks = (kept_pixels() * (int64_t)sizeof(__mmask16) + 63) / 64 * 64;
    return kept_pixels() * kLanes * (int64_t)sizeof(bf16) + masks;
  }
  int64_t kept() const { return kept_norms() + (patches ? 0 : forward.panels() * kept_panel()); }
};

Block make_block(int in_channels, int channels, int height, int width, int padding) {
  Block b{in_channels, channels, height, width, padding, in_channels <= kMostPatchChannels};
  const int oh = height + 2 * padding - 2, ow = width + 2 * padding - 2;
  if (b.patches) {
    const int values = 9 * in_channels;
    b.forward = on_pixels(values, channels, oh, ow, 2, 1);
    // A row of the input's gradient comes from three rows, and of every pixel a part for each of
    // three neighbours in a row.
    b.backward = on_pixels(channels, kLanes, b.forward.strip_rows(), ow, 1, 3);
    b.of_weights = on_pixels(channels, 3 * kLanes, values + 1, 1, 0, 1);
    b.mixing = on_pixels(values, kLanes, oh, ow, 2, 3);
  } else {  // backward, the convolution with the mirrored taps, over the gradient and its border
    const int q = b.border(), pitch = ow + 2 * q, skip = padding + q - 2;
    b.forward = convolution(in_channels, channels, b.pitch(), b.padded_height(), 0, oh, ow);
    b.backward =
        convolution(channels, in_channels, pitch, oh + 2 * q, skip * (pitch + 1), height, width);
  }
  return b;
}

// Packs the weights for one direction. weight: (channels, 3, 3, in_channels).
void load_weights(Block& b, const float* weight, bool backward) {
  const int channels = b.channels, inputs = b.in_channels, row = 3 * inputs, values = 9 * inputs;
  if (b.patches) {  // the backward pass computes the products again
    b.weights = pack(b.forward, values, [=](int in, int, int out) {
      return apart(weight + (int64_t)out * values + in, values);
    });
    if (!backward) return;
    auto part = [=](int in, int tap) {
      return _mm512_maskz_loadu_ps((1 << row) - 1, weight + in * values + tap * row);
    };
    b.backward_weights = pack(b.backward, channels, [=](int in, int tap, int) {
      return part(in, 2 - tap);
    });
    b.part_weights = pack(b.of_weights, channels, [=](int in, int, int out) {
      return part(in, out / kLanes);
    });
    b.weight = weight;
  } else if (backward) {
    b.backward_weights = pack(b.backward, channels, [=](int in, int tap, int out) {
      return _mm512_loadu_ps(weight + ((int64_t)in * 9 + 8 - tap) * inputs + out);
    });
  } else {
    b.weights = pack(b.forward, inputs, [=](int in, int tap, int out) {
      return apart(weight + ((int64_t)out * 9 + tap) * inputs + in, 9 * inputs);
    });
  }
}

// Puts a row of an image, whose channels lie apart, pixel after pixel, 32 pixels at a time.
struct Interleave {
  static constexpr int kMost = kMostPatchChannels;
  int channels;
  __m512i pixel[kMost];          // the pixel of every value, for each 32 values of a result
  __mmask32 mask[kMost][kMost];  // which of these 32 values are of a channel

  explicit Interleave(int channels) : channels(channels), mask{} {
    for (int r = 0; r < channels; r++) {
      alignas(64) int16_t pixels[kPlane];
      for (int k = 0; k < kPlane; k++) {
        pixels[k] = (int16_t)((r * kPlane + k) / channels);
        mask[r][(r * kPlane + k) % channels] |= 1u << k;
      }
      pixel[r] = _mm512_load_si512(pixels);
    }
  }

  void operator()(const bf16* x, int64_t stride, int width, bf16* out) const {
    for (int j = 0; j < width; j += kPlane, out += kPlane * channels) {
      const int pixels = std::min(kPlane, width - j);
      const __mmask32 there = pixels == kPlane ? ~0u : (1u << pixels) - 1;
      __m512i row[kMost];
      for (int c = 0; c < channels; c++)
        row[c] = _mm512_maskz_loadu_epi16(there, x + c * stride + j);
      for (int r = 0; r * kPlane < pixels * channels; r++) {
        __m512i v = _mm512_setzero_si512();
        for (int c = 0; c < channels; c++)
          v = _mm512_mask_permutexvar_epi16(v, mask[r][c], pixel[r], row[c]);
        const int left = pixels * channels - r * kPlane;
        _mm512_mask_storeu_epi16(out + r * kPlane, left < kPlane ? (1u << left) - 1 : ~0u, v);
      }
    }
  }
};

// Shifted sums of the values and squares of each channel of a panel: nothing cancels.
struct Sums {
  __m512 origin, sum, square;
};

void accumulate(Sums& s, const float* y, const Product& p) {
  __m512 sum[4]{}, square[4]{};
  auto add = [&](const float* at, int k) {
    const __m512 v = _mm512_load_ps(at) - s.origin;
    sum[k] += v;
    square[k] = _mm512_fmadd_ps(v, v, square[k]);
  };
  for (int i = 0; i < p.height; i++) {
    const float* row = y + (int64_t)i * p.rows() * kLanes;
    int j = 0;
    for (; j + 4 <= p.width; j += 4)
      for (int k = 0; k < 4; k++) add(row + (j + k) * kLanes, k);
    for (; j < p.width; j++) add(row + j * kLanes, 0);
  }
  s.sum += (sum[0] + sum[1]) + (sum[2] + sum[3]);
  s.square += (square[0] + square[1]) + (square[2] + square[3]);
}

struct Norm {
  __m512 mean, rstd;
};

Norm finish(const Sums& s, int pixels, float eps) {
  const __m512 n = _mm512_set1_ps((float)pixels), m = s.sum / n;
  // The maximum of (0, NaN) is NaN, so NaN passes through here and in the ReLU.
  const __m512 variance = _mm512_max_ps(_mm512_setzero_ps(), s.square / n - m * m);
  const __m512 root = _mm512_sqrt_ps(variance + _mm512_set1_ps(eps));
  return {m + s.origin, _mm512_set1_ps(1.0f) / root};
}

// Norm, ReLU and pooling of a panel; write(i, j, v) takes the 16 channels of an output pixel.
template <class Write>
void pool(const float* y, const Product& p, __m512 slope, __m512 offset, Write write) {
  const __m512 zero = _mm512_setzero_ps(), quarter = _mm512_set1_ps(0.25f);
  slope *= quarter;
  offset *= quarter;
  auto active = [&](const float* at) {
    return _mm512_max_ps(zero, _mm512_fmadd_ps(_mm512_load_ps(at), slope, offset));
  };
  for (int i = 0; i < p.height / 2; i++) {
    const float *upper = y + (int64_t)2 * i * p.rows() * kLanes, *lower = upper + p.rows() * kLanes;
    for (int j = 0; j < p.width / 2; j++, upper += 2 * kLanes, lower += 2 * kLanes)
      write(i, j, active(upper) + active(upper + kLanes) + active(lower) + active(lower + kLanes));
  }
}

// The convolution's outputs less their mean, and where the ReLU lets them pass, for a panel.
struct Computed {  // from the products
  const float* y;
  __m512 mean, slope, offset;

  __m512 centred(int64_t pixel) const { return _mm512_load_ps(y + pixel * kLanes) - mean; }
  __mmask16 active(int64_t pixel) const {
    const __m512 normed = _mm512_fmadd_ps(_mm512_load_ps(y + pixel * kLanes), slope, offset);
    return _mm512_cmp_ps_mask(normed, _mm512_setzero_ps(), _CMP_NLE_UQ);  // true for NaN
  }
};

struct Kept {  // as the forward pass wrote them down
  const bf16* values;
  const __mmask16* masks;

  __m512 centred(int64_t pixel) const { return widen(values + pixel * kLanes); }
  __mmask16 active(int64_t pixel) const { return masks[pixel]; }
};

// The way of a gradient back through norm, ReLU and pooling, for the 16 channels of a panel.
struct Unpool {
  __m512 sum, cross;                     // of the gradient, and of it times the centred values
  __m512 from_pooled, linear, constant;  // what the gradient before the norm is made of
};

Unpool begin_sums(__m512 slope) {
  const __m512 zero = _mm512_setzero_ps();
  return {zero, zero, slope * _mm512_set1_ps(0.25f), zero, zero};  // a window has 4 pixels
}

// Adds up what the norm's gradient needs of a panel. read(i, j) gives the gradient after
// pooling of 16 channels; an odd last row or column is in no window.
template <class Values, class Read>
void add_sums(Unpool& u, const Values& values, const Product& p, Read read) {
  __m512 sum[2]{}, cross[2]{};
  for (int i = 0; i < p.height / 2; i++)
    for (int j = 0; j < p.width / 2; j++) {
      const __m512 g = read(i, j);
      for (int d = 0; d < 4; d++) {
        const int64_t pixel = (int64_t)(2 * i + d / 2) * p.rows() + 2 * j + d % 2;
        const __mmask16 active = values.active(pixel);
        sum[d % 2] = _mm512_mask_add_ps(sum[d % 2], active, sum[d % 2], g);
        cross[d % 2] = _mm512_mask3_fmadd_ps(g, values.centred(pixel), cross[d % 2], active);
      }
    }
  u.sum += sum[0] + sum[1];
  u.cross += cross[0] + cross[1];
}

// The same for a strip, and on the way what comes from the pooling alone: write(i, j, v) takes it.
template <class Read, class Write>
void unpool_strip(Unpool& u, const Computed& values, const Product& p, Read read, Write write) {
  __m512 sum[2]{}, cross[2]{};
  const int h = p.height / 2 * 2, w = p.width / 2 * 2;
  for (int i = 0; i < h; i += 2) {
    for (int j = 0; j < w; j += 2) {
      const __m512 g = read(i / 2, j / 2);
      const __m256i pooled = narrow(g * u.from_pooled);
      for (int d = 0; d < 4; d++) {
        const int64_t pixel = (int64_t)(i + d / 2) * p.rows() + j + d % 2;
        const __mmask16 active = values.active(pixel);
        sum[d % 2] = _mm512_mask_add_ps(sum[d % 2], active, sum[d % 2], g);
        cross[d % 2] = _mm512_mask3_fmadd_ps(g, values.centred(pixel), cross[d % 2], active);
        write(i + d / 2, j + d % 2, _mm256_maskz_mov_epi16(active, pooled));
      }
    }
    if (w < p.width) write(i, w, __m256i{}), write(i + 1, w, __m256i{});
  }
  if (h < p.height)
    for (int j = 0; j < p.width; j++) write(h, j, __m256i{});
  u.sum += sum[0] + sum[1];
  u.cross += cross[0] + cross[1];
}

void end_sums(Unpool& u, __m512 rstd, int pixels) {
  const __m512 scale = u.from_pooled * _mm512_set1_ps(-1.0f / (float)pixels);
  u.linear = scale * rstd * rstd * u.cross;
  u.constant = scale * u.sum;
}

// The gradient before the norm: write(i, j, v) takes the 16 channels of a pixel.
template <class Values, class Read, class Write>
void unpool(const Unpool& u, const Values& values, const Product& p, Read read, Write write) {
  const __m512 zero = _mm512_setzero_ps();
  auto pixel = [&](int i, int j, __m512 g) {
    const int64_t at = (int64_t)i * p.rows() + j;
    const __m512 d = _mm512_fmadd_ps(values.centred(at), u.linear, u.constant);
    write(i, j, _mm512_mask_add_ps(d, values.active(at), d, g));
  };
  const int h = p.height / 2 * 2, w = p.width / 2 * 2;
  for (int i = 0; i < h; i += 2) {
    for (int j = 0; j < w; j += 2) {
      const __m512 g = read(i / 2, j / 2) * u.from_pooled;
      for (int d = 0; d < 4; d++) pixel(i + d / 2, j + d % 2, g);
    }
    if (w < p.width) pixel(i, w, zero), pixel(i + 1, w, zero);
  }
  if (h < p.height)
    for (int j = 0; j < p.width; j++) pixel(h, j, zero);
}

}  // namespace

#endif
