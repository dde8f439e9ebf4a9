#include "kernels/tree_sum.h"

#include "core/error.h"
#include "kernels/cuda/tree_sum.h"

namespace trident {

void tree_sum(const Stream& stream, DType dtype, std::span<const std::byte* const> sources,
              std::span<const TreeAddition> additions, int64_t count, std::byte* out) {
  TRIDENT_CHECK(stream.device().kind == DeviceKind::cuda && !additions.empty());
  TRIDENT_CHECK(dtype == DType::fp32 || dtype == DType::fp64);
  if (sources.size() > kMostTreeSources)
    throw Error(ErrorCode::config, "kernels/tree_sum",
                "a sum of " + std::to_string(sources.size()) + " parts, at most " + std::to_string(kMostTreeSources) +
                    " are possible on a GPU",
                "use a number of shards that the data-parallel ranks divide, or fewer ranks");
  if (count > 0) cuda::tree_sum(stream, dtype, sources, additions, count, out);
}

}  // namespace trident
