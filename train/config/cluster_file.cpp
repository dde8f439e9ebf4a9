#include "train/config/cluster_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <vector>

#include "train/config/scalars.h"
#include "train/config/suggest.h"
#include "train/config/text_file.h"
#include "train/config/yaml_document.h"

namespace trident {
namespace {

using config::Diagnostics;
using config::YamlNode;
using plan::ClusterSpec;
using plan::TopologyLevel;

constexpr double kGiB = 1024.0 * 1024 * 1024;

/// A number of the file; a member has `scale` times it.
struct NumberKey {
  const char* path;
  double& (*member)(ClusterSpec&);
  double scale;
  const char* example;
  enum class Range { required, positive, optional } range = Range::required;  ///< optional ones may be 0
  double most = 1e18;
};
constexpr auto kPositive = NumberKey::Range::positive, kOptional = NumberKey::Range::optional;

const std::vector<NumberKey>& number_keys() {
  static const std::vector<NumberKey> keys = {
      {"accelerator.peak_tflops.bf16", [](ClusterSpec& c) -> double& { return c.peak_bf16; }, 1e12, "312"},
      {"accelerator.peak_tflops.fp32", [](ClusterSpec& c) -> double& { return c.peak_fp32; }, 1e12, "19.5"},
      {"accelerator.peak_tflops.fp64", [](ClusterSpec& c) -> double& { return c.peak_fp64; }, 1e12, "9.7"},
      {"accelerator.peak_tflops.fp8", [](ClusterSpec& c) -> double& { return c.peak_fp8; }, 1e12, "1979", kOptional},
      {"accelerator.memory_gib", [](ClusterSpec& c) -> double& { return c.memory; }, kGiB, "80"},
      {"accelerator.memory_gb_per_s", [](ClusterSpec& c) -> double& { return c.memory_bandwidth; }, 1e9, "2039"},
      {"accelerator.cache_mib", [](ClusterSpec& c) -> double& { return c.cache; }, 1024.0 * 1024, "2", kOptional},
      {"accelerator.elements_per_ns", [](ClusterSpec& c) -> double& { return c.element_rate; }, 1e9, "2", kOptional},
      {"accelerator.kernel_us", [](ClusterSpec& c) -> double& { return c.kernel_time; }, 1e-6, "4", kOptional},
      {"network.inside.gb_per_s", [](ClusterSpec& c) -> double& { return c.inside.bandwidth; }, 1e9, "300"},
      {"network.inside.efficiency", [](ClusterSpec& c) -> double& { return c.inside.efficiency; }, 1, "0.65", kPositive,
       1},
      {"network.inside.latency_us", [](ClusterSpec& c) -> double& { return c.inside.latency; }, 1e-6, "2", kOptional},
      {"network.between.gb_per_s", [](ClusterSpec& c) -> double& { return c.between.bandwidth; }, 1e9, "25"},
      {"network.between.efficiency", [](ClusterSpec& c) -> double& { return c.between.efficiency; }, 1, "0.9",
       kPositive, 1},
      {"network.between.latency_us", [](ClusterSpec& c) -> double& { return c.between.latency; }, 1e-6, "5", kOptional},
      {"fitted.matmul", [](ClusterSpec& c) -> double& { return c.fitted.matmul; }, 1, "0.75", kPositive, 2},
      {"fitted.memory", [](ClusterSpec& c) -> double& { return c.fitted.memory; }, 1, "0.8", kPositive, 2},
      {"fitted.attention", [](ClusterSpec& c) -> double& { return c.fitted.attention; }, 1, "0.6", kPositive, 1},
      {"cost_per_accelerator_hour", [](ClusterSpec& c) -> double& { return c.cost_per_hour; }, 1, "2.5", kOptional},
      {"failures.per_accelerator_hour", [](ClusterSpec& c) -> double& { return c.failures.per_accelerator_hour; }, 1,
       "2.2e-5", kOptional},
      {"failures.node_share", [](ClusterSpec& c) -> double& { return c.failures.node_share; }, 1, "0.5", kOptional, 1},
      {"failures.repair_hours", [](ClusterSpec& c) -> double& { return c.failures.repair_hours; }, 1, "4", kOptional},
  };
  return keys;
}

const std::vector<std::string>& other_keys() {
  static const std::vector<std::string> keys = {"name",   "source",  "nodes",         "accelerators_per_node",
                                                "shared", "overlap", "network.levels"};
  return keys;
}

std::vector<std::string> all_keys() {
  std::vector<std::string> keys = other_keys();
  for (const NumberKey& key : number_keys()) keys.emplace_back(key.path);
  return keys;
}

class ClusterReader {
 public:
  ClusterReader(const YamlNode& root, Diagnostics& diagnostics) : root_(root), diagnostics_(diagnostics) {}

  ClusterSpec read() {
    refuse_unknown(root_, "");
    if (const YamlNode* name = find("name")) spec_.name = name->text;
    if (const YamlNode* nodes = required("nodes", "128")) spec_.nodes = count(*nodes, "nodes", "128");
    if (const YamlNode* here = required("accelerators_per_node", "8"))
      spec_.accelerators_per_node = count(*here, "accelerators_per_node", "8");
    if (const YamlNode* shared = find("shared")) spec_.shared = truth(*shared, "shared", spec_.shared);
    spec_.overlap = !spec_.shared;
    if (const YamlNode* overlap = find("overlap")) spec_.overlap = truth(*overlap, "overlap", spec_.overlap);
    for (const NumberKey& key : number_keys()) number(key);
    if (const YamlNode* levels = find("network.levels")) read_levels(*levels);
    return spec_;
  }

 private:
  const YamlNode* find(const std::string& path) const {
    const YamlNode* node = &root_;
    for (size_t begin = 0; begin <= path.size() && node != nullptr;) {
      const size_t end = std::min(path.find('.', begin), path.size());
      node = node->kind == YamlNode::Kind::map ? node->find(path.substr(begin, end - begin)) : nullptr;
      begin = end + 1;
    }
    return node;
  }

  const YamlNode* required(const std::string& path, const char* example) {
    const YamlNode* node = find(path);
    if (node == nullptr)
      diagnostics_.add(root_.place, "E201", path + " is missing", fmt::format("write e.g. {}: {}", path, example));
    return node;
  }

  void refuse_unknown(const YamlNode& node, const std::string& prefix) {
    static const std::vector<std::string> keys = all_keys();
    for (const YamlNode::Entry& entry : node.entries) {
      const std::string path = prefix + entry.key;
      if (std::find(keys.begin(), keys.end(), path) != keys.end()) continue;
      const bool section =
          std::any_of(keys.begin(), keys.end(), [&](const auto& k) { return k.starts_with(path + "."); });
      if (section && entry.value.kind == YamlNode::Kind::map) {
        refuse_unknown(entry.value, path + ".");
      } else if (section) {
        diagnostics_.add(entry.value.place, "E202", path + " is a section",
                         fmt::format("write its keys below it, e.g. {}", first_below(keys, path)));
      } else {
        diagnostics_.add(entry.place, "E203", "unknown key " + path, remedy_of(path, keys));
      }
    }
  }

  static std::string first_below(const std::vector<std::string>& keys, const std::string& path) {
    return *std::find_if(keys.begin(), keys.end(), [&](const auto& key) { return key.starts_with(path + "."); });
  }

  // Where the key stands in the wrong section, the last name finds it.
  static std::string remedy_of(const std::string& path, const std::vector<std::string>& keys) {
    const std::string last = path.substr(path.find_last_of('.') + 1);
    for (const std::string& key : keys)
      if (key.substr(key.find_last_of('.') + 1) == last) return "did you mean " + key + "?";
    const std::string near = config::nearest(path, keys);
    return near.empty() ? fmt::format("the keys are {}", fmt::join(keys, ", ")) : "did you mean " + near + "?";
  }

  void number(const NumberKey& key) {
    const bool is_required = key.range == NumberKey::Range::required;
    const YamlNode* node = is_required ? required(key.path, key.example) : find(key.path);
    if (node == nullptr) return;
    const auto parsed = config::parse_number(node->text);
    if (node->kind != YamlNode::Kind::scalar || !parsed.value) return refuse(*node, key.path, "a number", key.example);
    const bool may_be_zero = key.range == kOptional;
    if (*parsed.value < 0 || (*parsed.value == 0 && !may_be_zero) || *parsed.value > key.most)
      return refuse(*node, key.path,
                    fmt::format("{} 0{}", may_be_zero ? "at least" : "above",
                                key.most < 1e18 ? fmt::format(" and at most {:g}", key.most) : ""),
                    key.example);
    key.member(spec_) = *parsed.value * key.scale;
  }

  int64_t count(const YamlNode& node, const std::string& path, const char* example) {
    const auto parsed = config::parse_integer(node.text);
    if (node.kind == YamlNode::Kind::scalar && parsed.value && *parsed.value >= 1 && *parsed.value <= 10'000'000)
      return *parsed.value;
    refuse(node, path, "a whole number from 1 to 10000000", example);
    return 1;
  }

  bool truth(const YamlNode& node, const std::string& path, bool otherwise) {
    const auto parsed = config::parse_bool(node.text);
    if (!parsed.value) refuse(node, path, "true or false", "true");
    return parsed.value.value_or(otherwise);
  }

  void refuse(const YamlNode& node, const std::string& path, const std::string& expected, const char* example) {
    diagnostics_.add(node.place, "E204", fmt::format("{} is {}, expected {}", path, shown(node), expected),
                     fmt::format("write e.g. {}: {}", path, example));
  }
  static std::string shown(const YamlNode& node) {
    switch (node.kind) {
      case YamlNode::Kind::map: return "a mapping";
      case YamlNode::Kind::sequence: return "a list";
      default: return node.text.empty() ? "empty" : node.text;
    }
  }

  void read_levels(const YamlNode& node) {
    constexpr const char* kExample = "[{name: pod, accelerators: 3072, oversubscription: 7}]";
    if (node.kind != YamlNode::Kind::sequence) return refuse(node, "network.levels", "a list", kExample);
    for (const YamlNode& item : node.items) {
      const YamlNode* accelerators = item.find("accelerators");
      const YamlNode* narrower = item.find("oversubscription");
      if (item.kind != YamlNode::Kind::map || accelerators == nullptr || narrower == nullptr) {
        refuse(item, "network.levels", "a mapping with accelerators and oversubscription", kExample);
        continue;
      }
      for (const YamlNode::Entry& entry : item.entries)
        if (entry.key != "name" && entry.key != "accelerators" && entry.key != "oversubscription")
          diagnostics_.add(entry.place, "E203", "unknown key network.levels." + entry.key,
                           "a level has name, accelerators and oversubscription");
      TopologyLevel level;
      if (const YamlNode* name = item.find("name")) level.name = name->text;
      level.accelerators = count(*accelerators, "network.levels.accelerators", "3072");
      const auto factor = config::parse_number(narrower->text);
      if (!factor.value || *factor.value < 1)
        refuse(*narrower, "network.levels.oversubscription", "a number of at least 1", "7");
      level.oversubscription = factor.value.value_or(1);
      spec_.levels.push_back(level);
    }
    std::stable_sort(spec_.levels.begin(), spec_.levels.end(),
                     [](const auto& a, const auto& b) { return a.accelerators < b.accelerators; });
  }

  const YamlNode& root_;
  Diagnostics& diagnostics_;
  ClusterSpec spec_;
};

std::string number_text(double value) { return config::format_number(value); }

}  // namespace

plan::ClusterSpec parse_cluster(const std::string& text, const std::string& file_name) {
  Diagnostics diagnostics;
  const YamlNode root =
      config::parse_mapping(file_name, text,
                            {"E205", "a cluster description is a mapping of keys",
                             "start from a file in configs/clusters, or `trident doctor --calibrate FILE`"},
                            diagnostics);
  ClusterSpec spec = ClusterReader(root, diagnostics).read();
  diagnostics.throw_if_failed();
  if (spec.name.empty()) spec.name = file_name;
  return spec;
}

plan::ClusterSpec load_cluster(const std::string& path) {
  constexpr const char* kRemedy =
      "give one of configs/clusters, or write this machine's by `trident doctor --calibrate FILE`";
  return parse_cluster(config::read_text_file(path, "cluster file", kRemedy), path);
}

std::string to_yaml(const plan::ClusterSpec& cluster) {
  ClusterSpec copy = cluster;
  std::string text = fmt::format("name: {}\nnodes: {}\naccelerators_per_node: {}\nshared: {}\noverlap: {}\n",
                                 config::format_text(cluster.name), cluster.nodes, cluster.accelerators_per_node,
                                 cluster.shared, cluster.overlap);
  std::string section, below;
  for (const NumberKey& key : number_keys()) {
    std::string path = key.path;
    std::vector<std::string> parts;
    for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.')) {
      parts.push_back(path.substr(0, dot));
      path.erase(0, dot + 1);
    }
    if (!parts.empty() && parts[0] != section) text += parts[0] + ":\n", below.clear();
    section = parts.empty() ? "" : parts[0];
    if (parts.size() > 1 && parts[1] != below) text += "  " + parts[1] + ":\n";
    below = parts.size() > 1 ? parts[1] : "";
    text += fmt::format("{:{}}{}: {}\n", "", 2 * parts.size(), path, number_text(key.member(copy) / key.scale));
  }
  if (cluster.levels.empty()) return text;
  std::string levels = "  levels:\n";
  for (const TopologyLevel& level : cluster.levels)
    levels += fmt::format("    - {{name: {}, accelerators: {}, oversubscription: {}}}\n",
                          config::format_text(level.name), level.accelerators, number_text(level.oversubscription));
  return text.insert(text.find("network:\n") + 9, levels);
}

}  // namespace trident
