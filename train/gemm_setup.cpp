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
  GemmChoices agreed = read_choices(kept);
  GemmChoices known = agreed;
  known.add_missing(load_gemm_cache(cache));
  const GemmChoices choices = tune_gemms(recorder_->keys(), known);
  // Another process may have timed the same products meanwhile; both must go on with what the cache kept.
  const GemmChoices cached = store_gemm_cache(cache, choices);
  for (const GemmKey& key : recorder_->keys()) {
    const std::string* name = cached.find(key) != nullptr ? cached.find(key) : choices.find(key);
    if (agreed.find(key) == nullptr && name != nullptr) agreed.set(key, *name);
  }
  if (!kept.empty()) write_file_atomically(kept, agreed.to_json());
  return std::make_shared<GemmState>(std::move(agreed));
}

}  // namespace trident
