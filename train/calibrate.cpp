#include "train/calibrate.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "core/memory.h"
#include "core/philox.h"
#include "kernels/activation.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "train/engine.h"
#include "train/gemm_setup.h"
#include "train/microbatches.h"

namespace trident {
namespace {

constexpr int kRounds = 7;

template <class Work>
std::vector<double> times_of(int rounds, Work work) {
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  return times;
}

/// Of a part: undisturbed.
template <class Work>
double fastest(int rounds, Work work) {
  return times_of(rounds, std::move(work)).front();
}

/// Of a whole step, as training reports it.
template <class Work>
double median(int rounds, Work work) {
  return times_of(rounds, std::move(work))[static_cast<size_t>(rounds / 2)];
}

// FLOP/s of a large product on all processors, in the library that is best at it.
double product_rate(DType dtype) {
  constexpr int64_t kSize = 1536;
  const auto multiply = [&](const Stream& stream, Device device) {
    HeapAllocator heap(device);
    const Tensor x = heap.allocate({kSize, kSize}, dtype), w = heap.allocate({kSize, kSize}, dtype);
    Tensor y = heap.allocate({kSize, kSize}, dtype);
    if (device.kind == DeviceKind::cpu)
      for (const Tensor& operand : {x, w}) std::memset(operand.raw(), 0, operand.bytes());
    return [=]() mutable { linear_forward(stream, x, w, Tensor(), y); };
  };
  const GemmSetup setup;
  multiply(setup.meta_stream(), Device::meta())();
  const Stream stream = Stream::cpu(available_cpus());
  setup.choose(stream, {});
  const double seconds = fastest(kRounds, multiply(stream, Device::cpu()));
  return 2.0 * kSize * kSize * kSize / seconds / available_cpus();
}

// Bytes/s of a processor when all of them add: two operands read, one written.
double memory_rate() {
  constexpr int64_t kElements = int64_t{1} << 24;
  const Stream stream = Stream::cpu(available_cpus());
  const Tensor a = allocate_zeroed(Device::cpu(), {kElements}, DType::fp32);
  const Tensor b = allocate_zeroed(Device::cpu(), {kElements}, DType::fp32);
  Tensor out = allocate_zeroed(Device::cpu(), {kElements}, DType::fp32);
  // Pages that nobody has written are all one, in the cache.
  for (const Tensor& operand : {a, b}) std::fill_n(static_cast<float*>(operand.raw()), kElements, 1.0f);
  return 12.0 * kElements / fastest(kRounds, [&] { add(stream, a, b, out); }) / available_cpus();
}

// Elements that an activation function reads and writes per second and processor, from and to its cache.
double element_rate() {
  constexpr int64_t kElements = int64_t{1} << 16;
  const Stream stream = Stream::cpu(1);
  const Tensor x = allocate_zeroed(Device::cpu(), {64, kElements / 64}, DType::fp32);
  Tensor y = allocate_zeroed(Device::cpu(), {64, kElements / 64}, DType::fp32);
  return 2.0 * kElements / fastest(20 * kRounds, [&] { gelu_forward(stream, x, y); });
}

double kernel_time() {
  const Stream stream = Stream::cpu(available_cpus());
  const Tensor a = allocate_zeroed(Device::cpu(), {64}, DType::fp32);
  Tensor out = allocate_zeroed(Device::cpu(), {64}, DType::fp32);
  constexpr int kCalls = 1000;
  return fastest(kRounds,
                 [&] {
                   for (int i = 0; i < kCalls; ++i) add(stream, a, a, out);
                 }) /
         kCalls;
}

// Between two ranks as threads, which share memory as the ranks of a node do.
plan::Link link() {
  constexpr int64_t kElements = int64_t{1} << 20;
  constexpr int kCalls = 100;
  double large = 0, small = 0;
  run_ranks(2, [&](const Communicator& world) {
    const Tensor mine = allocate_zeroed(Device::cpu(), {kElements}, DType::fp32);
    const Tensor all = allocate_zeroed(Device::cpu(), {2 * kElements}, DType::fp32);
    const Tensor one = allocate_zeroed(Device::cpu(), {1}, DType::fp32);
    const double gather = fastest(kRounds, [&] { world.all_gather(mine, all); });
    const double wait = fastest(kRounds,
                                [&] {
                                  for (int i = 0; i < kCalls; ++i) world.all_reduce(one);
                                }) /
                        kCalls;
    if (world.rank() == 0) large = gather, small = wait;
  });
  plan::Link link;
  link.latency = small / 2;
  link.bandwidth = 4.0 * kElements / std::max(large - link.latency, 1e-9);
  return link;
}

ModelConfig small_gpt2(int64_t hidden, int64_t vocabulary, int64_t length) {
  ModelConfig model;
  model.architecture = Architecture::gpt2;
  model.hidden_size = hidden;
  model.intermediate_size = 4 * hidden;
  model.num_hidden_layers = 2;
  model.num_attention_heads = model.num_key_value_heads = hidden / 64;
  model.head_dim = 64;
  model.vocab_size = vocabulary;
  model.max_position_embeddings = length;
  model.tie_word_embeddings = true;
  return model;
}

plan::MeasuredStep describe(const ModelConfig& model, int64_t length, int64_t batch, int64_t microbatches = 1) {
  plan::MeasuredStep step;
  step.workload.model = model;
  step.workload.compute = DType::fp32;
  step.workload.sequence_length = length;
  step.workload.global_batch_size = batch;
  step.layout.micro_batch_size = batch / microbatches;
  return step;
}

void fill(TokenBatch& batch, const ModelConfig& model, int64_t length, int64_t count) {
  const RandomStream random(1, "calibration");
  batch.reset(count, length);
  const auto tokens = static_cast<size_t>(count * length);
  batch.inputs.resize(tokens);
  for (size_t i = 0; i < tokens; ++i)
    batch.inputs[i] = static_cast<int32_t>(random.uniform(i) * static_cast<double>(model.vocab_size));
  batch.labels = batch.inputs;
}

// Of one rank with all processors, as the trainer does it.
double measure(const plan::MeasuredStep& step) {
  const plan::Workload& work = step.workload;
  EngineOptions options;
  options.compute = work.compute;
  options.micro_batch_size = step.layout.micro_batch_size;
  options.sequence_length = work.sequence_length;
  options.layout.microbatches = work.global_batch_size / options.micro_batch_size;
  const GemmSetup setup;
  const DryRun plan = dry_run(work.model, options, 0, setup.meta_stream());
  const Stream stream = Stream::cpu(available_cpus());
  setup.choose(stream, {});
  Communicator world = Communicator::self("world");
  world.set_stream(stream);
  const DeviceMesh mesh(world, options.layout.mesh, options.layout.order);
  Engine engine(work.model, options, mesh, plan, stream);
  engine.model().storage().initialize(1, stream);
  engine.start_optimizer({});
  Microbatches microbatches(options.micro_batch_size, options.sequence_length);
  microbatches.load(
      options.layout.microbatches, work.global_batch_size,
      [&](TokenBatch& batch, int64_t, int64_t count) { fill(batch, work.model, work.sequence_length, count); });
  int number = 0;
  return median(kRounds, [&] {
    (void)engine.forward_backward(microbatches.views(stream, work.global_batch_size * work.sequence_length));
    (void)engine.gradient_norm();
    engine.step(++number, 1e-4, 1);
    engine.wait_parameters();
  });
}

}  // namespace

Calibration calibrate() {
  Calibration result;
  plan::ClusterSpec& cluster = result.cluster;
  cluster.name = "cpu";
  cluster.accelerators_per_node = available_cpus();
  cluster.shared = true;
  cluster.overlap = false;
  cluster.peak_fp32 = product_rate(DType::fp32);
  cluster.peak_bf16 = product_rate(DType::bf16);
  cluster.peak_fp64 = product_rate(DType::fp64);
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  cluster.memory = 0.75 * memory / available_cpus();
  cluster.memory_bandwidth = memory_rate();
  cluster.cache = static_cast<double>(std::max(sysconf(_SC_LEVEL2_CACHE_SIZE), 1L << 19));
  cluster.element_rate = element_rate();
  cluster.kernel_time = kernel_time();
  cluster.inside = cluster.between = link();
  // The first two differ in what of a microbatch stays in the cache.
  result.steps = {describe(small_gpt2(256, 1024, 128), 128, 16), describe(small_gpt2(256, 1024, 128), 128, 16, 8),
                  describe(small_gpt2(512, 8192, 256), 256, 4), describe(small_gpt2(256, 1024, 1024), 1024, 2)};
  for (plan::MeasuredStep& step : result.steps) step.step_s = measure(step);
  cluster.fitted = plan::fit_constants(cluster, result.steps);
  return result;
}

}  // namespace trident
