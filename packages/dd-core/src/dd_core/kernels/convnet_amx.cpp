// A whole ConvNet for bfloat16 images, one image at a time, by amx_forward.hpp and
// amx_backward.hpp.
//
// Every block is convolution 3x3 without bias, instance norm, ReLU and 2x2 average pooling. All
// that one image needs stays in the cache of one core. Where a gradient will be needed the forward
// pass writes down what is dear to compute again, as bfloat16: the convolutions' outputs, but not
// the first one's, which are most of the values and, of few channels, cheap. Products are of
// bfloat16; sums, norms and pooling are float32. One thread takes whole images, and each is
// computed alone, so results depend on neither the threads nor the other images of the batch.
#ifdef HAS_AMX

namespace {

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
  const Interleave interleave(first.patches ? first.in_channels : 0);
#pragma omp parallel num_threads(threads)
  {
    const TileConfig config;
    _tile_loadconfig(&config);
    Workspace work(blocks, grad != nullptr);
#pragma omp for schedule(static)
    for (int n = 0; n < images; n++) {
      if (!grad || first.patches) enter(x + n * s.image, s, first, interleave, work);
      if (grad) {
        backward_image(blocks, work, kept + (n + 1) * bytes, grad + n * features, out + n * values);
      } else {
        forward_image(blocks, work, out + n * features, kept ? kept + n * bytes : nullptr, eps);
      }
    }
    _mm_sfence();  // what was kept went past the caches
    _tile_release();
  }
}
#endif

}  // extern "C"
