#include "plan/kernel_time.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/gemm.h"

namespace trident::plan {
namespace {

// out[m, n] = a[m, k] · b[k, n]
struct Product {
  double m = 0, n = 0, k = 0;
  [[nodiscard]] double flops() const { return 2 * m * n * k; }
};

// Bandwidth of a core's own cache over its share of the memory's.
constexpr double kCacheSpeed = 4;
// Tensor-parallel messages between a CPU's ranks over what calibration measures between threads: processes copy them
// into shared memory and out of it, and wait for one another. Set by hand, after one model's tp=2 on one machine
// (docs/measurements/planner.md, Choices). Gradients lie in memory that ranks share, and are no messages.
constexpr double kBetweenProcesses = 2.5;

class PartCosts {
 public:
  PartCosts(const Workload& workload, const Layout& layout, const ClusterSpec& cluster)
      : model_(workload.model),
        layout_(layout),
        cluster_(cluster),
        messages_(cluster.on_processors() ? kBetweenProcesses : 1),
        network_(cluster, layout.ranks()),
        tp_{layout.tp, layout.stride(Axis::tp)},
        share_(accelerators_of_a_rank(cluster, layout.ranks())),
        blocks_(workload.linear),
        rate_(cluster.peak(workload.compute) * cluster.fitted.matmul * share_),
        fp8_rate_(std::max(rate_, cluster.peak_fp8 * cluster.fitted.matmul * share_)),
        bandwidth_(cluster.memory_bandwidth * cluster.fitted.memory * share_),
        cache_(cluster.cache * share_),
        element_(static_cast<double>(size_of(workload.compute))),
        gradient_(static_cast<double>(size_of(accumulation_dtype(workload.compute)))),
        sequence_(static_cast<double>(workload.sequence_length)),
        t_(static_cast<double>(layout.tp)),
        tokens_(static_cast<double>(layout.micro_batch_size) * sequence_ / static_cast<double>(layout.cp)),
        rows_(cuts_rows() ? tokens_ / t_ : tokens_),
        hidden_(static_cast<double>(model_.hidden_size)),
        queries_(static_cast<double>(model_.num_attention_heads * model_.head_dim) / t_),
        keys_(std::max(static_cast<double>(model_.num_key_value_heads) / t_, 1.0) *
              static_cast<double>(model_.head_dim)),
        inner_(static_cast<double>(model_.intermediate_size) / t_),
        vocabulary_(std::ceil(static_cast<double>(model_.vocab_size) / t_)) {}

  PartTimes all() const { return {layer(), embedding(), head()}; }

 private:
  [[nodiscard]] bool cuts_rows() const { return layout_.sequence_parallel && layout_.tp > 1; }
  [[nodiscard]] bool gated() const { return model_.architecture == Architecture::llama; }

  // What one kernel leaves in the cache the next one finds there: all that fits.
  double transfer(double bytes) const {
    const double found = bytes > cache_ ? cache_ / bytes : 1;
    return bytes / (bandwidth_ * (1 + (kCacheSpeed - 1) * found));
  }

  double product(const Product& p, double output_element, LinearPrecision precision) const {
    const bool fp8 = precision == LinearPrecision::fp8;
    const double inputs = p.m * p.k + p.k * p.n;
    const double bytes = (fp8 ? 1 : element_) * inputs + output_element * p.m * p.n;
    const double work = p.flops() / (fp8 ? fp8_rate_ : rate_), loads = transfer(bytes);
    const double time = cluster_.on_processors() ? (work + loads) * waiting(p) : std::hypot(work, loads);
    // In fp8 operands are read for their largest value, read again and written before.
    const double rounding = fp8 ? transfer((2 * element_ + 1) * inputs) : 0;
    return std::max(time, cluster_.kernel_time) + rounding;
  }
  // A rank's processors over those that the product's blocks keep busy.
  double waiting(const Product& p) const {
    const auto blocks = static_cast<double>(cpu::BlockGrid(std::llround(p.m), std::llround(p.n)).count());
    return share_ * std::ceil(blocks / std::floor(share_)) / blocks;
  }
  double forward(const Product& p, LinearPrecision precision) const { return product(p, element_, precision); }
  double input_gradient(const Product& p, LinearPrecision precision) const {
    return product({p.m, p.k, p.n}, element_, precision);
  }
  // Adds to gradients: reads and writes them.
  double weight_gradient(const Product& p, LinearPrecision precision) const {
    return product({p.n, p.k, p.m}, 2 * gradient_, precision);
  }
  double move(double elements) const {
    const double work = cluster_.element_rate > 0 ? elements / (cluster_.element_rate * share_) : 0;
    const double loads = transfer(elements * element_);
    return std::max(cluster_.on_processors() ? work + loads : std::max(work, loads), cluster_.kernel_time);
  }

  // Sums over tp; with sequence parallelism half of it: every rank keeps its rows, or brings all rows together.
  double reduce_rows() const {
    const double bytes = tokens_ * hidden_ * element_;
    return messages_ * (cuts_rows() ? network_.reduce_scatter(tp_, bytes) : network_.all_reduce(tp_, bytes));
  }
  double gather_rows() const {
    return cuts_rows() ? messages_ * network_.all_gather(tp_, tokens_ * hidden_ * element_) : 0;
  }
  double beyond(double communication, double work) const {
    return cluster_.overlap ? std::max(0.0, communication - work) : communication;
  }
  double gather_keys() const {
    if (layout_.cp == 1) return 0;
    const double bytes = 2 * keys_ * tokens_ * static_cast<double>(layout_.cp) * element_;
    return network_.all_gather({layout_.cp, layout_.stride(Axis::tp) * layout_.tp}, bytes);
  }

  double attention_forward() const {
    const double flops = 2 * tokens_ * sequence_ * queries_;
    return std::max(flops / (rate_ * cluster_.fitted.attention), cluster_.kernel_time);
  }
  // Scores are computed again, and four gradients' products (Dao, FlashAttention-2, 2023).
  double attention_backward() const { return 2.5 * attention_forward(); }

  // Norms read and write the residual stream (the second adds to it), the activation function the inner width, the
  // rotary embedding queries and keys.
  double elementwise_forward() const {
    double time = move(2 * rows_ * hidden_) + move(4 * rows_ * hidden_) + move(3 * rows_ * hidden_) +
                  move(tokens_ * (gated() ? 3 : 2) * inner_);
    if (gated()) time += move(2 * tokens_ * (queries_ + keys_));
    return time;
  }
  double elementwise_backward() const {
    double time = 2 * move(4 * rows_ * hidden_) + move(tokens_ * (gated() ? 5 : 3) * inner_);
    if (gated()) time += move(2 * tokens_ * (queries_ + keys_));
    return time;
  }

  PassTimes layer() const {
    const Product qkv{tokens_, queries_ + 2 * keys_, hidden_}, output{tokens_, hidden_, queries_};
    const Product up{tokens_, (gated() ? 2 : 1) * inner_, hidden_}, down{tokens_, hidden_, inner_};
    PassTimes times;
    for (const Product& p : {qkv, output, up, down}) {
      times.forward += forward(p, blocks_);
      times.input += input_gradient(p, blocks_);
      times.weight += weight_gradient(p, blocks_);
    }
    times.forward += attention_forward() + elementwise_forward();
    times.input += attention_backward() + elementwise_backward();
    times.forward_comm = 2 * (gather_rows() + reduce_rows()) + gather_keys();
    // Behind the products of the two column-parallel layers; the row-parallel ones' gather has nothing to hide behind.
    times.backward_comm = 2 * gather_rows() + 2 * gather_keys();
    for (const Product& p : {qkv, up})
      times.backward_comm +=
          beyond(gather_rows(), input_gradient(p, blocks_)) + beyond(reduce_rows(), weight_gradient(p, blocks_));
    times.input_comm = 2 * (gather_rows() + reduce_rows()) + 2 * gather_keys();
    times.weight_comm = 2 * gather_rows();
    add_recompute(times);
    return times;
  }

  void add_recompute(PassTimes& times) const {
    double communication = 0;
    if (layout_.recompute == Recompute::selective)
      times.recompute = 2 * move(2 * rows_ * hidden_) + move(tokens_ * inner_);
    if (layout_.recompute == Recompute::full) {
      times.recompute = times.forward;
      communication = times.forward_comm;
    }
    times.input += times.recompute;
    times.backward_comm += communication;
    times.input_comm += communication;
  }

  PassTimes embedding() const {
    PassTimes times;
    times.forward = move(2 * tokens_ * hidden_);
    times.weight = std::max(tokens_ * hidden_ * (element_ + 2 * gradient_) / bandwidth_, cluster_.kernel_time);
    times.forward_comm = reduce_rows();
    times.backward_comm = times.input_comm = gather_rows();
    return times;
  }

  PassTimes head() const {
    const Product logits{tokens_, vocabulary_, hidden_};
    PassTimes times;
    times.forward = forward(logits, LinearPrecision::compute) + move(2 * rows_ * hidden_) + move(tokens_ * vocabulary_);
    times.input =
        input_gradient(logits, LinearPrecision::compute) + move(2 * tokens_ * vocabulary_) + move(4 * rows_ * hidden_);
    times.weight = weight_gradient(logits, LinearPrecision::compute);
    times.forward_comm = gather_rows() + network_.all_gather(tp_, tokens_ * 3 * gradient_ * t_);
    times.backward_comm = times.input_comm = reduce_rows();
    return times;
  }

  const ModelConfig& model_;
  const Layout& layout_;
  const ClusterSpec& cluster_;
  double messages_;  // factor of their time
  Network network_;
  RankGroup tp_;
  double share_;
  LinearPrecision blocks_;  // of their products
  double rate_, fp8_rate_, bandwidth_, cache_, element_, gradient_, sequence_, t_;
  double tokens_, rows_;                                 // of a microbatch: all, and between the products
  double hidden_, queries_, keys_, inner_, vocabulary_;  // columns on this rank
};

}  // namespace

PartTimes part_times(const Workload& workload, const Layout& layout, const ClusterSpec& cluster) {
  return PartCosts(workload, layout, cluster).all();
}

double optimizer_time(const Workload& workload, double held, double owned, double merges, const ClusterSpec& cluster,
                      int64_t ranks) {
  const auto gradient = static_cast<double>(size_of(accumulation_dtype(workload.compute)));
  const auto element = static_cast<double>(size_of(workload.compute));
  // Norm; update: gradient, weight and two moments read, the last three written, compute weights written.
  const double bytes = held * gradient + owned * (gradient + 7 * gradient + element) + merges * held * 3 * gradient;
  return bytes / (cluster.memory_bandwidth * cluster.fitted.memory * accelerators_of_a_rank(cluster, ranks));
}

double accelerators_of_a_rank(const ClusterSpec& cluster, int64_t ranks) {
  if (!cluster.shared) return 1;
  const auto here = static_cast<double>(cluster.ranks_on_node(ranks));
  // Ranks that wait leave the processors to the others, so those in excess are accounted for over the whole step.
  return std::max(1.0, static_cast<double>(cluster.accelerators_per_node) / here);
}

}  // namespace trident::plan
