#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors_reader.h"
#include "checkpoint/safetensors_writer.h"

namespace trident {

/// Largest file that export writes before it cuts the weights into shards.
inline constexpr uint64_t kDefaultShardBytes = 5'000'000'000;

/// The weights of a model directory: `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
/// The index and the shards must agree on every tensor.
class SafetensorsModel {
 public:
  explicit SafetensorsModel(const std::filesystem::path& directory);

  struct Entry {
    const SafetensorsFile* file = nullptr;
    const TensorInfo* tensor = nullptr;
  };
  /// Empty entry where the model has no such tensor.
  Entry find(std::string_view name) const;
  /// All tensors, file by file in the order of their bytes.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  void open_index(const std::filesystem::path& index);

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<Entry> entries_;
};

/// Which tensors go to which shard: in order, a new shard where the limit would be passed. A tensor larger than the
/// limit has a shard of its own.
[[nodiscard]] std::vector<std::vector<TensorSpec>> plan_shards(const std::vector<TensorSpec>& tensors,
                                                               uint64_t shard_bytes);

/// "model.safetensors", or "model-00002-of-00003.safetensors" for shard 1 of 3.
[[nodiscard]] std::string shard_name(size_t shard, size_t shards);

/// SafetensorsWriter over as many shards as needed, with their index.
class SafetensorsModelWriter {
 public:
  SafetensorsModelWriter(std::filesystem::path directory, const std::vector<TensorSpec>& tensors,
                         uint64_t shard_bytes = kDefaultShardBytes);

  /// Values in the declared order; a block belongs to one tensor.
  void append(const std::string& name, std::span<const float> values) { writer_of(name).append(name, values); }
  void append(const std::string& name, std::span<const double> values) { writer_of(name).append(name, values); }
  void commit();

 private:
  SafetensorsWriter& writer_of(const std::string& name);
  void open_shard(size_t shard);
  void write_index() const;

  std::filesystem::path directory_;
  std::vector<std::vector<TensorSpec>> shards_;
  size_t shard_ = 0;
  std::optional<SafetensorsWriter> writer_;
};

}  // namespace trident
