#include "train/clip_scale.h"

namespace trident {

double clip_scale(double norm, double max_norm) {
  // The same epsilon as torch.nn.utils.clip_grad_norm_, so that clipped runs agree to rounding.
  return max_norm > 0 && norm > max_norm ? max_norm / (norm + 1e-6) : 1.0;
}

}  // namespace trident
