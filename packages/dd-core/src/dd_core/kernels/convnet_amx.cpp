// A whole ConvNet for bfloat16 images, one image at a time, by the blocks of amx_block.hpp.
//
// Every block is convolution 3x3 without bias, instance norm, ReLU and 2x2 average pooling. All
// that one image needs stays in the cache of one core. Where a gradient will be needed the forward
// pass writes down what is dear to compute again, as bfloat16: the convolutions' outputs, but not
// the first one's, which are most of the values and, of few channels, cheap. Products are of
// bfloat16; sums, norms and pooling are float32. One thread takes whole images, and each is
// computed alone, so results depend on neither the threads nor the other images of the batch.
#ifdef HAS_AMX

namespace {

// What one thread needs for one image, in one piece of memory that begins as zeros.
struct Workspace {
  std::unique_ptr<char, decltype(&std::free)> memory{nullptr, &std::free};
  bf16* image;                 // the padded image, where patches are gathered from
  std::vector<bf16*> planes;   // input of every block; backward, the gradient before its norm
  std::vector<float*> panels;  // results of every block's products, forward
  std::vector<Norm*> norms;
  Sums* sums;
  float* scratch;  // one panel
  // Backward, of a first block on patches. The image's gradient is a sum over 9 taps: a row of
  // `parts` gathers the rows of taps, and of a pixel holds what goes to 3 neighbours in a row.
  float* pooled;  // the gradient after pooling
  Unpool* unpools;
  bf16* strip;  // the gradient before the norm
  float* parts;

  Workspace(const std::vector<Block>& blocks, bool backward)
      : planes(blocks.size()), panels(blocks.size()), norms(blocks.size()) {
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
    int64_t panel = 0;
    int panels_of_block = 0;
    const Block& first = blocks[0];
    take(image, (int64_t)first.padded_height() * first.pitch() * first.in_channels);
    for (size_t l = 0; l < blocks.size(); l++) {
      const Block& b = blocks[l];
      const Product& input = backward && !b.patches ? b.backward : b.forward;
      take(planes[l], input.planes * input.plane);
      take(norms[l], b.forward.panels());
      if (!backward && !b.patches) take(panels[l], b.forward.panels() * b.forward.panel());
      panel = std::max({panel, b.forward.panel(), b.backward.panel()});
      panels_of_block = std::max(panels_of_block, b.forward.panels());
    }
    take(scratch, panel);
    take(sums, panels_of_block);
    if (backward && first.patches) {
      take(pooled, first.forward.panels() * pooled_panel(blocks));
      take(unpools, first.forward.panels());
      take(strip, first.backward.planes * first.backward.plane);
      take(parts, (first.forward.height + 2) * first.part_row());
    }
    return bytes;
  }

  // Values of a panel of the gradient after the first block's pooling.
  static int64_t pooled_panel(const std::vector<Block>& blocks) {
    const Product& p = blocks[0].forward;
    return blocks.size() > 1 ? blocks[1].backward.panel()
                             : (int64_t)(p.height / 2) * (p.width / 2) * kLanes;
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

// A panel of a strip of a first block on patches.
Computed patch_values(const Block& b, const Workspace& work, const Norm* norms, int n, int row,
                      const Product& strip) {
  const bf16* a = work.planes[0] + (int64_t)row * strip.pitch * kPlane;
  multiply_panel(a, strip, n, b.weights, work.scratch);
  const __m512 slope = _mm512_loadu_ps(b.gamma + n * kLanes) * norms[n].rstd;
  const __m512 offset = _mm512_loadu_ps(b.beta + n * kLanes) - norms[n].mean * slope;
  return {work.scratch, norms[n].mean, slope, offset};
}

// Writes down a panel for the backward pass, past the caches: it is read only much later.
void keep(const Block& b, int n, const Norm& norm, const float* y, char* kept) {
  std::memcpy(kept + n * sizeof norm, &norm, sizeof norm);
  if (b.patches) return;
  const int64_t count = b.forward.panel() / kLanes;
  bf16* values = (bf16*)(kept + b.kept_norms() + n * b.kept_panel());
  __mmask16* masks = (__mmask16*)(values + count * kLanes);
  const __m512 slope = _mm512_loadu_ps(b.gamma + n * kLanes) * norm.rstd;
  const __m512 offset = _mm512_loadu_ps(b.beta + n * kLanes) - norm.mean * slope;
  const Computed computed{y, norm.mean, slope, offset};
  for (int64_t i = 0; i < count; i += 2) {
    const __m512 v = computed.centred(i), w = computed.centred(i + 1);
    _mm512_stream_si512((__m512i*)(values + i * kLanes), (__m512i)_mm512_cvtne2ps_pbh(w, v));
    masks[i] = computed.active(i), masks[i + 1] = computed.active(i + 1);
  }
}

// All blocks for one image. Where `kept` is given, the backward pass finds there what it needs.
// Products on patches, which are cheap, are computed twice instead of written down.
void forward_image(const std::vector<Block>& blocks, Workspace& work, bf16* out, char* kept,
                   float eps) {
  for (size_t l = 0; l < blocks.size(); l++) {
    const Block& b = blocks[l];
    const Product& p = b.forward;
    auto strips = [&](auto use) {  // use(panel, row, values, product) for every strip
      for (int row = 0; row < p.height; row += p.strip_rows()) {
        const Product strip = p.strip(row);
        const bf16* a = work.planes[l] + (int64_t)row * p.pitch * kPlane;
        for (int n = 0; n < p.panels(); n++) {
          const int64_t at = n * p.panel() + (int64_t)row * p.rows() * kLanes;
          float* y = b.patches ? work.scratch : work.panels[l] + at;
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
    if (b.patches) {
      strips([&](int n, int row, const float* y, const Product& strip) {
        leave(blocks, l, n, row, y, strip, work, out);
      });
    } else {
      for (int n = 0; n < p.panels(); n++)
        leave(blocks, l, n, 0, work.panels[l] + n * p.panel(), p, work, out);
    }
    for (int n = 0; kept && n < p.panels(); n++)
      keep(b, n, work.norms[l][n], b.patches ? nullptr : work.panels[l] + n * p.panel(), kept);
    if (kept) kept += b.kept();
  }
}

// A panel of the gradient after pooling.
struct Pooled {
  const float* values;
  int rows;  // pixels from row to row

  Pooled from(int row) const { return {values + (int64_t)row * rows * kLanes, rows}; }

  __m512 operator()(int i, int j) const {
    return _mm512_load_ps(values + ((int64_t)i * rows + j) * kLanes);
  }
};

// Computes panel n of the gradient after the pooling of block l. grad: after the last block.
Pooled pooled_gradient(const std::vector<Block>& blocks, const Workspace& work, size_t l, int n,
                       const bf16* grad, float* g) {
  if (l + 1 < blocks.size()) {
    const Block& next = blocks[l + 1];
    multiply_panel(work.planes[l + 1], next.backward, n, next.backward_weights, g);
    return {g, next.backward.rows()};
  }
  const Product& p = blocks[l].forward;
  const int pixels = (p.height / 2) * (p.width / 2);
  for (int k = 0; k < kLanes; k++)
    for (int i = 0; i < pixels; i++)
      g[i * kLanes + k] = widen(grad[(int64_t)(n * kLanes + k) * pixels + i]);
  return {g, p.width / 2};
}

// The gradient before the norm of block l, into its planes, from what the forward pass kept.
void unpool_kept(const std::vector<Block>& blocks, Workspace& work, size_t l, const char* kept,
                 const bf16* grad) {
  const Block& b = blocks[l];
  const Product& p = b.forward;
  const int pitch = p.width + 2 * b.border();
  const Norm* norms = (const Norm*)kept;
  for (int n = 0; n < p.panels(); n++) {
    const bf16* values = (const bf16*)(kept + b.kept_norms() + n * b.kept_panel());
    const Kept y{values, (const __mmask16*)(values + p.panel())};
    const Pooled g = pooled_gradient(blocks, work, l, n, grad, work.scratch);
    Unpool u{};
    add_sums(u, y, p, g);
    end_sums(u, _mm512_loadu_ps(b.gamma + n * kLanes) * norms[n].rstd, norms[n].rstd,
             p.height * p.width);
    bf16* o = work.planes[l] + n / 2 * b.backward.plane + n % 2 * kLanes +
              (int64_t)b.border() * (pitch + 1) * kPlane;
    unpool(u, y, p, g, [=](int i, int j, __m512 v) {
      _mm256_store_si256((__m256i*)(o + ((int64_t)i * pitch + j) * kPlane), narrow(v));
    });
  }
}

// The gradient of a first convolution that is not on patches.
void image_gradient(const Block& b, const Workspace& work, bf16* dx) {
  const Product& p = b.backward;
  for (int c = 0; c < p.channels; c++) {
    if (c % kLanes == 0)
      multiply_panel(work.planes[0], p, c / kLanes, b.backward_weights, work.scratch);
    for (int i = 0; i < p.height; i++)
      for (int j = 0; j < p.width; j++)
        *dx++ = narrow(work.scratch[((int64_t)i * p.rows() + j) * kLanes + c % kLanes]);
  }
}

// What the norm's gradient needs of a first block on patches, whose products are computed again.
void sum_patches(const std::vector<Block>& blocks, Workspace& work, const Norm* norms,
                 const bf16* grad, std::vector<Pooled>& pooled) {
  const Block& b = blocks[0];
  const Product& p = b.forward;
  for (int n = 0; n < p.panels(); n++) {
    float* values = work.pooled + n * Workspace::pooled_panel(blocks);
    const Pooled g = pooled_gradient(blocks, work, 0, n, grad, values);
    Unpool u{};
    for (int row = 0; row < p.height; row += p.strip_rows()) {
      const Product strip = p.strip(row);
      add_sums(u, patch_values(b, work, norms, n, row, strip), strip, g.from(row / 2));
    }
    end_sums(u, _mm512_loadu_ps(b.gamma + n * kLanes) * norms[n].rstd, norms[n].rstd,
             p.height * p.width);
    work.unpools[n] = u;
    pooled[n] = g;
  }
}

// Adds what the gradient of a strip gives to the parts of the image's gradient.
void add_parts(const Block& b, const Workspace& work, int row, Product strip) {
  const int lanes = b.part_lanes();
  for (int n = 0; n < strip.panels(); n++) {
    const int tap_row = n * kLanes / lanes, lane = n * kLanes % lanes;
    multiply_panel(work.strip, strip, n, b.backward_weights, work.scratch);
    for (int i = 0; i < strip.height; i++) {
      float* o = work.parts + (row + i + tap_row) * b.part_row() + 2 * lanes + lane;
      const float* y = work.scratch + (int64_t)i * strip.width * kLanes;
      for (int j = 0; j < strip.width; j++, o += lanes, y += kLanes)
        _mm512_store_ps(o, _mm512_load_ps(o) + _mm512_load_ps(y));
    }
  }
}

// The image's gradient from its parts.
void gather_parts(const Block& b, const Workspace& work, bf16* dx) {
  const int lanes = b.part_lanes(), c = b.in_channels;
  for (int k = 0; k < c; k++)
    for (int i = 0; i < b.height; i++) {
      const float* p = work.parts + (i + b.padding) * b.part_row() + (b.padding + 2) * lanes + k;
      for (int j = 0; j < b.width; j++, p += lanes)
        *dx++ = narrow(p[0] + p[c - lanes] + p[2 * (c - lanes)]);
    }
}

// The way back through a first block on patches, strip by strip, so that no gradient before the
// norm is written to memory.
void patch_gradient(const std::vector<Block>& blocks, Workspace& work, const char* kept,
                    const bf16* grad, bf16* dx) {
  const Block& b = blocks[0];
  const Product& p = b.forward;
  std::vector<Pooled> pooled(p.panels());
  const Norm* norms = (const Norm*)kept;
  sum_patches(blocks, work, norms, grad, pooled);
  std::memset(work.parts, 0, (p.height + 2) * b.part_row() * sizeof *work.parts);
  for (int row = 0; row < p.height; row += p.strip_rows()) {
    const Product strip = p.strip(row);
    for (int n = 0; n < p.panels(); n++) {
      bf16* o = work.strip + n / 2 * b.backward.plane + n % 2 * kLanes;
      unpool(work.unpools[n], patch_values(b, work, norms, n, row, strip), strip,
             pooled[n].from(row / 2), [=](int i, int j, __m512 v) {
               _mm256_store_si256((__m256i*)(o + ((int64_t)i * p.width + j) * kPlane), narrow(v));
             });
    }
    Product parts = b.backward;
    parts.height = strip.height;
    add_parts(b, work, row, parts);
  }
  gather_parts(b, work, dx);
}

// Gradient of one image. kept: the end of what `forward_image` kept of it. grad: of the pooled maps.
void backward_image(const std::vector<Block>& blocks, Workspace& work, const char* kept,
                    const bf16* grad, bf16* dx) {
  for (size_t l = blocks.size(); l-- > 0;) {
    kept -= blocks[l].kept();
    if (blocks[l].patches) return patch_gradient(blocks, work, kept, grad, dx);
    unpool_kept(blocks, work, l, kept, grad);
  }
  image_gradient(blocks[0], work, dx);
}

std::vector<Block> make_blocks(int depth, const int* sizes) {
  std::vector<Block> blocks;
  int channels = sizes[0], height = sizes[1], width = sizes[2];
  for (int l = 0; l < depth; l++) {
    blocks.push_back(make_block(channels, sizes[3 + 2 * l], height, width, sizes[4 + 2 * l]));
    channels = blocks[l].channels;
    height = blocks[l].forward.height / 2, width = blocks[l].forward.width / 2;
  }
  return blocks;
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
// Bytes that `convnet_amx` keeps of an image. sizes: channels, height, width, then (channels,
// padding) of each block.
int64_t convnet_amx_kept(int depth, const int* sizes) {
  int64_t bytes = 0;
  for (const Block& b : make_blocks(depth, sizes)) bytes += b.kept();
  return bytes;
}

// x: images with the given strides. parameters: (weight, gamma, beta) of each block. Without grad,
// out takes the pooled maps of the last block, and kept, unless it is null, what the gradient will
// need; it begins at a cache line. With grad, the maps' gradient, out takes that of x. All but x
// are contiguous.
void convnet_amx(const uint16_t* x, const uint16_t* grad, uint16_t* out, char* kept, int images,
                 const int64_t* strides, int depth, const int* sizes,
                 const float* const* parameters, int threads, float eps) {
  std::vector<Block> blocks = make_blocks(depth, sizes);
  for (int l = 0; l < depth; l++) {
    load_weights(blocks[l], parameters[3 * l], grad != nullptr);
    blocks[l].gamma = parameters[3 * l + 1], blocks[l].beta = parameters[3 * l + 2];
  }
  const Block &first = blocks.front(), &last = blocks.back();
  const int64_t values = (int64_t)first.in_channels * first.height * first.width;
  const int64_t features =
      (int64_t)last.channels * (last.forward.height / 2) * (last.forward.width / 2);
  const int64_t bytes = convnet_amx_kept(depth, sizes);
  const Strides s{strides[0], strides[1], strides[2], strides[3]};
#pragma omp parallel num_threads(threads)
  {
    const TileConfig config;
    _tile_loadconfig(&config);
    Workspace work(blocks, grad != nullptr);
#pragma omp for schedule(static)
    for (int n = 0; n < images; n++) {
      if (!grad || first.patches) enter(x + n * s.image, s, first, work);
      if (grad) {
        backward_image(blocks, work, kept + (n + 1) * bytes, grad + n * features, out + n * values);
      } else {
        forward_image(blocks, work, out + n * features, kept ? kept + n * bytes : nullptr, eps);
      }
    }
    _tile_release();
  }
}
#endif

}  // extern "C"
