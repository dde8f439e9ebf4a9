#include "train/gemm_setup.h"

#include <fmt/format.h>

#include <sstream>
#include <string_view>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "parallel/comm/exchange_text.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

GemmChoices read_choices(const fs::path& path) {
  if (path.empty() || !fs::exists(path)) return {};
  const MappedFile file(path);
  return GemmChoices::parse({reinterpret_cast<const char*>(file.data()), file.bytes().size()});
}

// Travels as choices do, with the strides in the place of a library's name.
GemmProducts products_of_all_ranks(const GemmProducts& own, const Communicator& world) {
  GemmChoices wanted;
  for (const auto& [key, strides] : own) wanted.set(key, fmt::format("{} {} {}", strides.a, strides.b, strides.c));
  GemmProducts products;
  for (const std::string& text : all_gather_text(world, wanted.to_json())) {
    const GemmChoices of_rank = GemmChoices::parse(text);
    for (const auto& [key, text_of_strides] : of_rank.table()) {
      GemmStrides strides;
      std::istringstream(text_of_strides) >> strides.a >> strides.b >> strides.c;
      products.emplace(key, strides);
    }
  }
  return products;
}

GemmChoices choose_here(const Stream& stream, const GemmProducts& products, const fs::path& kept) {
  const fs::path cache = gemm_cache_path(stream.device());
  GemmChoices agreed = read_choices(kept);
  GemmChoices known = agreed;
  known.add_missing(load_gemm_cache(cache));
  const GemmChoices choices = tune_gemms(stream, products, known);
  // Another process may have timed the same products meanwhile; both must go on with what the cache kept.
  const GemmChoices cached = store_gemm_cache(cache, choices);
  for (const auto& [key, strides] : products) {
    const std::string* name = cached.find(key) != nullptr ? cached.find(key) : choices.find(key);
    if (agreed.find(key) == nullptr && name != nullptr) agreed.set(key, *name);
  }
  if (!kept.empty()) write_file_atomically(kept, agreed.to_json());
  return agreed;
}

}  // namespace

GemmSetup::GemmSetup(Device target) : recorder_(std::make_shared<GemmRecorder>(target.kind)), meta_(Stream::meta()) {
  if (target.kind == DeviceKind::cpu) static_cast<void>(gemm_library_names());
  meta_.attach(recorder_);
}

void GemmSetup::choose(const Stream& stream, const fs::path& kept, const Communicator& world) const {
  TRIDENT_CHECK(stream.device().kind == recorder_->target(), "products were recorded for another device");
  const GemmProducts products = products_of_all_ranks(recorder_->products(), world);
  const std::string chosen = world.rank() == 0 ? choose_here(stream, products, kept).to_json() : std::string();
  follow_gemm_choices(stream, GemmChoices::parse(broadcast_text(world, chosen)));
}

}  // namespace trident
