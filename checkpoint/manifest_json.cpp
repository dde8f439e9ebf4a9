#include "checkpoint/manifest_json.h"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace trident {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 32;
constexpr size_t kShown = 100;
constexpr size_t kLongestToken = size_t{1} << 20;
constexpr std::string_view kStructure = ",:[]{}";

class ManifestHandler final : public nlohmann::json_sax<json> {
 public:
  ManifestHandler(const std::string& source, ManifestJson& result) : source_(source), result_(result) {}

  bool null() override { return other(nullptr); }
  bool boolean(bool value) override { return other(value); }
  bool number_integer(number_integer_t value) override { return other(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return other(value); }
  bool string(string_t& value) override { return other(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (open_.size() == 1 && key_->first == "min_reader") require_readable(value);
    if (list_ == List::none) return other(value);
    if (list_ == List::segments || numbers_ == segment_.size() || value > std::numeric_limits<int64_t>::max())
      return not_a_segment();
    segment_[numbers_++] = static_cast<int64_t>(value);
    return true;
  }

  bool start_object(size_t /*elements*/) override { return open(json::object()); }
  bool end_object() override { return close(); }

  bool start_array(size_t /*elements*/) override {
    if (list_ == List::none && at_segments()) {
      list_ = List::segments;
      result_.segments.resize(open_[1]->size());
      return other(json::array(), List::segments);
    }
    if (list_ == List::none) return open(json::array());
    if (list_ == List::segment) return not_a_segment();
    list_ = List::segment;
    numbers_ = 0;
    return true;
  }

  bool end_array() override {
    if (list_ == List::none) return close();
    if (list_ == List::segment) end_segment();
    list_ = list_ == List::segment ? List::segments : List::none;
    return true;
  }

  bool key(string_t& value) override {
    count();
    const auto [place, fresh] = open_.back()->get_ref<json::object_t&>().emplace(std::move(value), nullptr);
    if (!fresh) refuse(fmt::format("key {} appears twice in one object", place->first.substr(0, kShown)));
    key_ = &*place;
    return true;
  }

  bool parse_error(size_t position, const std::string& /*token*/, const nlohmann::detail::exception& problem) override {
    throw Error(ErrorCode::bad_data, "checkpoint/manifest",
                fmt::format("{}, byte {}: not JSON: {}", source_, position,
                            std::string_view(problem.what()).substr(0, 2 * kShown)));
  }

 private:
  enum class List { none, segments, segment };

  [[noreturn]] bool refuse(const std::string& problem) const {
    throw Error(ErrorCode::bad_data, "checkpoint/manifest", source_ + ": " + problem);
  }
  [[noreturn]] bool not_a_segment() const { refuse("a segment is not six numbers"); }

  // At once: a newer format may differ in all that follows.
  void require_readable(uint64_t reader) const {
    if (reader <= Manifest::kFormat) return;
    throw NewerFormat(
        ErrorCode::bad_data, "checkpoint/manifest",
        fmt::format("{}: it needs a reader of format {}, this one reads up to {}", source_, reader, Manifest::kFormat),
        "use the program that wrote it, or a newer one");
  }

  void count() {
    if (++others_ > Manifest::kMaxOtherValues) refuse(fmt::format("more than {} values", Manifest::kMaxOtherValues));
  }

  /// Puts a value into the innermost open list or object. `in` is the list that it may stand in.
  bool other(json value, List in = List::none) {
    if (list_ != in) not_a_segment();
    (void)put(std::move(value));
    return true;
  }

  json* put(json value) {
    count();
    if (open_.empty()) return &(result_.document = std::move(value));
    if (open_.back()->is_array()) return &open_.back()->emplace_back(std::move(value));
    return &(key_->second = std::move(value));
  }

  bool open(json value) {
    if (list_ != List::none) not_a_segment();
    if (open_.size() == kMaxDepth) refuse(fmt::format("nested more than {} deep", kMaxDepth));
    json* const place = put(std::move(value));
    if (open_.size() == 1) top_key_ = open_[0]->is_object() ? key_->first : "";
    open_.push_back(place);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  /// At {"rank_files": [{"segments": …
  [[nodiscard]] bool at_segments() const {
    return open_.size() == 3 && top_key_ == "rank_files" && open_[1]->is_array() && open_[2]->is_object() &&
           key_->first == "segments";
  }

  void end_segment() {
    const auto& [tensor, row0, column0, rows, columns, offset] = segment_;
    if (numbers_ != segment_.size() || tensor > std::numeric_limits<int32_t>::max()) not_a_segment();
    if (++segments_ > Manifest::kMaxSegments) refuse(fmt::format("more than {} segments", Manifest::kMaxSegments));
    result_.segments.back().push_back({static_cast<int32_t>(tensor), {row0, rows, column0, columns}, offset});
  }

  const std::string& source_;
  ManifestJson& result_;
  std::vector<json*> open_;                            // lists and objects, outermost first
  std::pair<const std::string, json>* key_ = nullptr;  // the member whose value comes next
  std::string top_key_;
  List list_ = List::none;
  std::array<int64_t, 6> segment_{};
  size_t numbers_ = 0;
  size_t segments_ = 0;
  size_t others_ = 0;
};

// The parser keeps a copy of the token that it is in, and of the space before it.
void require_short_tokens(std::string_view text, const std::string& source) {
  bool in_string = false;
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (at - begin > kLongestToken)
      throw Error(ErrorCode::bad_data, "checkpoint/manifest",
                  fmt::format("{}, byte {}: a token of more than {} bytes", source, begin, kLongestToken));
    if (in_string && c == '\\') {
      ++at;
    } else if (c == '"') {
      in_string = !in_string;
      begin = at;
    } else if (!in_string && kStructure.find(c) != std::string_view::npos) {
      begin = at;
    }
  }
}

}  // namespace

ManifestJson parse_manifest_json(std::string_view text, const std::string& source) {
  // The parser would skip a byte-order mark and take a NUL for the end of the text.
  if (text.empty() || text.front() != '{' || text.find('\0') != std::string_view::npos)
    throw Error(ErrorCode::bad_data, "checkpoint/manifest", source + ": it is no JSON object");
  require_short_tokens(text, source);
  ManifestJson result;
  ManifestHandler handler(source, result);
  json::sax_parse(text.begin(), text.end(), &handler);
  result.segments.resize(result.document.contains("rank_files") ? result.document["rank_files"].size() : 0);
  return result;
}

}  // namespace trident
