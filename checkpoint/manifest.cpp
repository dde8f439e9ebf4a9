#include "checkpoint/manifest.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <span>
#include <utility>

#include "checkpoint/checkpoint_folder.h"
#include "checkpoint/manifest_text.h"

namespace trident {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kComponent = "checkpoint/manifest";

std::string dump(const ordered_json& value) { return value.dump(-1, ' ', true, json::error_handler_t::replace); }

ordered_json facts(const Manifest& manifest) {
  const SavedLayout& layout = manifest.layout;
  ordered_json facts = {{"format", Manifest::kFormat},
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
                        {"tokenizer_hash", to_hex(manifest.tokenizer_hash)}};
  if (manifest.parent_step) facts["parent_step"] = *manifest.parent_step;
  return facts;
}

std::string tensor_line(const LogicalTensor& tensor, const TensorDigest& digest, int states) {
  ordered_json digests = ordered_json::array();
  for (int kind = 0; kind < states; ++kind) digests.push_back(hex(digest[static_cast<size_t>(kind)]));
  return dump({{"name", tensor.name}, {"shape", tensor.shape.dims()}, {"digests", std::move(digests)}});
}

// Not by way of a JSON document: there may be a million segments.
std::string rank_file_line(const RankFile& file) {
  std::string line = dump({{"name", file.name},
                           {"bytes", file.bytes},
                           {"hash", to_hex(file.hash)},
                           {"elements", file.elements},
                           {"payload", file.payload}});
  line.pop_back();
  line += ",\"segments\":[";
  for (const auto& [tensor, block, offset] : file.segments)
    fmt::format_to(std::back_inserter(line), "[{},{},{},{},{},{}],", tensor, block.row0, block.column0, block.rows,
                   block.columns, offset);
  if (!file.segments.empty()) line.pop_back();
  return line + "]}";
}

template <class Line>
void append_list(std::string& text, const char* key, size_t count, const Line& line) {
  text += fmt::format(",\n\"{}\":[", key);
  for (size_t i = 0; i < count; ++i) text += (i == 0 ? "\n" : ",\n") + line(i);
  text += "]";
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
  TRIDENT_CHECK(manifest.tensors.size() == manifest.digests.size());
  std::string text = dump(facts(manifest));
  text.pop_back();
  append_list(text, "tensors", manifest.tensors.size(),
              [&](size_t i) { return tensor_line(manifest.tensors[i], manifest.digests[i], manifest.states()); });
  append_list(text, "rank_files", manifest.rank_files.size(),
              [&](size_t i) { return rank_file_line(manifest.rank_files[i]); });
  append_list(text, "extra_files", manifest.extra_files.size(), [&](size_t i) {
    const ExtraFile& file = manifest.extra_files[i];
    return dump({{"name", file.name}, {"bytes", file.bytes}, {"hash", to_hex(file.hash)}});
  });
  text += kManifestHashKey;
  return text + to_hex(hash_bytes(text)) + std::string(kManifestEnd);
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / Manifest::kFileName;
  // A pipe must not hold us up; it is refused below.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  const auto refuse = [&](const std::string& problem) {
    return Error(ErrorCode::bad_data, kComponent, path.string() + ": " + problem);
  };
  if (descriptor < 0 && errno == ELOOP) throw refuse("it is a link, no regular file");
  if (descriptor < 0) throw cannot_open(errno, path);
  struct Closer {
    int descriptor;
    ~Closer() { close(descriptor); }
  } const closer{descriptor};
  struct stat status {};
  if (fstat(descriptor, &status) != 0) throw system_error(errno, kComponent, "cannot read " + path.string());
  if (!S_ISREG(status.st_mode)) throw refuse("it is no regular file");
  if (status.st_size > Manifest::kMaxBytes)
    throw refuse(fmt::format("{} bytes, expected at most {}", status.st_size, Manifest::kMaxBytes));
  std::string text(static_cast<size_t>(status.st_size), '\0');
  for (size_t at = 0; at < text.size();) {
    const ssize_t got = pread(descriptor, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error(errno, kComponent, "cannot read " + path.string());
    if (got == 0) throw refuse("it became shorter while it was read");
    at += static_cast<size_t>(got);
  }
  return decode_manifest(text, path.string());
}

}  // namespace trident
