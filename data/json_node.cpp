#include "data/json_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_set>
#include <vector>

#include "core/error.h"
#include "data/text_file.h"

namespace trident {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;
constexpr uint64_t kMaxFile = uint64_t{256} << 20;
constexpr size_t kShownText = 60;

const json kNull;

/// Watches a parse for what nlohmann::json lets pass: deep nesting and repeated members.
class Watch {
 public:
  explicit Watch(const std::string& name) : name_(name) {}

  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    if (depth > kMaxDepth) fail(fmt::format("nests more than {} deep", kMaxDepth));
    if (event == json::parse_event_t::object_start) members_.emplace_back();
    if (event == json::parse_event_t::object_end) members_.pop_back();
    if (event == json::parse_event_t::key && !members_.back().insert(parsed.get_ref<const std::string&>()).second) {
      fail(fmt::format("an object has the member \"{}\" twice",
                       parsed.get_ref<const std::string&>().substr(0, kShownText)));
    }
    return true;
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::bad_data, "data/tokenizer", name_ + ": " + problem, "check that this is a tokenizer's file");
  }

  const std::string& name_;
  std::vector<std::unordered_set<std::string>> members_;
};

std::string shown(const json& value) {
  switch (value.type()) {
    case json::value_t::null: return "nothing";
    case json::value_t::object: return "an object";
    case json::value_t::array: return "an array";
    case json::value_t::string: return fmt::format("\"{}\"", value.get_ref<const std::string&>().substr(0, kShownText));
    default: return value.dump();
  }
}

}  // namespace

void JsonNode::fail(const std::string& problem) const {
  throw Error(ErrorCode::bad_data, "data/tokenizer", file_ + ": " + (path_.empty() ? "" : path_ + ": ") + problem,
              "use a tokenizer file that Trident supports: byte-level BPE");
}

void JsonNode::wrong_type(const char* expected) const {
  fail(fmt::format("found {}, expected {}", shown(*value_), expected));
}

JsonNode JsonNode::operator[](std::string_view key) const {
  std::string path = path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  if (!value_->is_object()) return {file_, std::move(path), kNull};
  const auto found = value_->find(std::string(key));
  return {file_, std::move(path), found == value_->end() ? kNull : *found};
}

JsonNode JsonNode::operator[](size_t index) const {
  return {file_, fmt::format("{}[{}]", path_, index), (*value_)[index]};
}

const JsonNode& JsonNode::object() const {
  if (!value_->is_object()) wrong_type("an object");
  return *this;
}

const JsonNode& JsonNode::array() const {
  if (!value_->is_array()) wrong_type("an array");
  return *this;
}

const std::string& JsonNode::string() const {
  if (!value_->is_string()) wrong_type("a string");
  return value_->get_ref<const std::string&>();
}

int64_t JsonNode::integer() const {
  if (!value_->is_number_integer()) wrong_type("an integer");
  if (value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    wrong_type("an integer below 2^63");
  }
  return value_->get<int64_t>();
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) wrong_type("true or false");
  return value_->get<bool>();
}

void JsonNode::only(std::initializer_list<std::string_view> known) const {
  object();
  for (const auto& [key, member] : value_->items()) {
    if (std::find(known.begin(), known.end(), key) == known.end() && !member.is_null()) {
      (*this)[key].fail(fmt::format("not supported (found {})", shown(member)));
    }
  }
}

json parse_json(const std::string& text, const std::string& name) {
  try {
    return json::parse(text, Watch(name));
  } catch (const json::exception& failure) {
    throw Error(ErrorCode::bad_data, "data/tokenizer", name + ": not JSON: " + failure.what(),
                "check that the file is whole");
  }
}

json read_json_file(const std::string& path) { return parse_json(read_text_file(path, kMaxFile), path); }

}  // namespace trident
