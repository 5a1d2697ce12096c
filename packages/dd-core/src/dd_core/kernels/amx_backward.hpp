// The gradient of an image through the ConvNet of convnet_amx.cpp. amx_forward.hpp comes before in
// the same translation unit.
#ifdef HAS_AMX

namespace {

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
    multiply_panel(work.planes[l + 1], next.backward, n, next.backward_weights.data(), g);
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
    const Kept y{values, (const __mmask16*)(values + b.kept_pixels() * kLanes)};
    const Pooled g = pooled_gradient(blocks, work, l, n, grad, work.scratch);
    Unpool u = begin_sums(_mm512_loadu_ps(b.gamma + n * kLanes) * norms[n].rstd);
    add_sums(u, y, p, g);
    end_sums(u, norms[n].rstd, p.height * p.width);
    bf16* o = work.planes[l] + n / 2 * b.backward.plane + n % 2 * kLanes +
              (int64_t)b.border() * (pitch + 1) * kPlane;
    // The next panel's values lie at the same distance; they arrive during the product before it.
    const char* next = (const char*)values + b.kept_panel();
    unpool(u, y, p, g, [=](int i, int j, __m512 v) {
      _mm_prefetch(next + ((int64_t)i * p.rows() + j) * kLanes * sizeof(bf16), _MM_HINT_T1);
      _mm256_store_si256((__m256i*)(o + ((int64_t)i * pitch + j) * kPlane), narrow(v));
    });
  }
}

// The gradient of a first convolution that is not on patches.
void image_gradient(const Block& b, const Workspace& work, bf16* dx) {
  const Product& p = b.backward;
  for (int c = 0; c < p.channels; c++) {
    if (c % kLanes == 0)
      multiply_panel(work.planes[0], p, c / kLanes, b.backward_weights.data(), work.scratch);
    for (int i = 0; i < p.height; i++)
      for (int j = 0; j < p.width; j++)
        *dx++ = narrow(work.scratch[((int64_t)i * p.rows() + j) * kLanes + c % kLanes]);
  }
}

// A panel of a strip of a first block on patches.
Computed patch_values(const Block& b, const Workspace& work, const Norm* norms, int n, int row,
                      const Product& strip) {
  const bf16* a = work.planes[0] + (int64_t)row * strip.pitch * kPlane;
  multiply_panel(a, strip, n, b.weights.data(), work.scratch);
  const __m512 slope = _mm512_loadu_ps(b.gamma + n * kLanes) * norms[n].rstd;
  const __m512 offset = _mm512_loadu_ps(b.beta + n * kLanes) - norms[n].mean * slope;
  return {work.scratch, norms[n].mean, slope, offset};
}

// The parts of the rows that begin at this one, each from the gradient of three rows.
void write_parts(const Block& b, const Workspace& work, int row, int height) {
  Product p = b.backward;
  p.height = height;
  float* o = work.parts + (int64_t)row * p.width * kLanes;
  multiply_panel(work.strip, p, 0, b.backward_weights.data(), o);
}

// Means over the pixels of every value of a patch.
void patch_means(const Product& p, const bf16* patches, float* means) {
  for (int plane = 0; plane < p.planes; plane++, means += kPlane) {
    __m512 low{}, high{};
    const bf16* a = patches + plane * p.plane + p.start * kPlane;
    for (int i = 0; i < p.height * p.width; i++, a += kPlane)
      low += widen(a), high += widen(a + kLanes);
    const __m512 n = _mm512_set1_ps((float)(p.height * p.width));
    _mm512_store_ps(means, low / n), _mm512_store_ps(means + kLanes, high / n);
  }
}

// The norm's gradient is, besides what comes from the pooling, a constant and a share of the
// centred outputs, channel by channel. Outputs are products of patches, so what this share gives
// to the parts is a product of patches too, with a matrix `mixing` that the share, the weights and
// the weights again make. The offsets hold the constants, and take the mean patch, so that nothing
// cancels but what is rounded alike. (For outputs of 2 x 2 pixels the two ways nearly cancel, and
// the gradient is good to some percent.)
void norm_parts(const Block& b, Workspace& work) {
  const int values = 9 * b.in_channels;
  for (int n = 0; n < b.forward.panels(); n++) {
    bf16* o = work.scaled + n / 2 * b.of_weights.plane + n % 2 * kLanes;
    auto pixel = [=](int k, __m512 v) {
      _mm256_store_si256((__m256i*)(o + k * kPlane), narrow(v));
    };
    const Unpool& u = work.unpools[n];
    for (int k = 0; k < values; k++)
      pixel(k, u.linear * apart(b.weight + (int64_t)n * kLanes * values + k, values));
    pixel(values, u.constant);
  }
  alignas(64) float means[2 * kPlane];
  patch_means(b.forward, work.planes[0], means);
  for (int tap = 0; tap < 3; tap++) {
    multiply_panel(work.scaled, b.of_weights, tap, b.part_weights.data(), work.scratch);
    auto row = [&](int k) { return _mm512_load_ps(work.scratch + k * kLanes); };
    __m512 offset = row(values);
    for (int k = 0; k < b.mixing.planes * kPlane; k += 2) {
      const __m256i even = k < values ? narrow(row(k)) : __m256i{};
      const __m256i odd = k + 1 < values ? narrow(row(k + 1)) : __m256i{};
      offset = _mm512_fnmadd_ps(widen(even), _mm512_set1_ps(means[k]), offset);
      offset = _mm512_fnmadd_ps(widen(odd), _mm512_set1_ps(means[k + 1]), offset);
      bf16* o = work.mixing + (k / kPlane * 3 + 2 - tap) * kTile + k % kPlane * kLanes;
      _mm512_store_si512(o, in_pairs(even, odd));
    }
    _mm512_store_ps(work.offsets + tap * kLanes, offset);
  }
}

// Rows of the image's gradient, from their parts and what the norm adds to these.
void gather_rows(const Block& b, Workspace& work, int row, int rows, bf16* dx) {
  const int c = b.in_channels, width = b.forward.width, first = row + b.padding;
  const int64_t start = (int64_t)first * width;
  Product mixing = b.mixing;
  mixing.height = rows;
  multiply_panel(work.planes[0] + start * kPlane, mixing, 0, work.mixing, work.scratch);
  const __m512i next = _mm512_add_epi32(multiples(1), _mm512_set1_epi32(c));
  for (int i = 0; i < rows; i++) {
    __m512 offset{}, sum{};
    for (int tap = 0; tap < 3; tap++)
      if (first + i >= tap && first + i - tap < b.forward.height)
        offset += _mm512_load_ps(work.offsets + tap * kLanes);
    // A pixel gives parts to itself and to the two after it: the sum of these moves on with them.
    for (int j = 0; j < width + 2; j++) {
      const int64_t at = ((int64_t)i * width + j) * kLanes;
      sum = _mm512_maskz_permutexvar_ps(0xffff >> c, next, sum);
      if (j < width)
        sum += _mm512_load_ps(work.parts + start * kLanes + at) +
               (_mm512_load_ps(work.scratch + at) + offset);
      _mm512_storeu_ps(work.line + j * c, sum);
    }
    for (int k = 0; k < c; k++)
      for (int j = 0; j < b.width; j += kLanes) {
        const int left = b.width - j;
        const __mmask16 there = left < kLanes ? (1 << left) - 1 : 0xffff;
        const float* at = work.line + (j + b.padding) * c + k;
        const __m512 v = _mm512_mask_i32gather_ps(__m512{}, there, multiples(c), at, 4);
        bf16* o = dx + ((int64_t)k * b.height + row + i) * b.width + j;
        _mm256_mask_storeu_epi16(o, there, narrow(v));
      }
  }
}

// The way back through a first block on patches, strip by strip, so that neither its outputs nor
// the gradient before its norm are written to memory.
void patch_gradient(const std::vector<Block>& blocks, Workspace& work, const char* kept,
                    const bf16* grad, bf16* dx) {
  const Block& b = blocks[0];
  const Product& p = b.forward;
  std::vector<Pooled> pooled(p.panels());
  const Norm* norms = (const Norm*)kept;
  for (int n = 0; n < p.panels(); n++) {
    float* values = work.pooled + n * Workspace::pooled_panel(blocks);
    pooled[n] = pooled_gradient(blocks, work, 0, n, grad, values);
    work.unpools[n] = begin_sums(_mm512_loadu_ps(b.gamma + n * kLanes) * norms[n].rstd);
  }
  const int64_t two_rows = 2 * p.width * kPlane;
  auto strip_planes = [&](auto use) {
    for (int plane = 0; plane < b.backward.planes; plane++)
      use(work.strip + plane * b.backward.plane);
  };
  strip_planes([=](bf16* o) { std::memset(o, 0, two_rows * sizeof *o); });
  for (int row = 0; row < p.height; row += p.strip_rows()) {
    const Product strip = p.strip(row);
    for (int n = 0; n < p.panels(); n++) {
      bf16* o = work.strip + n / 2 * b.backward.plane + n % 2 * kLanes + two_rows;
      unpool_strip(work.unpools[n], patch_values(b, work, norms, n, row, strip), strip,
                   pooled[n].from(row / 2), [=](int i, int j, __m256i v) {
                     _mm256_store_si256((__m256i*)(o + ((int64_t)i * p.width + j) * kPlane), v);
                   });
    }
    write_parts(b, work, row, strip.height);
    strip_planes([&](bf16* o) {
      std::memmove(o, o + strip.height * (two_rows / 2), two_rows * sizeof *o);
    });
  }
  strip_planes([=](bf16* o) { std::memset(o + two_rows, 0, two_rows * sizeof *o); });
  write_parts(b, work, p.height, 2);
  for (int n = 0; n < p.panels(); n++)
    end_sums(work.unpools[n], norms[n].rstd, p.height * p.width);
  norm_parts(b, work);
  for (int row = 0; row < b.height; row += p.strip_rows())
    gather_rows(b, work, row, std::min(p.strip_rows(), b.height - row), dx);
}

// Gradient of one image. kept: the end of what `forward_image` kept of it. grad: of the pooled
// maps.
void backward_image(const std::vector<Block>& blocks, Workspace& work, const char* kept,
                    const bf16* grad, bf16* dx) {
  for (size_t l = blocks.size(); l-- > 0;) {
    kept -= blocks[l].kept();
    if (blocks[l].patches) return patch_gradient(blocks, work, kept, grad, dx);
    unpool_kept(blocks, work, l, kept, grad);
  }
  image_gradient(blocks[0], work, dx);
}

}  // namespace

#endif
