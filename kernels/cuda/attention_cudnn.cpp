#include "kernels/cuda/attention_cudnn.h"

#include <cudnn_frontend.h>
#include <dlfcn.h>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): setenv is POSIX

#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "kernels/cuda/state.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // where the frontend looks cuDNN's functions up
}

namespace trident::cuda {
namespace {

namespace fe = cudnn_frontend;
using TensorAttributes = std::shared_ptr<fe::graph::Tensor_attributes>;

constexpr const char* kComponent = "kernels/cuda/attention_cudnn";
/// Shorter sequences fill no tile.
constexpr int64_t kShortestSequence = 64;
/// GPUs of generation 9.0 write all scores' gradients to the workspace of a deterministic backward pass. So it goes
/// over as many sequences at once as need this much,
constexpr int64_t kScoreGradientBytes = int64_t{1} << 30;
/// and where one sequence needs more than this, another kernel is better.
constexpr int64_t kLargestWorkspace = int64_t{3} << 30;

bool load_cudnn() {
  // The frontend also looks the CUDA runtime up by name: it should take the version that this build has.
  setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", ("libcudart.so." + std::to_string(CUDART_VERSION / 1000)).c_str(), 0);
  // Never closed: it holds thread-local memory and exit handlers.
  fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
  if (fe::cudnn_dlhandle == nullptr) {
    const char* const reason = dlerror();
    log::info("attention without cuDNN: {}", reason != nullptr ? reason : "libcudnn.so.9 is missing");
  }
  return fe::cudnn_dlhandle != nullptr;
}

void check(fe::error_t status, const char* what) {
  if (status.is_bad())
    throw Error(ErrorCode::internal, kComponent, std::string("cuDNN's ") + what + ": " + status.get_message());
}

/// Names of the tensors in both graphs.
enum Operand : int64_t { kQueries = 1, kKeys, kValues, kOut, kLse, kDout, kDqueries, kDkeys, kDvalues };
using Pointers = std::unordered_map<int64_t, void*>;

/// How a tensor lies in memory: [batch, heads, sequence, width] as cuDNN counts.
struct Placement {
  std::vector<int64_t> sizes, strides;
};

Placement heads_in_rows(const AttentionShape& shape, int64_t heads, int64_t columns) {
  return {{shape.batch, heads, shape.sequence, shape.head_dim}, {shape.sequence * columns, shape.head_dim, columns, 1}};
}

Placement place(const AttentionShape& shape, Operand operand) {
  switch (operand) {
    case kQueries:
    case kDqueries: return heads_in_rows(shape, shape.heads, shape.qkv_columns());
    case kKeys:
    case kValues:
    case kDkeys:
    case kDvalues: return heads_in_rows(shape, shape.kv_heads, shape.qkv_columns());
    case kOut:
    case kDout: return heads_in_rows(shape, shape.heads, shape.heads * shape.head_dim);
    case kLse: break;
  }
  return {{shape.batch, shape.heads, shape.sequence, 1}, {shape.heads * shape.sequence, shape.sequence, 1, 1}};
}

/// A graph of one attention call, planned for one shape.
class Plan {
 public:
  virtual ~Plan() = default;
  [[nodiscard]] const AttentionShape& shape() const { return shape_; }
  void run(cudnnHandle_t handle, CudaState& state, Pointers pointers) const {
    void* const workspace = state.scratch(static_cast<size_t>(workspace_bytes_));
    check(graph_.execute(handle, pointers, workspace), "attention");
  }

 protected:
  explicit Plan(const AttentionShape& shape) : shape_(shape) {
    graph_.set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }
  [[nodiscard]] float scale() const {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape_.head_dim)));
  }
  [[nodiscard]] TensorAttributes input(Operand operand) {
    const Placement at = place(shape_, operand);
    return graph_.tensor(fe::graph::Tensor_attributes()
                             .set_uid(operand)
                             .set_dim(at.sizes)
                             .set_stride(at.strides)
                             .set_data_type(type(operand)));
  }
  void output(const TensorAttributes& tensor, Operand operand) const {
    const Placement at = place(shape_, operand);
    tensor->set_output(true).set_uid(operand).set_dim(at.sizes).set_stride(at.strides).set_data_type(type(operand));
  }
  void build(cudnnHandle_t handle) {
    check(graph_.build(handle, {fe::HeurMode_t::A}), "planner");
    check(graph_.get_workspace_size(workspace_bytes_), "planner");
    if (workspace_bytes_ > kLargestWorkspace)
      throw Error(ErrorCode::internal, kComponent,
                  "cuDNN's attention needs " + std::to_string(workspace_bytes_ >> 20) + " MiB beside its operands");
  }

  AttentionShape shape_;
  fe::graph::Graph graph_;

 private:
  [[nodiscard]] static fe::DataType_t type(Operand operand) {
    return operand == kLse ? fe::DataType_t::FLOAT : fe::DataType_t::BFLOAT16;
  }

  int64_t workspace_bytes_ = 0;
};

class ForwardPlan : public Plan {
 public:
  ForwardPlan(cudnnHandle_t handle, const AttentionShape& shape) : Plan(shape) {
    auto options = fe::graph::SDPA_attributes()
                       .set_name("attention")
                       .set_generate_stats(true)  // natural logarithms of sums over scaled scores: our lse
                       .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                       .set_diagonal_band_right_bound(0)
                       .set_attn_scale(scale());
    const auto [out, lse] = graph_.sdpa(input(kQueries), input(kKeys), input(kValues), options);
    output(out, kOut);
    output(lse, kLse);
    build(handle);
  }
};

class BackwardPlan : public Plan {
 public:
  BackwardPlan(cudnnHandle_t handle, const AttentionShape& shape, bool repeatable) : Plan(shape) {
    auto options = fe::graph::SDPA_backward_attributes()
                       .set_name("attention_backward")
                       .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                       .set_diagonal_band_right_bound(0)
                       .set_attn_scale(scale())
                       .set_deterministic_algorithm(repeatable);
    const auto [dqueries, dkeys, dvalues] = graph_.sdpa_backward(input(kQueries), input(kKeys), input(kValues),
                                                                 input(kOut), input(kDout), input(kLse), options);
    output(dqueries, kDqueries);
    output(dkeys, kDkeys);
    output(dvalues, kDvalues);
    build(handle);
  }
};

/// The part of the batch that one backward call takes: all parts are equal, and begin at multiples of 16 bytes.
AttentionShape backward_part(const AttentionShape& shape) {
  const int64_t padded = (shape.sequence + 127) / 128 * 128;
  const int64_t bytes = shape.heads * padded * padded * 2;
  AttentionShape part = shape;
  if (shape.heads * shape.sequence % 4 != 0) return part;
  while (part.batch > 1 && (shape.batch % part.batch != 0 || part.batch * bytes > kScoreGradientBytes)) --part.batch;
  return part;
}

/// One stream's plans.
class CudnnAttention {
 public:
  explicit CudnnAttention(const Stream& stream) {
    static const bool kLoaded = load_cudnn();
    if (!kLoaded) return;
    try {
      if (fe::detail::create_handle(&handle_) != CUDNN_STATUS_SUCCESS) handle_ = nullptr;
      if (handle_ != nullptr) fe::detail::set_stream(handle_, static_cast<cudaStream_t>(stream.handle()));
    } catch (const std::exception& problem) {
      log::warning("attention without cuDNN: {}", problem.what());
    }
  }
  ~CudnnAttention() {
    plans_.clear();
    if (handle_ != nullptr) fe::detail::destroy_handle(handle_);
  }
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  [[nodiscard]] cudnnHandle_t handle() const { return handle_; }
  /// Null where cuDNN cannot.
  [[nodiscard]] const Plan* plan(const AttentionShape& shape, AttentionPass pass, bool repeatable) {
    if (handle_ == nullptr) return nullptr;
    const Key key{shape.batch,    shape.sequence, shape.heads,
                  shape.kv_heads, shape.head_dim, pass == AttentionPass::forward ? 0 : repeatable ? 1 : 2};
    const auto [place, added] = plans_.try_emplace(key);
    if (added) place->second = make(shape, pass, repeatable);
    return place->second.get();
  }

 private:
  using Key = std::array<int64_t, 6>;

  [[nodiscard]] std::unique_ptr<Plan> make(const AttentionShape& shape, AttentionPass pass, bool repeatable) const {
    try {
      if (pass == AttentionPass::forward) return std::make_unique<ForwardPlan>(handle_, shape);
      return std::make_unique<BackwardPlan>(handle_, repeatable ? backward_part(shape) : shape, repeatable);
    } catch (const std::exception& problem) {
      log::info("attention of batch {}, sequence {}, heads {}/{} of {}, {}, without cuDNN: {}", shape.batch,
                shape.sequence, shape.heads, shape.kv_heads, shape.head_dim,
                pass == AttentionPass::forward ? "forward" : "backward", problem.what());
      return nullptr;
    }
  }

  cudnnHandle_t handle_ = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

CudnnAttention& attention_of(const Stream& stream) { return state_of(stream).keep<CudnnAttention>(stream); }

const Plan& plan_for(const Stream& stream, const AttentionShape& shape, AttentionPass pass) {
  const Plan* const plan = attention_of(stream).plan(shape, pass, state_of(stream).repeatable());
  TRIDENT_CHECK(plan != nullptr, "cuDNN's attention was not asked whether it supports the shape");
  return *plan;
}

/// Element `index` of a tensor.
template <class T>
void* element(const Tensor& tensor, int64_t index) {
  return tensor.data<T>() + index;
}

/// Adds the queries, keys and values of packed rows from row `row` on, which follow `first` in Operand.
void add_packed(const AttentionShape& shape, const Tensor& qkv, int64_t row, int64_t first, Pointers& pointers) {
  const int64_t begin = row * shape.qkv_columns();
  pointers[first] = element<bfloat16>(qkv, begin);
  pointers[first + 1] = element<bfloat16>(qkv, begin + shape.heads * shape.head_dim);
  pointers[first + 2] = element<bfloat16>(qkv, begin + (shape.heads + shape.kv_heads) * shape.head_dim);
}

}  // namespace

bool cudnn_attention_supports(const Stream& stream, const AttentionShape& shape, DType dtype, AttentionPass pass) {
  if (dtype != DType::bf16 || (shape.head_dim != 64 && shape.head_dim != 128)) return false;
  if (shape.batch == 0 || shape.sequence < kShortestSequence) return false;
  return attention_of(stream).plan(shape, pass, state_of(stream).repeatable()) != nullptr;
}

void cudnn_attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                             Tensor& lse) {
  Pointers pointers{{kOut, out.raw()}, {kLse, lse.raw()}};
  add_packed(shape, qkv, 0, kQueries, pointers);
  plan_for(stream, shape, AttentionPass::forward).run(attention_of(stream).handle(), state_of(stream), pointers);
}

void cudnn_attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  const Plan& plan = plan_for(stream, shape, AttentionPass::backward);
  for (int64_t batch = 0; batch < shape.batch; batch += plan.shape().batch) {
    const int64_t row = batch * shape.sequence;
    const int64_t out_begin = row * shape.heads * shape.head_dim;
    Pointers pointers{{kOut, element<bfloat16>(out, out_begin)},
                      {kDout, element<bfloat16>(dout, out_begin)},
                      {kLse, element<float>(lse, row * shape.heads)}};
    add_packed(shape, qkv, row, kQueries, pointers);
    add_packed(shape, dqkv, row, kDqueries, pointers);
    plan.run(attention_of(stream).handle(), state_of(stream), pointers);
  }
}

}  // namespace trident::cuda
