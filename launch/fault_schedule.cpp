#include "launch/fault_schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

#include "core/philox.h"
#include "train/config/read_value.h"
#include "train/config/text_file.h"
#include "train/config/yaml_document.h"

namespace trident {
namespace {

using config::Diagnostics;
using config::Key;
using config::YamlNode;
using Kind = InjectedFault::Kind;
using Place = InjectedFault::Place;

constexpr double kMostSteps = 1e15;
constexpr double kMostDrawn = 100000;

/// Faults to draw: one at every `every_steps`-th step.
struct Draw {
  int64_t faults = 1;
  int64_t seed = 1;
  int64_t from_step = 4;
  int64_t every_steps = 3;
  std::optional<double> seconds{};
  std::vector<Kind> kinds{Kind::kill};
  std::vector<TrainPhase> phases{TrainPhase::data, TrainPhase::forward_backward, TrainPhase::optimizer,
                                 TrainPhase::exchange, TrainPhase::checkpoint};
};

std::vector<std::string> words_of(std::span<const std::string_view> names) { return {names.begin(), names.end()}; }

std::vector<std::string> phase_words() {
  std::vector<std::string> words;
  for (int i = 0; i < kTrainPhases; ++i) {
    const std::string_view name = to_string(static_cast<TrainPhase>(i));
    words.emplace_back(name.substr(0, name.find(' ')));
  }
  return words;
}

/// One mapping of a schedule: what each key does to a value.
class Mapping {
 public:
  Mapping(const YamlNode& node, std::string path, Diagnostics& diagnostics)
      : node_(node), path_(std::move(path)), diagnostics_(diagnostics) {}

  void count(const char* name, int64_t& out, config::Range range) { read(name, out, range); }
  void count(const char* name, int& out, config::Range range) {
    int64_t value = out;
    if (read(name, value, range)) out = static_cast<int>(value);
  }
  bool duration(const char* name, double& out) {
    config::Seconds value{out};
    const Key key{"", "2s", config::at_least(0)};
    const YamlNode* node = find(name);
    if (node == nullptr || !read_value(*node, value, context(name, key))) return false;
    out = value.value;
    return true;
  }
  /// The place of the value in `names`.
  std::optional<size_t> choice(const char* name, const std::vector<std::string>& names) {
    const YamlNode* node = find(name);
    return node == nullptr ? std::nullopt : one_of(*node, name, names);
  }
  void choices(const char* name, const std::vector<std::string>& names, const std::function<void(size_t)>& use) {
    const YamlNode* node = find(name);
    if (node == nullptr) return;
    if (node->kind != YamlNode::Kind::sequence || node->items.empty())
      return diagnostics_.add(node->place, "E302", path_ + name + " is no list",
                              fmt::format("write e.g. {}: [{}]", name, names.front()));
    for (const YamlNode& item : node->items)
      if (const auto chosen = one_of(item, name, names)) use(*chosen);
  }
  bool has(const char* name) { return find(name) != nullptr; }
  void problem(const std::string& what, const std::string& remedy) {
    diagnostics_.add(node_.place, "E303", what, remedy);
  }
  void refuse_unknown() {
    for (const YamlNode::Entry& entry : node_.entries) {
      if (std::find(asked_.begin(), asked_.end(), entry.key) != asked_.end()) continue;
      const std::string near = config::nearest(entry.key, asked_);
      diagnostics_.add(
          entry.place, "E304", "unknown key " + path_ + entry.key,
          near.empty() ? fmt::format("the keys are {}", fmt::join(asked_, ", ")) : "did you mean " + near + "?");
    }
  }

 private:
  const YamlNode* find(const char* name) {
    if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) asked_.emplace_back(name);
    return node_.find(name);
  }
  [[nodiscard]] config::ValueContext context(const char* name, const Key& key) const {
    return {diagnostics_, path_ + name, key};
  }
  bool read(const char* name, int64_t& out, config::Range range) {
    const YamlNode* node = find(name);
    const Key key{"", "5", range};
    return node != nullptr && read_value(*node, out, context(name, key));
  }
  std::optional<size_t> one_of(const YamlNode& node, const char* name, const std::vector<std::string>& names) {
    const auto found = std::find(names.begin(), names.end(), node.kind == YamlNode::Kind::scalar ? node.text : "");
    if (found != names.end()) return static_cast<size_t>(found - names.begin());
    const Key key{"", names.front()};
    (void)config::refuse_name(node, names, context(name, key));
    return std::nullopt;
  }

  const YamlNode& node_;
  std::string path_;
  Diagnostics& diagnostics_;
  std::vector<std::string> asked_;
};

class ScheduleReader {
 public:
  ScheduleReader(Diagnostics& diagnostics, const FaultScope& job) : diagnostics_(diagnostics), job_(job) {}

  std::vector<InjectedFault> read(const YamlNode& root) {
    Mapping top(root, "", diagnostics_);
    (void)top.has("faults"), (void)top.has("random");
    top.refuse_unknown();
    for_each(root.find("faults"), "faults", true, [&](const YamlNode& node) { read_fault(node); });
    for_each(root.find("random"), "random", false, [&](const YamlNode& node) { read_draw(node); });
    std::stable_sort(faults_.begin(), faults_.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
    return faults_;
  }

 private:
  void for_each(const YamlNode* list, const std::string& name, bool only_list,
                const std::function<void(const YamlNode&)>& use) {
    if (list == nullptr) return;
    if (!only_list && list->kind == YamlNode::Kind::map) return use(*list);
    if (list->kind != YamlNode::Kind::sequence)
      return diagnostics_.add(list->place, "E302", name + " is no list", "write e.g. " + example(name));
    for (const YamlNode& item : list->items) {
      if (item.kind == YamlNode::Kind::map)
        use(item);
      else
        diagnostics_.add(item.place, "E302", name + " has an entry that is no mapping", "write e.g. " + example(name));
    }
  }
  static std::string example(const std::string& name) {
    return name == "faults" ? "faults: [{kind: kill, rank: 2, step: 5}]"
                            : "random: {faults: 10, seed: 7, kinds: [kill, stop]}";
  }

  void read_fault(const YamlNode& node) {
    InjectedFault fault;
    fault.epoch = InjectedFault::kOnce;
    Mapping keys(node, "faults.", diagnostics_);
    if (const auto kind = keys.choice("kind", words_of(fault_kinds())))
      fault.kind = static_cast<Kind>(*kind);
    else if (!keys.has("kind"))
      keys.problem("faults.kind is missing", "write e.g. kind: kill");
    if (!keys.has("step")) keys.problem("faults.step is missing", "write e.g. step: 5");
    keys.count("step", fault.step, config::between(1, kMostSteps));
    if (concerns_node(fault.kind))
      read_node(keys, fault);
    else
      keys.count("rank", fault.rank, config::between(0, job_.ranks - 1));
    keys.count("epoch", fault.epoch, config::between(1, kMostSteps));
    keys.count("code", fault.code, config::between(0, 255));
    keys.count("seed", fault.seed, config::between(0, kMostSteps));
    if (const auto place = keys.choice("in", words_of(fault_places()))) fault.in = static_cast<Place>(*place);
    if (!keys.duration("seconds", fault.seconds)) fault.seconds = usual_seconds(fault.kind);
    // What follows the data happens whoever comes to that step, as often as anybody does.
    if (const auto follows = keys.choice("follows", {"nothing", "data"}); follows == 1U) {
      if (keys.has("epoch")) keys.problem("faults.epoch and faults.follows say two things", "leave one out");
      fault.epoch = InjectedFault::kEveryEpoch;
    }
    fault.phase = default_phase(fault.kind, fault.in);
    if (!concerns_node(fault.kind)) {
      if (const auto phase = keys.choice("phase", phase_words())) fault.phase = static_cast<TrainPhase>(*phase);
    }
    if (fault.kind == Kind::flip && fault.in == Place::gradient && !job_.gradients_have_copies)
      keys.problem("no rank holds a copy of what another's summed gradient is, so that a changed bit cannot be found",
                   "flip a weight, or run with dp of at least 2 and parallelism.zero_stage: 0");
    keys.refuse_unknown();
    faults_.push_back(fault);
  }

  void read_node(Mapping& keys, InjectedFault& fault) {
    if (fault.kind != Kind::coordinator_kill) keys.count("node", fault.node, config::between(0, job_.nodes - 1));
    if (concerns_link(fault.kind)) keys.count("times", fault.times, config::between(1, kMostDrawn));
    if (const std::string why = refusal(fault.kind); !why.empty()) keys.problem(why, "give --hostfile with more hosts");
  }

  [[nodiscard]] std::string refusal(Kind kind) const {
    if (job_.nodes < 2) return fmt::format("{} takes several nodes, and the job has one", to_string(kind));
    if (kind == Kind::coordinator_kill && job_.nodes < 3)
      return "of two nodes one is not most, so that nobody would take the coordinator's place";
    return {};
  }

  void read_draw(const YamlNode& node) {
    Draw draw;
    Mapping keys(node, "random.", diagnostics_);
    keys.count("faults", draw.faults, config::between(1, kMostDrawn));
    keys.count("seed", draw.seed, config::between(0, kMostSteps));
    keys.count("from_step", draw.from_step, config::between(1, kMostSteps));
    keys.count("every_steps", draw.every_steps, config::between(1, kMostSteps));
    if (double seconds = 0; keys.duration("seconds", seconds)) draw.seconds = seconds;
    std::vector<Kind> kinds;
    keys.choices("kinds", words_of(fault_kinds()), [&](size_t i) { kinds.push_back(static_cast<Kind>(i)); });
    if (!kinds.empty()) draw.kinds = kinds;
    for (const Kind kind : kinds) {
      const std::string why = concerns_node(kind) ? refusal(kind) : std::string();
      if (!why.empty()) keys.problem(why, "give --hostfile with more hosts, or leave it out of random.kinds");
    }
    std::vector<TrainPhase> phases;
    keys.choices("phases", phase_words(), [&](size_t i) { phases.push_back(static_cast<TrainPhase>(i)); });
    if (!phases.empty()) draw.phases = phases;
    keys.refuse_unknown();
    draw_faults(draw);
  }

  // The i-th fault depends on the seed and i only.
  void draw_faults(const Draw& draw) {
    const RandomStream stream(static_cast<uint64_t>(draw.seed), "trident chaos");
    for (int64_t i = 0; i < draw.faults; ++i) {
      const auto words = stream.block(static_cast<uint64_t>(i));
      InjectedFault fault;
      fault.kind = draw.kinds[words[0] % draw.kinds.size()];
      int& victim = concerns_node(fault.kind) ? fault.node : fault.rank;
      victim = static_cast<int>(words[1] % static_cast<uint32_t>(&victim == &fault.node ? job_.nodes : job_.ranks));
      fault.step = draw.from_step + i * draw.every_steps;
      fault.epoch = InjectedFault::kOnce;
      fault.phase = draw.phases[words[2] % draw.phases.size()];
      fault.seed = words[3];
      // These are of no use elsewhere.
      if (fault.kind == Kind::nan || fault.kind == Kind::flip || concerns_node(fault.kind))
        fault.phase = default_phase(fault.kind, fault.in);
      if (fault.kind == Kind::coordinator_kill) fault.node = 0;
      if (const double usual = usual_seconds(fault.kind); usual > 0) fault.seconds = draw.seconds.value_or(usual);
      faults_.push_back(fault);
    }
  }

  // A link is cut for longer than a node may be silent.
  static double usual_seconds(Kind kind) {
    if (concerns_link(kind)) return 4;
    return kind == Kind::slow || kind == Kind::full_disk || kind == Kind::hung_disk ? 2 : 0;
  }

  Diagnostics& diagnostics_;
  FaultScope job_;
  std::vector<InjectedFault> faults_;
};

}  // namespace

std::vector<InjectedFault> parse_fault_schedule(const std::string& text, const std::string& file_name,
                                                const FaultScope& job) {
  Diagnostics diagnostics;
  const YamlNode root =
      config::parse_mapping(file_name, text,
                            {"E301", "a schedule of faults is a mapping with `faults`, `random` or both",
                             "write e.g. faults: [{kind: kill, rank: 2, step: 5}]"},
                            diagnostics);
  auto faults = ScheduleReader(diagnostics, job).read(root);
  diagnostics.throw_if_failed();
  return faults;
}

std::vector<InjectedFault> load_fault_schedule(const std::string& path, const FaultScope& job) {
  return parse_fault_schedule(config::read_text_file(path, "fault schedule", "give the path of a YAML file"), path,
                              job);
}

}  // namespace trident
