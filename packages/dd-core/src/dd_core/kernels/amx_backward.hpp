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
      multiply_panel(work.planes[0], p, c / kLanes, b.backward_weights, work.scratch);
    for (int i = 0; i < p.height; i++)
      for (int j = 0; j < p.width; j++)
        *dx++ = narrow(work.scratch[((int64_t)i * p.rows() + j) * kLanes + c % kLanes]);
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
