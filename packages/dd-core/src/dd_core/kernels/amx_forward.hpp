// The forward pass of the ConvNet of convnet_amx.cpp for one image. amx_block.hpp comes before in
// the same translation unit, amx_backward.hpp follows.
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
  // Backward, of a first block on patches. The image's gradient is a sum over 9 taps: `parts` holds
  // of every pixel what three rows of pixels give to its 3 neighbours in a row.
  float* pooled;  // the gradient after pooling
  Unpool* unpools;
  bf16* strip;  // the gradient before the norm: two rows of the strip before, then a strip
  float* parts;
  bf16 *scaled, *mixing;  // see `norm_parts`
  float *offsets, *line;

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
    take(sums, panels_of_block);
    if (backward && first.patches) {
      take(pooled, first.forward.panels() * pooled_panel(blocks));
      take(unpools, first.forward.panels());
      take(strip, first.backward.planes * first.backward.plane);
      take(parts, (int64_t)((first.forward.height + 2) * first.forward.width + kSlack) * kLanes);
      take(scaled, first.of_weights.planes * first.of_weights.plane);
      take(mixing, first.mixing.panels() * first.mixing.steps() * kTile);
      take(offsets, first.of_weights.panels() * kLanes);
      take(line, (first.forward.width + 2) * first.in_channels + kLanes);
      panel = std::max({panel, first.of_weights.panel(), first.mixing.strip(0).panel()});
    }
    take(scratch, panel);
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
    bf16* o = work.planes[0] + plane * b.forward.plane + b.forward.start * kPlane;
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
void enter(const bf16* x, const Strides& s, const Block& b, const Interleave& interleave,
           Workspace& work) {
  const int64_t corner = (int64_t)b.padding * (b.pitch() + 1);
  if (b.patches && s.column == 1) {
    for (int i = 0; i < b.height; i++) {
      bf16* o = work.image + (corner + (int64_t)i * b.pitch()) * b.in_channels;
      interleave(x + i * s.row, s.channel, b.width, o);
    }
  } else {
    const int step = b.patches ? b.in_channels : kPlane;
    for (int c = 0; c < b.in_channels; c++) {
      bf16* plane = b.patches ? work.image + c
                              : work.planes[0] + c / kPlane * b.forward.plane + c % kPlane;
      for (int i = 0; i < b.height; i++) {
        const bf16* row = x + c * s.channel + i * s.row;
        bf16* o = plane + (corner + (int64_t)i * b.pitch()) * step;
        for (int j = 0; j < b.width; j++) o[j * step] = row[j * s.column];
      }
    }
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

// Writes down a panel for the backward pass, past the caches: it is read only much later.
void keep(const Block& b, int n, const Norm& norm, const float* y, char* kept) {
  std::memcpy(kept + n * sizeof norm, &norm, sizeof norm);
  if (b.patches) return;
  const int64_t count = b.kept_pixels();
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
          multiply_panel(a, strip, n, b.weights.data(), y);
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

}  // namespace

#endif
