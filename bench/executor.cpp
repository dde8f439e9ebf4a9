// What pipeline::Executor costs over a loop written by hand: forward and backward of the same microbatches through the
// same layers, one rank, one thread, in turns. A schedule that splits the backward pass is compared with a loop that
// does so too, 1F1B with one that does not. Differences are medians of the rounds' own, by processor time.
//   bench_executor [rounds]
#include "parallel/pipeline/executor.h"

#include <fmt/format.h>
#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime is POSIX

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/philox.h"
#include "kernels/gemm_tuning.h"
#include "model/model.h"
#include "parallel/pipeline/lower.h"

namespace trident {
namespace {

struct Case {
  const char* name;
  int64_t layers, hidden, heads, vocabulary, sequence, batch;
  int32_t microbatches;
  int repeats;  // steps in one timing
};
// The last is S of bench/steps/models.py with half its batch.
constexpr Case kCases[] = {
    {"tiny", 2, 32, 2, 64, 16, 1, 64, 8}, {"small", 2, 64, 4, 256, 64, 2, 32, 1}, {"S", 4, 256, 4, 1024, 128, 2, 4, 1}};

ModelConfig config_of(const Case& which) {
  ModelConfig config;
  config.architecture = Architecture::gpt2;
  config.hidden_size = which.hidden;
  config.intermediate_size = 4 * which.hidden;
  config.num_hidden_layers = which.layers;
  config.num_attention_heads = config.num_key_value_heads = which.heads;
  config.head_dim = which.hidden / which.heads;
  config.vocab_size = which.vocabulary;
  config.max_position_embeddings = which.sequence;
  config.tie_word_embeddings = true;
  return config;
}

/// The microbatches of one step: random tokens, which are their own labels.
std::vector<Microbatch> microbatches_of(const Case& which, Allocator& memory) {
  std::vector<Microbatch> microbatches;
  const RandomStream random(1, "tokens");
  const Shape shape{which.batch, which.sequence};
  uint64_t drawn = 0;
  for (int32_t i = 0; i < which.microbatches; ++i) {
    const Tensor tokens = memory.allocate(shape, DType::int32);
    for (int64_t j = 0; tokens.raw() != nullptr && j < tokens.elements(); ++j)
      tokens.data<int32_t>()[j] = static_cast<int32_t>(random.uniform(drawn++) * static_cast<double>(which.vocabulary));
    microbatches.push_back({tokens, tokens, 1.0 / static_cast<double>(tokens.elements() * which.microbatches)});
  }
  return microbatches;
}

using Microbatches = std::span<const Microbatch>;

double seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// One way through a step, in memory that a dry run on the meta device planned. All ways share it: where it lies
/// decides more than what is compared.
class Way {
 public:
  virtual ~Way() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  virtual double run(const Model& model, const Stream& stream, Microbatches microbatches) = 0;
  [[nodiscard]] size_t bytes() const { return plan_.total_bytes; }
  void set_memory(const std::shared_ptr<Buffer>& memory) { arena_.emplace(plan_, memory); }

 protected:
  ArenaPlan plan_;
  std::optional<Arena> arena_;
};

ArenaPlan plan_of(const std::function<void(Allocator&)>& program) {
  ArenaRecorder recorder;
  program(recorder);
  return recorder.plan();
}

enum class Backward { whole, split };

class Loop final : public Way {
 public:
  Loop(Backward backward, const Model& meta, const Stream& dry, Microbatches microbatches) : backward_(backward) {
    plan_ = plan_of([&](Allocator& memory) { static_cast<void>(one(meta, dry, memory, microbatches.front())); });
  }
  [[nodiscard]] std::string name() const override { return backward_ == Backward::whole ? "loop" : "loop, split"; }
  double run(const Model& model, const Stream& stream, Microbatches microbatches) override {
    double loss = 0;
    for (const Microbatch& microbatch : microbatches) {
      arena_->rewind();
      loss += one(model, stream, *arena_, microbatch);
    }
    return loss;
  }

 private:
  [[nodiscard]] double one(const Model& model, const Stream& stream, Allocator& memory,
                           const Microbatch& microbatch) const {
    Context context{stream, memory, &microbatch};
    const auto layers = model.layers();
    std::vector<Saved> saved(layers.size());
    Tensor x = microbatch.tokens;
    for (size_t i = 0; i < layers.size(); ++i) x = layers[i]->forward(context, x, saved[i]);
    Tensor dx;
    for (size_t i = layers.size(); i-- > 0;)
      dx = backward_ == Backward::whole ? layers[i]->backward(context, dx, saved[i])
                                        : layers[i]->backward_input(context, dx, saved[i]);
    if (backward_ == Backward::split)
      for (size_t i = layers.size(); i-- > 0;) layers[i]->backward_weight(context, saved[i]);
    return context.loss();
  }

  Backward backward_;
};

class Scheduled final : public Way {
 public:
  Scheduled(std::string name, const Case& which, const Model& meta, const Model& model, const Stream& dry,
            Microbatches microbatches)
      : name_(std::move(name)),
        schedule_(pipeline::lower(pipeline::make_schedule({name_, 1, which.microbatches}), {.tied_embedding = true})),
        executor_(executor(which, model)) {
    plan_ = plan_of([&](Allocator& memory) { executor(which, meta).run(dry, memory, microbatches); });
  }
  [[nodiscard]] std::string name() const override { return name_; }
  double run(const Model& /*model*/, const Stream& stream, Microbatches microbatches) override {
    arena_->rewind();
    double loss = 0;
    for (const double part : executor_.run(stream, *arena_, microbatches)) loss += part;
    return loss;
  }

 private:
  [[nodiscard]] pipeline::Executor executor(const Case& which, const Model& model) const {
    const Shape rows{which.batch * which.sequence, which.hidden};
    return {schedule_, {{0, model.layers(0)}}, Communicator::self(), rows, DType::fp32};
  }

  std::string name_;
  pipeline::Schedule schedule_;
  pipeline::Executor executor_;
};

/// Seconds of each way in each round. Every second round goes backwards, so that no way profits from its place.
std::vector<std::vector<double>> time_in_turns(const std::vector<std::unique_ptr<Way>>& ways, int rounds,
                                               const std::function<void(Way&)>& run) {
  std::vector<std::vector<double>> taken(ways.size());
  for (int round = -1; round < rounds; ++round) {
    for (size_t turn = 0; turn < ways.size(); ++turn) {
      const size_t i = round % 2 == 0 ? turn : ways.size() - 1 - turn;
      const double start = seconds();
      run(*ways[i]);
      if (round >= 0) taken[i].push_back(seconds() - start);  // the first touches the memory
    }
  }
  return taken;
}

void print(const Way& way, const std::vector<double>& own, const std::vector<double>& loop, const Case& which) {
  const double us_each = 1e6 / (which.repeats * which.microbatches);
  std::vector<double> ratio, extra;
  for (size_t round = 0; round < own.size(); ++round) {
    ratio.push_back(own[round] / loop[round] - 1);
    extra.push_back(own[round] - loop[round]);
  }
  fmt::print("  {:12} {:9.1f} us a microbatch {:+7.2f} % {:+8.2f} us {:7.2f} MiB\n", way.name(), us_each * median(own),
             100 * median(ratio), us_each * median(extra), static_cast<double>(way.bytes()) / (1 << 20));
}

void measure(const Case& which, int rounds) {
  const Stream dry = Stream::meta(), stream = Stream::cpu(1);
  const auto products = std::make_shared<GemmRecorder>();
  dry.attach(products);
  HeapAllocator nowhere(Device::meta()), heap;
  const auto shapes = microbatches_of(which, nowhere), microbatches = microbatches_of(which, heap);
  const Model meta(config_of(which), DType::fp32, Recompute::none, dry);
  Model model(config_of(which), DType::fp32, Recompute::none, stream);
  model.storage().initialize(1, stream);
  model.storage().zero_gradients(stream);

  std::vector<std::unique_ptr<Way>> ways;
  const auto add_loop = [&](Backward backward) { ways.push_back(std::make_unique<Loop>(backward, meta, dry, shapes)); };
  const auto add_schedule = [&](const char* name) {
    ways.push_back(std::make_unique<Scheduled>(name, which, meta, model, dry, shapes));
  };
  add_loop(Backward::whole);
  add_loop(Backward::whole);
  add_schedule("1f1b");
  add_loop(Backward::split);
  add_schedule("zb-h1");
  size_t bytes = 0;
  for (const auto& way : ways) bytes = std::max(bytes, way->bytes());
  const auto memory = map_memory(bytes);
  for (const auto& way : ways) way->set_memory(memory);
  constexpr size_t kLoopOf[] = {0, 0, 0, 3, 3};
  stream.attach(std::make_shared<GemmState>(tune_gemms(products->products(), {})));

  const double expected = ways.front()->run(model, stream, microbatches);
  for (const auto& way : ways) TRIDENT_CHECK(way->run(model, stream, microbatches) == expected, way->name());
  const auto taken = time_in_turns(ways, rounds, [&](Way& way) {
    for (int i = 0; i < which.repeats; ++i) static_cast<void>(way.run(model, stream, microbatches));
  });
  fmt::print("\n{}: {} layers of {}, {} microbatches of {} x {} tokens\n", which.name, which.layers, which.hidden,
             which.microbatches, which.batch, which.sequence);
  for (size_t i = 0; i < ways.size(); ++i) print(*ways[i], taken[i], taken[kLoopOf[i]], which);
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::clamp(std::atoi(argv[1]), 1, 100000) : 101;
  for (const trident::Case& which : trident::kCases) trident::measure(which, rounds);
}
