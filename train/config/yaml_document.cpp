#include "train/config/yaml_document.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include "train/config/text_check.h"

namespace trident::config {
namespace {

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMaxWidth = 1000;

/// Ends the parse after its reason was reported.
struct Abandon {};

/// Builds Nodes from yaml-cpp's events. Events rather than yaml-cpp's own tree, because that tree hides duplicates and
/// expands aliases.
class Builder final : public YAML::EventHandler {
 public:
  Builder(int source, Diagnostics& diagnostics) : source_(source), diagnostics_(diagnostics) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) refuse(mark, "a second document starts here", "one file holds one job; remove it");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check_anchor(mark, anchor);
    if (awaits_key()) return set_key(mark, "", false);
    put({YamlNode::Kind::null, place(mark)});
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    report(mark, "aliases (*name) are not read in a job file", "write the value out");
    if (awaits_key()) return set_key(mark, "", true);
    put({YamlNode::Kind::refused, place(mark)});
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_anchor(mark, anchor);
    check_tag(mark, tag);
    const bool quoted = tag == "!";
    if (awaits_key()) return set_key(mark, value, value == "<<" && !quoted);
    put({YamlNode::Kind::scalar, place(mark), value, quoted});
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::sequence);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YamlNode node;
    std::map<std::string, Place, std::less<>> first;  ///< where each key stands first
    std::optional<YamlNode::Entry> pending;           ///< a key whose value comes next
    bool drop_value = false;                          ///< the pending key was refused
  };

  Place place(const YAML::Mark& mark) const {
    return {source_, std::max(mark.line, 0) + 1, std::max(mark.column, 0) + 1};
  }

  void report(const YAML::Mark& mark, std::string problem, std::string remedy) {
    diagnostics_.add(place(mark), "E104", std::move(problem), std::move(remedy));
  }

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string problem, std::string remedy) {
    report(mark, std::move(problem), std::move(remedy));
    throw Abandon{};
  }

  void check_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) report(mark, "anchors (&name) are not read in a job file", "remove the anchor");
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    report(mark, fmt::format("tag {} is not read in a job file", tag.substr(0, 60)), "remove the tag");
  }

  bool awaits_key() const {
    return !frames_.empty() && frames_.back().node.kind == YamlNode::Kind::map && !frames_.back().pending;
  }

  void set_key(const YAML::Mark& mark, const std::string& key, bool refused) {
    auto& frame = frames_.back();
    const Place here = place(mark);
    frame.drop_value = refused;
    if (key == "<<" && refused) report(mark, "merges (<<) are not read in a job file", "write the keys out");
    const auto [first, is_new] = frame.first.emplace(key, here);
    if (!is_new && !refused) {
      diagnostics_.add(here, "E103",
                       fmt::format("{} given twice, first at {}:{}", key, first->second.line, first->second.column),
                       "keep one of them");
      frame.drop_value = true;
    }
    frame.pending = YamlNode::Entry{key, here, {}};
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    check_anchor(mark, anchor);
    check_tag(mark, tag);
    if (awaits_key()) refuse(mark, "a key must be a name", "write `name: value`");
    if (frames_.size() == kMaxDepth) {
      diagnostics_.add(place(mark), "E109", fmt::format("nested more than {} levels deep", kMaxDepth),
                       "a job file needs four; remove brackets or indentation");
      throw Abandon{};
    }
    frames_.push_back({.node = {kind, place(mark)}, .first = {}, .pending = {}});
  }

  void close() {
    YamlNode done = std::move(frames_.back().node);
    frames_.pop_back();
    put(std::move(done));
  }

  void put(YamlNode value) {
    if (frames_.empty()) {
      root_ = std::move(value);
      return;
    }
    auto& frame = frames_.back();
    check_width(frame.node, value.place);
    if (frame.node.kind == YamlNode::Kind::sequence) {
      frame.node.items.push_back(std::move(value));
      return;
    }
    frame.pending->value = std::move(value);
    if (!frame.drop_value) frame.node.entries.push_back(std::move(*frame.pending));
    frame.pending.reset();
  }

  void check_width(const YamlNode& node, Place here) {
    if (node.items.size() + node.entries.size() < kMaxWidth) return;
    diagnostics_.add(here, "E109", fmt::format("more than {} entries in one list or mapping", kMaxWidth),
                     "a job file needs far fewer");
    throw Abandon{};
  }

  int source_;
  Diagnostics& diagnostics_;
  std::vector<Frame> frames_;
  YamlNode root_;
  int documents_ = 0;
};

std::string syntax_remedy(const std::string& message) {
  if (message.find("illegal map value") != std::string::npos) {
    return "check the indentation, and quote values that hold `: `";
  }
  if (message.find("end of") != std::string::npos) return "close the bracket, brace or quote";
  return "check indentation, colons, quotes and brackets near this place";
}

}  // namespace

YamlNode::YamlNode(Kind node_kind, Place node_place, std::string node_text, bool is_quoted)
    : kind(node_kind), place(node_place), text(std::move(node_text)), quoted(is_quoted) {}

const YamlNode* YamlNode::find(std::string_view key) const {
  const auto it = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.key == key; });
  return it == entries.end() ? nullptr : &it->value;
}

YamlNode* YamlNode::find(std::string_view key) { return const_cast<YamlNode*>(std::as_const(*this).find(key)); }

bool YamlNode::erase(std::string_view key) {
  return std::erase_if(entries, [&](const Entry& entry) { return entry.key == key; }) > 0;
}

YamlNode parse_yaml(int source, const std::string& text, Diagnostics& diagnostics) {
  YamlNode refused(YamlNode::Kind::refused, {source, 1, 1});
  if (!check_text(source, text, diagnostics)) return refused;
  std::istringstream in(text);
  Builder builder(source, diagnostics);
  try {
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Abandon&) {
    return refused;
  } catch (const YAML::Exception& error) {
    diagnostics.add({source, std::max(error.mark.line, 0) + 1, std::max(error.mark.column, 0) + 1}, "E100",
                    "not YAML: " + error.msg, syntax_remedy(error.msg));
    return refused;
  }
  return builder.take();
}

YamlNode parse_mapping(const std::string& file_name, const std::string& text, const NoMapping& otherwise,
                       Diagnostics& diagnostics) {
  YamlNode root = parse_yaml(diagnostics.add_source(file_name, text), text, diagnostics);
  diagnostics.throw_if_failed();
  if (root.kind != YamlNode::Kind::map)
    diagnostics.add(root.place, otherwise.code, otherwise.problem, otherwise.remedy);
  diagnostics.throw_if_failed();
  return root;
}

}  // namespace trident::config
