#include "checkpoint/manifest.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <set>
#include <utility>

#include "checkpoint/strict_json.h"

namespace trident {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::string_view kComponent = "checkpoint/manifest";
// The text ends with `,"hash":"<32 digits>"}` and a newline; the hash is of all before its first digit.
constexpr std::string_view kHashKey = ",\"hash\":\"";
constexpr std::string_view kEnd = "\"}\n";
constexpr size_t kHashDigits = 32;

std::string hex(uint64_t number) { return fmt::format("{:016x}", number); }

ordered_json to_json(const RankFile& file) {
  ordered_json segments = ordered_json::array();
  for (const Segment& segment : file.segments) {
    const LogicalBlock& block = segment.block;
    segments.push_back({segment.tensor, block.row0, block.rows, block.column0, block.columns, segment.offset});
  }
  return {{"name", file.name},         {"bytes", file.bytes},     {"hash", to_hex(file.hash)},
          {"elements", file.elements}, {"payload", file.payload}, {"segments", std::move(segments)}};
}

/// Takes values out of a parsed manifest, refusing what is not as it must be. Errors name the place.
class Taker {
 public:
  explicit Taker(std::string source) : source_(std::move(source)) {}

  [[nodiscard]] Error refuse(const std::string& problem) const {
    return {ErrorCode::bad_data, std::string(kComponent), source_ + ": " + problem};
  }
  [[nodiscard]] const json& member(const json& object, const char* key) const {
    const auto found = object.find(key);
    if (!object.is_object() || found == object.end()) throw refuse(fmt::format("it has no {}", key));
    return *found;
  }
  [[nodiscard]] int64_t number(const json& value, const char* what, int64_t least, int64_t most) const {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX))
      throw refuse(fmt::format("{} is no integer", what));
    const auto number = value.get<int64_t>();
    if (number < least || number > most)
      throw refuse(fmt::format("{} is {}, beyond {} … {}", what, number, least, most));
    return number;
  }
  [[nodiscard]] int64_t count(const json& object, const char* key, int64_t most = INT64_MAX) const {
    return number(member(object, key), key, 0, most);
  }
  [[nodiscard]] std::string text(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_string()) throw refuse(fmt::format("{} is no text", key));
    return value.get<std::string>();
  }
  [[nodiscard]] const json& list(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_array()) throw refuse(fmt::format("{} is no list", key));
    return value;
  }
  [[nodiscard]] uint64_t word(const json& value, const char* what) const {
    uint64_t number = 0;
    const std::string digits = value.is_string() ? value.get<std::string>() : "";
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    if (digits.size() != 16 || error != std::errc() || end != digits.data() + digits.size())
      throw refuse(fmt::format("{} is not 16 hexadecimal digits", what));
    return number;
  }
  [[nodiscard]] Hash128 hash(const json& object, const char* key) const {
    try {
      return hash128_from_hex(text(object, key));
    } catch (const Error& error) {
      throw refuse(fmt::format("{}: {}", key, error.problem()));
    }
  }
  // A name in this folder, and of nothing that hides or leads away.
  [[nodiscard]] std::string file_name(const json& object) {
    std::string name = text(object, "name");
    const bool plain = !name.empty() && name.size() <= 255 && name.front() != '.' &&
                       name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
    if (!plain) throw refuse(fmt::format("'{}' is no plain file name", name));
    if (!names_.insert(name).second || name == Manifest::kFileName)
      throw refuse(fmt::format("{} is named twice", name));
    return name;
  }

 private:
  std::string source_;
  std::set<std::string> names_;
};

LogicalTensor take_tensor(const Taker& take, const json& value) {
  LogicalTensor tensor{take.text(value, "name"), {}};
  const json& dims = take.list(value, "shape");
  if (dims.empty() || dims.size() > Shape::kMaxDims) throw take.refuse(tensor.name + ": shape of a wrong rank");
  int64_t elements = 1;
  std::vector<int64_t> sizes;
  for (const json& dim : dims) {
    sizes.push_back(take.number(dim, "shape", 1, INT64_MAX));
    if (__builtin_mul_overflow(elements, sizes.back(), &elements))
      throw take.refuse(tensor.name + ": its shape overflows");
  }
  tensor.shape = Shape(std::span<const int64_t>(sizes));
  return tensor;
}

Segment take_segment(const Taker& take, const json& value, const Manifest& manifest, int64_t elements) {
  if (!value.is_array() || value.size() != 6) throw take.refuse("a segment is not six numbers");
  const auto most = static_cast<int64_t>(manifest.tensors.size()) - 1;
  Segment segment;
  segment.tensor = static_cast<int32_t>(take.number(value[0], "a segment's tensor", 0, most));
  const LogicalTensor& tensor = manifest.tensors[static_cast<size_t>(segment.tensor)];
  const LogicalBlock whole = whole_block(tensor.shape);
  LogicalBlock& block = segment.block;
  block.row0 = take.number(value[1], "a segment's first row", 0, whole.rows - 1);
  block.rows = take.number(value[2], "a segment's rows", 1, whole.rows - block.row0);
  block.column0 = take.number(value[3], "a segment's first column", 0, whole.columns - 1);
  block.columns = take.number(value[4], "a segment's columns", 1, whole.columns - block.column0);
  if (block.elements() > elements) throw take.refuse(tensor.name + ": a segment is larger than its file");
  segment.offset = take.number(value[5], "a segment's offset", 0, elements - block.elements());
  return segment;
}

RankFile take_rank_file(Taker& take, const json& value, const Manifest& manifest) {
  RankFile file;
  file.name = take.file_name(value);
  file.bytes = take.count(value, "bytes");
  file.hash = take.hash(value, "hash");
  const auto size = static_cast<int64_t>(size_of(manifest.dtype));
  file.elements = take.count(value, "elements", file.bytes / size);
  const json& payload = take.list(value, "payload");
  if (payload.size() != kStateKinds) throw take.refuse(file.name + ": payload is not three numbers");
  for (size_t kind = 0; kind < kStateKinds; ++kind) {
    const bool there = static_cast<int>(kind) < manifest.states();
    file.payload[kind] = take.number(payload[kind], "payload", 0, there ? file.bytes - file.elements * size : 0);
  }
  for (const json& segment : take.list(value, "segments"))
    file.segments.push_back(take_segment(take, segment, manifest, file.elements));
  return file;
}

void require_hash(std::string_view text, const Taker& take) {
  const size_t tail = kHashDigits + kEnd.size();
  if (text.size() < tail + kHashKey.size() || !text.ends_with(kEnd) ||
      text.substr(text.size() - tail - kHashKey.size(), kHashKey.size()) != kHashKey)
    throw take.refuse("it does not end with its hash: cut off, or no manifest");
  const std::string_view hashed = text.substr(0, text.size() - tail);
  if (to_hex(hash_bytes(std::as_bytes(std::span(hashed)))) != text.substr(hashed.size(), kHashDigits))
    throw take.refuse("its own hash does not match");
}

}  // namespace

std::string_view to_string(StateKind kind) {
  switch (kind) {
    case StateKind::master: return "master";
    case StateKind::exp_avg: return "exp_avg";
    case StateKind::exp_avg_sq: return "exp_avg_sq";
  }
  return "master";
}

int64_t Manifest::bytes() const {
  int64_t sum = 0;
  for (const RankFile& file : rank_files) sum += file.bytes;
  for (const ExtraFile& file : extra_files) sum += file.bytes;
  return sum;
}

std::string encode(const Manifest& manifest) {
  ordered_json tensors = ordered_json::array(), ranks = ordered_json::array(), extra = ordered_json::array();
  TRIDENT_CHECK(manifest.tensors.size() == manifest.digests.size());
  for (size_t i = 0; i < manifest.tensors.size(); ++i) {
    const auto& [name, shape] = manifest.tensors[i];
    ordered_json dims = ordered_json::array(), digests = ordered_json::array();
    for (int dim = 0; dim < shape.rank(); ++dim) dims.push_back(shape[dim]);
    for (int kind = 0; kind < manifest.states(); ++kind)
      digests.push_back(hex(manifest.digests[i][static_cast<size_t>(kind)]));
    tensors.push_back({{"name", name}, {"shape", std::move(dims)}, {"digests", std::move(digests)}});
  }
  for (const RankFile& file : manifest.rank_files) ranks.push_back(to_json(file));
  for (const ExtraFile& file : manifest.extra_files)
    extra.push_back({{"name", file.name}, {"bytes", file.bytes}, {"hash", to_hex(file.hash)}});
  const SavedLayout& layout = manifest.layout;
  ordered_json all = {{"format", Manifest::kFormat},
                      {"min_reader", Manifest::kMinReader},
                      {"run_id", manifest.run_id},
                      {"step", manifest.step},
                      {"consumed_samples", manifest.consumed_samples},
                      {"parent_step", nullptr},
                      {"seed", hex(manifest.seed)},
                      {"layout",
                       {{"dp", layout.dp},
                        {"tp", layout.tp},
                        {"pp", layout.pp},
                        {"virtual_stages", layout.virtual_stages},
                        {"zero_stage", layout.zero_stage}}},
                      {"dtype", to_string(manifest.dtype)},
                      {"moments", manifest.moments},
                      {"trainer", manifest.trainer},
                      {"config_hash", to_hex(manifest.config_hash)},
                      {"tokenizer_hash", to_hex(manifest.tokenizer_hash)},
                      {"tensors", std::move(tensors)},
                      {"rank_files", std::move(ranks)},
                      {"extra_files", std::move(extra)}};
  if (manifest.parent_step) all["parent_step"] = *manifest.parent_step;
  std::string text = all.dump(-1, ' ', true, json::error_handler_t::replace);
  text.pop_back();
  text += kHashKey;
  return text + to_hex(hash_bytes(std::as_bytes(std::span(text)))) + std::string(kEnd);
}

Manifest decode_manifest(std::string_view text, const std::string& source) {
  Taker take(source);
  // An accidental change never reaches the parser.
  require_hash(text, take);
  const json all = parse_strict_json(text, source);
  const int64_t reader = take.number(take.member(all, "min_reader"), "min_reader", 1, INT32_MAX);
  if (reader > Manifest::kFormat)
    throw NewerFormat(
        ErrorCode::bad_data, std::string(kComponent),
        fmt::format("{}: its format needs a reader of version {}, this one is {}", source, reader, Manifest::kFormat),
        "use the program that wrote it, or a newer one");
  Manifest manifest;
  manifest.run_id = take.text(all, "run_id");
  manifest.step = take.count(all, "step");
  manifest.consumed_samples = take.count(all, "consumed_samples");
  if (const json& parent = take.member(all, "parent_step"); !parent.is_null())
    manifest.parent_step = take.number(parent, "parent_step", 0, INT64_MAX);
  manifest.seed = take.word(take.member(all, "seed"), "seed");
  const json& layout = take.member(all, "layout");
  const auto rank_count = [&](const char* key) { return static_cast<int>(take.count(layout, key, INT32_MAX)); };
  manifest.layout = {rank_count("dp"), rank_count("tp"), rank_count("pp"), rank_count("virtual_stages"),
                     rank_count("zero_stage")};
  const std::string dtype = take.text(all, "dtype");
  if (dtype != "fp32" && dtype != "fp64") throw take.refuse(fmt::format("dtype is '{}', expected fp32 or fp64", dtype));
  manifest.dtype = dtype == "fp64" ? DType::fp64 : DType::fp32;
  const json& moments = take.member(all, "moments");
  if (!moments.is_boolean()) throw take.refuse("moments is neither true nor false");
  manifest.moments = moments.get<bool>();
  manifest.trainer = take.member(all, "trainer");
  if (!manifest.trainer.is_object()) throw take.refuse("trainer is no object");
  manifest.config_hash = take.hash(all, "config_hash");
  manifest.tokenizer_hash = take.hash(all, "tokenizer_hash");
  std::set<std::string> names;
  for (const json& value : take.list(all, "tensors")) {
    manifest.tensors.push_back(take_tensor(take, value));
    if (!names.insert(manifest.tensors.back().name).second)
      throw take.refuse(manifest.tensors.back().name + " is there twice");
    const json& digests = take.list(value, "digests");
    if (digests.size() != static_cast<size_t>(manifest.states())) throw take.refuse("a wrong number of digests");
    TensorDigest& digest = manifest.digests.emplace_back();
    for (size_t kind = 0; kind < digests.size(); ++kind) digest[kind] = take.word(digests[kind], "a digest");
  }
  for (const json& value : take.list(all, "rank_files"))
    manifest.rank_files.push_back(take_rank_file(take, value, manifest));
  for (const json& value : take.list(all, "extra_files")) {
    ExtraFile file{take.file_name(value), take.count(value, "bytes"), take.hash(value, "hash")};
    manifest.extra_files.push_back(std::move(file));
  }
  return manifest;
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / Manifest::kFileName;
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) throw system_error(errno, std::string(kComponent), "cannot open " + path.string());
  struct Closer {
    int descriptor;
    ~Closer() { close(descriptor); }
  } const closer{descriptor};
  const Taker take(path.string());
  struct stat status {};
  if (fstat(descriptor, &status) != 0)
    throw system_error(errno, std::string(kComponent), "cannot read " + path.string());
  if (!S_ISREG(status.st_mode)) throw take.refuse("it is no regular file");
  if (status.st_size > Manifest::kMaxBytes)
    throw take.refuse(fmt::format("{} bytes, expected at most {}", status.st_size, Manifest::kMaxBytes));
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t got = pread(descriptor, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error(errno, std::string(kComponent), "cannot read " + path.string());
    if (got == 0) throw take.refuse("it became shorter while it was read");
    at += static_cast<size_t>(got);
  }
  return decode_manifest(text, path.string());
}

}  // namespace trident
