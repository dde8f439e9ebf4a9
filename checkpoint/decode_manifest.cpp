#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/manifest_json.h"
#include "checkpoint/manifest_text.h"
#include "checkpoint/rank_file.h"
#include "core/error.h"

namespace trident {
namespace {

using nlohmann::json;

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

/// Takes values out of a parsed manifest, refusing what is not as it must be. Errors name the place.
class Taker {
 public:
  explicit Taker(const std::string& source) : source_(source) {}

  [[noreturn]] void refuse(const std::string& problem) const {
    throw Error(ErrorCode::bad_data, "checkpoint/manifest", source_ + ": " + problem);
  }
  void require(bool ok, const std::string& name, const char* problem) const {
    if (!ok) refuse(fmt::format("{}: {}", name, problem));
  }
  [[nodiscard]] const json& member(const json& object, const char* key) const {
    const auto found = object.find(key);
    if (found == object.end()) refuse(fmt::format("it has no {}", key));
    return *found;
  }
  [[nodiscard]] int64_t number(const json& value, const char* what, int64_t least, int64_t most) const {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{kMost}))
      refuse(fmt::format("{} is no integer of 63 bits", what));
    const auto number = value.get<int64_t>();
    if (number < least || number > most) refuse(fmt::format("{} is {}, beyond {} … {}", what, number, least, most));
    return number;
  }
  [[nodiscard]] int64_t count(const json& object, const char* key, int64_t most = kMost) const {
    return number(member(object, key), key, 0, most);
  }
  [[nodiscard]] const std::string& text(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_string()) refuse(fmt::format("{} is no text", key));
    return value.get_ref<const std::string&>();
  }
  /// Text that may be shown on a terminal or become part of a path in HDF5.
  [[nodiscard]] const std::string& name(const json& object, const char* key) const {
    const std::string& name = text(object, key);
    const bool plain =
        std::none_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 127; });
    if (name.empty() || name.size() > 255 || !plain) refuse(fmt::format("{} is no plain name", key));
    return name;
  }
  [[nodiscard]] const json& list(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_array()) refuse(fmt::format("{} is no list", key));
    return value;
  }
  [[nodiscard]] uint64_t word(const json& value, const char* what) const {
    uint64_t number = 0;
    const std::string digits = value.is_string() ? value.get<std::string>() : "";
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    if (error != std::errc() || end != digits.data() + digits.size() || digits != hex(number))
      refuse(fmt::format("{} is not 16 lower-case hexadecimal digits", what));
    return number;
  }
  [[nodiscard]] Hash128 hash(const json& object, const char* key) const {
    try {
      return hash128_from_hex(text(object, key));
    } catch (const Error& error) {
      refuse(fmt::format("{}: {}", key, error.problem()));
    }
  }

 private:
  const std::string& source_;
};

/// Names in this folder, none twice, and none that hides or leads away.
class FileNames {
 public:
  explicit FileNames(const Taker& take) : take_(take) {}
  [[nodiscard]] std::string take(const json& file) {
    std::string name = take_.name(file, "name");
    take_.require(name.front() != '.' && name.find('/') == std::string::npos, name, "no plain file name");
    add(name);
    return name;
  }
  void add(const std::string& name) { take_.require(names_.insert(name).second, name, "named twice"); }
  /// Sums up without overflow.
  [[nodiscard]] int64_t bytes(const json& file) {
    const int64_t bytes = take_.count(file, "bytes", kMost - all_);
    all_ += bytes;
    return bytes;
  }

 private:
  const Taker& take_;
  std::set<std::string> names_{Manifest::kFileName};
  int64_t all_ = 0;
};

LogicalTensor take_tensor(const Taker& take, const json& value) {
  LogicalTensor tensor{take.name(value, "name"), {}};
  const json& dims = take.list(value, "shape");
  take.require(!dims.empty() && dims.size() <= Shape::kMaxDims, tensor.name, "its shape is of a wrong rank");
  int64_t elements = 1;
  std::vector<int64_t> extents;
  for (const json& dim : dims) {
    extents.push_back(take.number(dim, "an extent", 1, kMost));
    take.require(!__builtin_mul_overflow(elements, extents.back(), &elements), tensor.name, "its shape overflows");
  }
  tensor.shape = Shape(std::span<const int64_t>(extents));
  return tensor;
}

void take_tensors(const Taker& take, const json& all, Manifest& manifest) {
  std::set<std::string> names;
  int64_t elements = 0;
  for (const json& value : take.list(all, "tensors")) {
    const LogicalTensor& tensor = manifest.tensors.emplace_back(take_tensor(take, value));
    take.require(names.insert(tensor.name).second, tensor.name, "named twice");
    take.require(!__builtin_add_overflow(elements, tensor.shape.elements(), &elements), tensor.name,
                 "the tensors' elements overflow");
    const json& digests = take.list(value, "digests");
    take.require(digests.size() == static_cast<size_t>(manifest.states()), tensor.name, "a wrong number of digests");
    TensorDigest& digest = manifest.digests.emplace_back();
    for (size_t kind = 0; kind < digests.size(); ++kind) digest[kind] = take.word(digests[kind], "a digest");
  }
}

/// None of [begin, begin + count) over another.
template <class Item, class Begin, class Count>
[[nodiscard]] bool disjoint(const std::vector<Item>& items, const Begin& begin, const Count& count) {
  std::vector<std::pair<int64_t, int64_t>> ranges;
  ranges.reserve(items.size());
  for (const Item& item : items) ranges.emplace_back(begin(item), count(item));
  if (!std::is_sorted(ranges.begin(), ranges.end())) std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first < ranges[i - 1].first + ranges[i - 1].second) return false;
  return true;
}

void check_segments(const Taker& take, const RankFile& file, const Manifest& manifest) {
  for (const auto& [tensor, block, offset] : file.segments) {
    take.require(tensor < std::ssize(manifest.tensors), file.name, "a segment's tensor is not there");
    const LogicalBlock whole = whole_block(manifest.tensors[static_cast<size_t>(tensor)].shape);
    const bool inside = block.rows >= 1 && block.columns >= 1 && block.rows <= whole.rows &&
                        block.columns <= whole.columns && block.row0 <= whole.rows - block.rows &&
                        block.column0 <= whole.columns - block.columns;
    take.require(inside, file.name, "a segment is not in its tensor");
    take.require(block.elements() <= file.elements && offset <= file.elements - block.elements(), file.name,
                 "a segment is not in the file's arrays");
  }
  take.require(disjoint(
                   file.segments, [](const Segment& segment) { return segment.offset; },
                   [](const Segment& segment) { return segment.block.elements(); }),
               file.name, "segments lie over each other");
}

RankFile take_rank_file(const Taker& take, FileNames& names, const json& value, const Manifest& manifest) {
  RankFile file;
  file.name = names.take(value);
  names.add(block_hash_file_name(file.name));
  file.bytes = names.bytes(value);
  file.hash = take.hash(value, "hash");
  const auto size = static_cast<int64_t>(size_of(manifest.dtype));
  file.elements = take.count(value, "elements", file.bytes / size);
  const json& payload = take.list(value, "payload");
  take.require(payload.size() == kStateKinds, file.name, "payload is not three numbers");
  for (size_t kind = 0; kind < kStateKinds; ++kind) {
    const bool there = static_cast<int>(kind) < manifest.states();
    file.payload[kind] = take.number(payload[kind], "payload", 0, there ? file.bytes - file.elements * size : 0);
    take.require(file.payload[kind] % size == 0, file.name, "an array begins between two elements");
  }
  const std::vector<int64_t> begins(file.payload.begin(), file.payload.begin() + manifest.states());
  take.require(
      disjoint(
          begins, [](int64_t begin) { return begin; }, [&](int64_t /*begin*/) { return file.elements * size; }),
      file.name, "its arrays lie over each other");
  (void)take.list(value, "segments");
  return file;
}

void take_header(const Taker& take, const json& all, Manifest& manifest) {
  (void)take.number(take.member(all, "min_reader"), "min_reader", 1, take.count(all, "format"));
  manifest.run_id = take.text(all, "run_id");
  manifest.step = take.count(all, "step");
  manifest.consumed_samples = take.count(all, "consumed_samples");
  if (const json& parent = take.member(all, "parent_step"); !parent.is_null())
    manifest.parent_step = take.number(parent, "parent_step", 0, kMost);
  manifest.seed = take.word(take.member(all, "seed"), "seed");
  const json& layout = take.member(all, "layout");
  const auto ranks = [&](const char* key) {
    return static_cast<int>(take.count(layout, key, std::numeric_limits<int>::max()));
  };
  manifest.layout = {ranks("dp"), ranks("tp"), ranks("pp"), ranks("virtual_stages"), ranks("zero_stage")};
  const std::string& dtype = take.text(all, "dtype");
  take.require(dtype == to_string(DType::fp32) || dtype == to_string(DType::fp64), "dtype", "neither fp32 nor fp64");
  manifest.dtype = dtype == to_string(DType::fp64) ? DType::fp64 : DType::fp32;
  const json& moments = take.member(all, "moments");
  take.require(moments.is_boolean(), "moments", "neither true nor false");
  manifest.moments = moments.get<bool>();
  manifest.trainer = take.member(all, "trainer");
  take.require(manifest.trainer.is_object(), "trainer", "no object");
  manifest.config_hash = take.hash(all, "config_hash");
  manifest.tokenizer_hash = take.hash(all, "tokenizer_hash");
}

void require_hash(const Taker& take, std::string_view text) {
  const size_t tail = kManifestHashDigits + kManifestEnd.size();
  const bool ends = text.size() >= tail && text.ends_with(kManifestEnd) &&
                    text.substr(0, text.size() - tail).ends_with(kManifestHashKey);
  if (!ends) take.refuse("it does not end with its hash: cut off, or no manifest");
  const std::string_view hashed = text.substr(0, text.size() - tail);
  if (to_hex(hash_bytes(hashed)) != text.substr(hashed.size(), kManifestHashDigits))
    take.refuse("its own hash does not match");
}

}  // namespace

Manifest decode_manifest(std::string_view text, const std::string& source) {
  const Taker take(source);
  // An accidental change never reaches the parser.
  require_hash(take, text);
  ManifestJson parsed = parse_manifest_json(text, source);
  const json& all = parsed.document;
  Manifest manifest;
  take_header(take, all, manifest);
  take_tensors(take, all, manifest);
  FileNames names(take);
  const json& rank_files = take.list(all, "rank_files");
  for (size_t i = 0; i < rank_files.size(); ++i) {
    RankFile& file = manifest.rank_files.emplace_back(take_rank_file(take, names, rank_files[i], manifest));
    file.segments = std::move(parsed.segments[i]);
    check_segments(take, file, manifest);
  }
  for (const json& value : take.list(all, "extra_files"))
    manifest.extra_files.push_back({names.take(value), names.bytes(value), take.hash(value, "hash")});
  return manifest;
}

}  // namespace trident
