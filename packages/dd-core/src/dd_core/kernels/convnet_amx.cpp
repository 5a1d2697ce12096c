// A whole ConvNet for bfloat16 images, one image at a time, by the products of amx_product.hpp.
//
// Every block is convolution 3x3 without bias, instance norm, ReLU and 2x2 average pooling. All
// that one image needs stays in the cache of one core: no convolution output is written to memory,
// and the backward pass computes the forward pass again instead of reading what was saved. Products
// are of bfloat16; sums, norms and pooling are float32. One thread takes whole images, and each is
// computed alone, so results depend on neither the threads nor the other images of the batch.
#ifdef HAS_AMX

namespace {

// One block of the network for images of one size: its input, its weights and its products.
struct Block {
  int in_channels, channels, height, width, padding;  // of the input image, before padding
  bool patches;               // few channels: the patches of 9 pixels are gathered first
  Product forward, backward;  // backward gives the gradient of the input
  Packed weights, backward_weights;
  const float *gamma, *beta;

  int pitch() const { return width + 2 * padding; }
  int padded_height() const { return height + 2 * padding; }
  int border() const { return padding < 2 ? 2 - padding : 0; }  // of the gradient of the output
};

// weight: (channels, 3, 3, in_channels).
Block make_block(int in_channels, int channels, int height, int width, int padding,
                 const float* weight, const float* gamma, const float* beta, bool backward) {
  Block b{in_channels, channels, height, width, padding, in_channels < kLanes, {}, {}, {}, {},
          gamma, beta};
  const int oh = height + 2 * padding - 2, ow = width + 2 * padding - 2, k = 9 * in_channels;
  if (b.patches) {
    const int64_t plane = (int64_t)kPlane * (oh * ow + kSlack);
    b.forward = {(k + kPlane - 1) / kPlane, 1, channels, ow, 0, plane, oh, ow, true};
    b.weights = pack(b.forward, [=](int in, int, int out) {
      return in < k ? weight[out * k + in] : 0;
    });
  } else {
    b.forward = convolution(in_channels, channels, b.pitch(), b.padded_height(), 0, oh, ow);
    b.weights = pack(b.forward, [=](int in, int tap, int out) {
      return in < in_channels ? weight[(out * 9 + tap) * in_channels + in] : 0;
    });
  }
  if (backward) {  // the convolution with the mirrored taps, over the gradient and its border
    const int q = b.border(), pitch = ow + 2 * q, skip = padding + q - 2;
    b.backward =
        convolution(channels, in_channels, pitch, oh + 2 * q, skip * (pitch + 1), height, width);
    b.backward_weights = pack(b.backward, [=](int in, int tap, int out) {
      return in < channels ? weight[(in * 9 + 8 - tap) * in_channels + out] : 0;
    });
  }
  return b;
}

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

// Gradient of a panel before its norm. read(i, j) gives the gradient after pooling of 16 channels.
template <class Read, class Write>
void unpool(const float* y, const Product& p, const Norm& norm, __m512 gamma, __m512 beta,
            Read read, Write write) {
  const __m512 quarter = _mm512_set1_ps(0.25f), zero = _mm512_setzero_ps();
  const __m512 slope = gamma * norm.rstd, offset = beta - norm.mean * slope;
  const int h = p.height / 2 * 2, w = p.width / 2 * 2;  // an odd last row is in no window
  auto value = [&](int i, int j) {
    return _mm512_load_ps(y + ((int64_t)i * p.rows() + j) * kLanes);
  };
  auto active = [&](__m512 v, __m512 g) {
    const __m512 normed = _mm512_fmadd_ps(v, slope, offset);
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(normed, zero, _CMP_NLE_UQ), g);
  };
  __m512 sum = zero, cross = zero;
  for (int i = 0; i < h; i += 2)
    for (int j = 0; j < w; j += 2) {
      const __m512 g = read(i / 2, j / 2) * quarter;
      __m512 total = zero, product = zero;
      for (int d = 0; d < 4; d++) {
        const __m512 v = value(i + d / 2, j + d % 2), a = active(v, g);
        total += a;
        product = _mm512_fmadd_ps(a, v - norm.mean, product);
      }
      sum += total;
      cross += product;
    }
  const __m512 n = _mm512_set1_ps((float)(p.height * p.width));
  const __m512 linear = zero - slope * norm.rstd * norm.rstd * cross / n;
  const __m512 constant = zero - slope * sum / n - linear * norm.mean;
  for (int i = 0; i < p.height; i++)
    for (int j = 0; j < p.width; j++) {
      const __m512 v = value(i, j), g = i < h && j < w ? read(i / 2, j / 2) * quarter : zero;
      write(i, j, _mm512_fmadd_ps(active(v, g), slope, _mm512_fmadd_ps(v, linear, constant)));
    }
}

// What one thread needs for one image, in one piece of memory that begins as zeros.
struct Workspace {
  std::unique_ptr<char, decltype(&std::free)> memory{nullptr, &std::free};
  bf16* image;                           // the padded image, where patches are gathered from
  std::vector<bf16*> planes, gradients;  // input of every block; gradient before every norm
  std::vector<float*> panels;            // results of every block's products
  std::vector<Norm*> norms;
  Sums* sums;
  float* scratch;  // one panel

  Workspace(const std::vector<Block>& blocks, bool backward)
      : planes(blocks.size()), gradients(planes), panels(blocks.size()), norms(blocks.size()) {
    const size_t bytes = lay_out(blocks, backward, nullptr);
    memory.reset((char*)std::aligned_alloc(64, bytes));
    std::memset(memory.get(), 0, bytes);
    lay_out(blocks, backward, memory.get());
  }

  // Hands out pieces from `base` on and returns how many bytes they take.
  size_t lay_out(const std::vector<Block>& blocks, bool backward, char* base) {
    size_t bytes = 0;
    auto take = [&](auto*& pointer, int64_t count) {
      pointer = base ? (std::decay_t<decltype(pointer)>)(base + bytes) : nullptr;
      bytes += (count * sizeof *pointer + 63) / 64 * 64;
    };
    int64_t panel = 0, panels_of_block = 0;
    const Block& first = blocks[0];
    take(image, (int64_t)first.padded_height() * first.pitch() * first.in_channels);
    for (size_t l = 0; l < blocks.size(); l++) {
      const Product &f = blocks[l].forward, &b = blocks[l].backward;
      take(planes[l], f.planes * f.plane);
      take(norms[l], f.panels());
      if (backward || !blocks[l].patches) take(panels[l], f.panels() * f.panel());
      if (backward) take(gradients[l], b.planes * b.plane);
      if (f.panel() > panel) panel = f.panel();
      if (backward && b.panel() > panel) panel = b.panel();
      if (f.panels() > panels_of_block) panels_of_block = f.panels();
    }
    take(scratch, panel);
    take(sums, panels_of_block);
    return bytes;
  }
};

// Strides of the images in values.
struct Strides {
  int64_t image, channel, row, column;
};

// Patches of the padded image: three runs of 3 * c values each; run r comes to place 3 * c * r.
void gather(const Block& b, Workspace& work) {
  const int c = b.in_channels, run = 3 * c, pitch = b.pitch();
  for (int plane = 0; plane < b.forward.planes; plane++) {
    const int first = plane * kPlane;
    __mmask32 mask[3] = {0, 0, 0};
    for (int k = 0; k < kPlane; k++)
      if (first + k < 3 * run) mask[(first + k) / run] |= 1u << k;
    bf16* o = work.planes[0] + plane * b.forward.plane;
    for (int i = 0; i < b.forward.height; i++)
      for (int j = 0; j < b.forward.width; j++, o += kPlane) {
        const bf16* p = work.image + ((int64_t)i * pitch + j) * c + first;
        __m512i v = _mm512_maskz_loadu_epi16(mask[0], p);
        v = _mm512_mask_loadu_epi16(v, mask[1], p + pitch * c - run);
        v = _mm512_mask_loadu_epi16(v, mask[2], p + 2 * (pitch * c - run));
        _mm512_store_si512(o, v);
      }
  }
}

// Puts an image into the planes of the first block.
void enter(const bf16* x, const Strides& s, const Block& b, Workspace& work) {
  const int step = b.patches ? b.in_channels : kPlane;
  for (int c = 0; c < b.in_channels; c++)
    for (int i = 0; i < b.height; i++) {
      const int64_t pixel = (int64_t)(i + b.padding) * b.pitch() + b.padding;
      bf16* plane = b.patches ? work.image + c
                              : work.planes[0] + c / kPlane * b.forward.plane + c % kPlane;
      const bf16* row = x + c * s.channel + i * s.row;
      for (int j = 0; j < b.width; j++) plane[(pixel + j) * step] = row[j * s.column];
    }
  if (b.patches) gather(b, work);
}

// Norm, ReLU and pooling of one panel of block l, from output row `row` on, into the planes of the
// next block, or into `out` after the last.
void leave(const std::vector<Block>& blocks, size_t l, int n, int row, const float* y,
           const Product& p, Workspace& work, bf16* out) {
  const Block& b = blocks[l];
  const __m512 slope = _mm512_loadu_ps(b.gamma + n * kLanes) * work.norms[l][n].rstd;
  const __m512 offset = _mm512_loadu_ps(b.beta + n * kLanes) - work.norms[l][n].mean * slope;
  if (l + 1 < blocks.size()) {
    const Block& next = blocks[l + 1];
    const int pitch = next.pitch();
    bf16* o = work.planes[l + 1] + n / 2 * next.forward.plane + n % 2 * kLanes +
              ((int64_t)(next.padding + row / 2) * pitch + next.padding) * kPlane;
    pool(y, p, slope, offset, [=](int i, int j, __m512 v) {
      _mm256_store_si256((__m256i*)(o + ((int64_t)i * pitch + j) * kPlane), narrow(v));
    });
  } else {
    const int height = b.forward.height / 2, width = b.forward.width / 2;
    bf16* o = out + ((int64_t)n * kLanes * height + row / 2) * width;
    pool(y, p, slope, offset, [=](int i, int j, __m512 v) {
      alignas(32) bf16 values[kLanes];
      _mm256_store_si256((__m256i*)values, narrow(v));
      for (int k = 0; k < kLanes; k++) o[((int64_t)k * height + i) * width + j] = values[k];
    });
  }
}

// All blocks for one image. Without `out`, everything that the backward pass needs is kept. With
// it, the products on patches, which are cheap, are computed twice instead of written down.
void forward_image(const std::vector<Block>& blocks, Workspace& work, bf16* out, float eps) {
  for (size_t l = 0; l < blocks.size(); l++) {
    const Block& b = blocks[l];
    const Product& p = b.forward;
    const bool twice = b.patches && out;
    auto strips = [&](auto use) {  // use(panel, row, values, product) for every strip
      for (int row = 0; row < p.height; row += p.strip_rows()) {
        const Product strip = p.strip(row);
        const bf16* a = work.planes[l] + (int64_t)row * p.pitch * kPlane;
        for (int n = 0; n < p.panels(); n++) {
          const int64_t at = n * p.panel() + (int64_t)row * p.rows() * kLanes;
          float* y = twice ? work.scratch : work.panels[l] + at;
          multiply_panel(a, strip, n, b.weights, y);
          use(n, row, y, strip);
        }
      }
    };
    strips([&](int n, int row, const float* y, const Product& strip) {
      const __m512 zero = _mm512_setzero_ps();
      if (!row) work.sums[n] = {_mm512_load_ps(y), zero, zero};
      accumulate(work.sums[n], y, strip);
    });
    for (int n = 0; n < p.panels(); n++)
      work.norms[l][n] = finish(work.sums[n], p.height * p.width, eps);
    if (l + 1 == blocks.size() && !out) return;
    if (twice) {
      strips([&](int n, int row, const float* y, const Product& strip) {
        leave(blocks, l, n, row, y, strip, work, out);
      });
    } else {
      for (int n = 0; n < p.panels(); n++)
        leave(blocks, l, n, 0, work.panels[l] + n * p.panel(), p, work, out);
    }
  }
}

// Gradient of one image, after `forward_image` without `out`. grad: of the pooled maps.
void backward_image(const std::vector<Block>& blocks, Workspace& work, const bf16* grad, bf16* dx) {
  float* const g = work.scratch;
  for (size_t l = blocks.size(); l-- > 0;) {
    const Block& b = blocks[l];
    const Product& p = b.forward;
    const int pixels = (p.height / 2) * (p.width / 2), pitch = p.width + 2 * b.border();
    for (int n = 0; n < p.panels(); n++) {
      int rows = p.width / 2;  // pixels from row to row of g
      if (l + 1 < blocks.size()) {
        const Block& next = blocks[l + 1];
        multiply_panel(work.gradients[l + 1], next.backward, n, next.backward_weights, g);
        rows = next.backward.rows();
      } else {
        for (int k = 0; k < kLanes; k++)
          for (int i = 0; i < pixels; i++)
            g[i * kLanes + k] = widen(grad[(int64_t)(n * kLanes + k) * pixels + i]);
      }
      bf16* o = work.gradients[l] + n / 2 * b.backward.plane + n % 2 * kLanes +
                (int64_t)b.border() * (pitch + 1) * kPlane;
      const __m512 gamma = _mm512_loadu_ps(b.gamma + n * kLanes);
      const __m512 beta = _mm512_loadu_ps(b.beta + n * kLanes);
      unpool(
          work.panels[l] + n * p.panel(), p, work.norms[l][n], gamma, beta,
          [=](int i, int j) { return _mm512_load_ps(g + ((int64_t)i * rows + j) * kLanes); },
          [=](int i, int j, __m512 v) {
            _mm256_store_si256((__m256i*)(o + ((int64_t)i * pitch + j) * kPlane), narrow(v));
          });
    }
  }
  const Product& p = blocks[0].backward;
  for (int c = 0; c < p.channels; c++) {
    if (c % kLanes == 0)
      multiply_panel(work.gradients[0], p, c / kLanes, blocks[0].backward_weights, g);
    for (int i = 0; i < p.height; i++)
      for (int j = 0; j < p.width; j++)
        *dx++ = narrow(g[((int64_t)i * p.rows() + j) * kLanes + c % kLanes]);
  }
}

}  // namespace

#endif

extern "C" {

// 1 where the processor, the compiler and the system have what this file needs, else 0.
int amx_available() {
#ifdef HAS_AMX
  return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XTILEDATA */) == 0;
#else
  return 0;
#endif
}

#ifdef HAS_AMX
// x: images with the given strides. sizes: channels, height, width, then (channels, padding) of
// each block. parameters: (weight, gamma, beta) of each block. Without grad, out takes the pooled
// maps of the last block; with grad, their gradient, it takes that of x. Both are contiguous.
void convnet_amx(const uint16_t* x, const uint16_t* grad, uint16_t* out, int images,
                 const int64_t* strides, int depth, const int* sizes,
                 const float* const* parameters, int threads, float eps) {
  std::vector<Block> blocks;
  int channels = sizes[0], height = sizes[1], width = sizes[2];
  const int64_t values = (int64_t)channels * height * width;
  for (int l = 0; l < depth; l++) {
    const float* const* p = parameters + 3 * l;
    blocks.push_back(make_block(channels, sizes[3 + 2 * l], height, width, sizes[4 + 2 * l], p[0],
                                p[1], p[2], grad != nullptr));
    channels = blocks[l].channels;
    height = blocks[l].forward.height / 2, width = blocks[l].forward.width / 2;
  }
  const int64_t features = (int64_t)channels * height * width;
  const Strides s{strides[0], strides[1], strides[2], strides[3]};
#pragma omp parallel num_threads(threads)
  {
    const TileConfig config;
    _tile_loadconfig(&config);
    Workspace work(blocks, grad != nullptr);
#pragma omp for schedule(static)
    for (int n = 0; n < images; n++) {
      enter(x + n * s.image, s, blocks[0], work);
      forward_image(blocks, work, grad ? nullptr : out + n * features, eps);
      if (grad) backward_image(blocks, work, grad + n * features, out + n * values);
    }
    _tile_release();
  }
}
#endif

}  // extern "C"
