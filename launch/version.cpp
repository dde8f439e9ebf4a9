#include "launch/version.h"

#include <fmt/format.h>

#include "core/build_features.h"

namespace trident {

std::string version_text() {
  namespace features = build_features;
  std::string text =
      fmt::format("trident {}\nbuild {} by {}\nmpi {}\ncuda {}\nnccl {}", features::version, features::build_type,
                  features::compiler, features::mpi, features::cuda, features::nccl);
  if (!features::sanitizers.empty()) text += fmt::format("\nsanitizers {}", features::sanitizers);
  return text;
}

}  // namespace trident
