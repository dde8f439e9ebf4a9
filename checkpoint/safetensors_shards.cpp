#include "checkpoint/safetensors_shards.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "checkpoint/strict_json.h"
#include "core/error.h"
#include "core/log.h"

namespace trident {
namespace {

constexpr auto kSingleName = "model.safetensors";
constexpr auto kIndexName = "model.safetensors.index.json";
constexpr size_t kIndexLimit = size_t{64} << 20;

Error bad(const std::string& problem, const std::string& remedy = {}) {
  return {ErrorCode::bad_data, "checkpoint/safetensors", problem, remedy};
}

/// Shard file -> names of its tensors.
using Shards = std::map<std::string, std::vector<std::string>>;

/// A shard lies beside its index: no folders, no way out of the directory.
bool is_plain_file_name(const std::string& name) {
  return name.ends_with(".safetensors") && name.find('/') == std::string::npos && name.front() != '.';
}

Shards read_weight_map(const nlohmann::json& json, const std::string& index) {
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object()) {
    throw bad(index + ": expected an object with weight_map");
  }
  Shards shards;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
      throw bad(fmt::format("{}, tensor {}: shard is {}, expected the name of a .safetensors file beside the index",
                            index, tensor, file.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    }
    shards[file.get<std::string>()].push_back(tensor);
  }
  if (shards.empty()) throw bad(index + ": weight_map is empty");
  return shards;
}

void check_shard(const SafetensorsFile& file, const std::vector<std::string>& expected, const std::string& index) {
  for (const std::string& name : expected) {
    if (file.find(name) == nullptr) {
      throw bad(fmt::format("{}, tensor {}: not in {}, where the index says it is", index, name, file.path()));
    }
  }
  if (file.tensors().size() == expected.size()) return;
  const std::unordered_set<std::string_view> listed(expected.begin(), expected.end());
  for (const TensorInfo& tensor : file.tensors()) {
    if (!listed.contains(tensor.name)) {
      throw bad(fmt::format("{}, tensor {}: the index {} does not list it there", file.path(), tensor.name, index));
    }
  }
}

/// The field is often wrong in published models after a change of type, and nothing depends on it.
void compare_total_size(const nlohmann::json& json, uint64_t found, const std::string& index) {
  const auto metadata = json.find("metadata");
  if (metadata == json.end() || !metadata->is_object()) return;
  const auto total = metadata->find("total_size");
  if (total == metadata->end() || !total->is_number_unsigned() || *total == found) return;
  log::warning("{}: metadata.total_size is {}, the shards hold {} bytes of tensors", index, total->dump(), found);
}

}  // namespace

SafetensorsModel::SafetensorsModel(const std::filesystem::path& directory) {
  if (std::filesystem::exists(directory / kSingleName)) {
    files_.push_back(std::make_unique<SafetensorsFile>(directory / kSingleName));
  } else if (std::filesystem::exists(directory / kIndexName)) {
    open_index(directory / kIndexName);
  } else {
    throw Error(ErrorCode::input_missing, "checkpoint/safetensors",
                fmt::format("{}: neither {} nor {} is there", directory.string(), kSingleName, kIndexName),
                "models saved in another format can be saved again with save_pretrained(safe_serialization=True)");
  }
  for (const auto& file : files_) {
    for (const TensorInfo& tensor : file->tensors()) entries_.push_back({file.get(), &tensor});
  }
}

void SafetensorsModel::open_index(const std::filesystem::path& index) {
  const nlohmann::json json = read_json_file(index, kIndexLimit);
  uint64_t bytes = 0;
  for (const auto& [name, tensors] : read_weight_map(json, index.string())) {
    files_.push_back(std::make_unique<SafetensorsFile>(index.parent_path() / name));
    check_shard(*files_.back(), tensors, index.string());
    for (const TensorInfo& tensor : files_.back()->tensors()) bytes += tensor.bytes;
  }
  compare_total_size(json, bytes, index.string());
}

SafetensorsModel::Entry SafetensorsModel::find(std::string_view name) const {
  for (const auto& file : files_) {
    if (const TensorInfo* tensor = file->find(name); tensor != nullptr) return {file.get(), tensor};
  }
  return {};
}

std::vector<std::vector<TensorSpec>> plan_shards(const std::vector<TensorSpec>& tensors, uint64_t shard_bytes) {
  std::vector<std::vector<TensorSpec>> shards(1);
  uint64_t used = 0;
  for (const TensorSpec& tensor : tensors) {
    const uint64_t bytes = tensor_bytes(tensor.dtype, tensor.shape, "tensor " + tensor.name);
    const bool fits = bytes <= shard_bytes && used <= shard_bytes - bytes;
    if (!shards.back().empty() && !fits) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(tensor);
    used += bytes;
  }
  return shards;
}

std::string shard_name(size_t shard, size_t shards) {
  return shards == 1 ? kSingleName : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
}

SafetensorsModelWriter::SafetensorsModelWriter(std::filesystem::path directory, const std::vector<TensorSpec>& tensors,
                                               uint64_t shard_bytes)
    : directory_(std::move(directory)), shards_(plan_shards(tensors, shard_bytes)) {
  open_shard(0);
}

void SafetensorsModelWriter::open_shard(size_t shard) {
  shard_ = shard;
  writer_.emplace(directory_ / shard_name(shard, shards_.size()), shards_[shard]);
}

SafetensorsWriter& SafetensorsModelWriter::writer_of(const std::string& name) {
  const auto holds = [&](const std::vector<TensorSpec>& shard) {
    return std::any_of(shard.begin(), shard.end(), [&](const TensorSpec& tensor) { return tensor.name == name; });
  };
  while (!holds(shards_[shard_])) {
    TRIDENT_CHECK(shard_ + 1 < shards_.size(), "values of " + name + " came out of order");
    writer_->commit();
    open_shard(shard_ + 1);
  }
  return *writer_;
}

void SafetensorsModelWriter::commit() {
  while (shard_ + 1 < shards_.size()) {
    writer_->commit();
    open_shard(shard_ + 1);
  }
  writer_->commit();
  if (shards_.size() > 1) write_index();
}

void SafetensorsModelWriter::write_index() const {
  nlohmann::json map = nlohmann::json::object();
  uint64_t total = 0;
  for (size_t shard = 0; shard < shards_.size(); ++shard) {
    for (const TensorSpec& tensor : shards_[shard]) {
      map[tensor.name] = shard_name(shard, shards_.size());
      total += tensor_bytes(tensor.dtype, tensor.shape, tensor.name);
    }
  }
  AtomicFile file(directory_ / kIndexName);
  file.write(nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(2) + "\n");
  file.commit();
}

}  // namespace trident
