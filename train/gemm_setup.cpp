#include "train/gemm_setup.h"

#include <string_view>

#include "core/atomic_file.h"
#include "core/mapped_file.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

GemmChoices read_choices(const fs::path& path) {
  if (path.empty() || !fs::exists(path)) return {};
  const MappedFile file(path);
  return GemmChoices::parse({reinterpret_cast<const char*>(file.data()), file.bytes().size()});
}

}  // namespace

GemmSetup::GemmSetup() : recorder_(std::make_shared<GemmRecorder>()), meta_(Stream::meta()) { meta_.attach(recorder_); }

std::shared_ptr<GemmState> GemmSetup::choose(const fs::path& kept) const {
  const fs::path cache = gemm_cache_path();
  GemmChoices known = read_choices(kept);
  known.add_missing(load_gemm_cache(cache));
  GemmChoices choices = tune_gemms(recorder_->keys(), known);
  const GemmChoices cached = store_gemm_cache(cache, choices);
  // Another process may have timed the same products meanwhile; both must go on with what the cache kept.
  GemmChoices agreed = read_choices(kept);
  agreed.add_missing(cached);
  agreed.add_missing(choices);
  if (!kept.empty()) write_file_atomically(kept, agreed.to_json());
  return std::make_shared<GemmState>(std::move(agreed));
}

}  // namespace trident
