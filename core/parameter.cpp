#include "core/parameter.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "core/philox.h"

namespace trident {
namespace {

constexpr int64_t kInitBlock = 1 << 16;

template <class T>
void fill(T* out, int64_t first, int64_t count, const Initializer& initializer, const RandomStream& random) {
  switch (initializer.kind) {
    case Initializer::Kind::zeros: std::fill_n(out, count, T(0)); break;
    case Initializer::Kind::ones: std::fill_n(out, count, T(1)); break;
    case Initializer::Kind::normal: {
      std::vector<float> normals(static_cast<size_t>(count));
      random.normal(static_cast<uint64_t>(first), normals);
      const auto std = static_cast<float>(initializer.std);
      std::transform(normals.begin(), normals.end(), out, [std](float normal) { return T(normal * std); });
      break;
    }
  }
}

void round_weights(const Stream& stream, const Tensor& master, Tensor& compute) {
  const auto* from = master.data<float>();
  auto* to = compute.data<bfloat16>();
  const int64_t count = master.elements();
  stream.pool().parallel_for((count + kInitBlock - 1) / kInitBlock, [&](int64_t block) {
    const int64_t first = block * kInitBlock, last = std::min(count, first + kInitBlock);
    std::transform(from + first, from + last, to + first, [](float value) { return bfloat16(value); });
  });
}

// The local part lies in the logical tensor as runs of `length` neighbouring elements, `stride` apart, from `first` on:
// one run if the outermost dimension is cut or none, a run a row if columns are.
struct Runs {
  int64_t first = 0;
  int64_t length = 0;
  int64_t stride = 0;
};

Runs runs_of(const Parameter& parameter) {
  const Shape& whole = parameter.global_shape;
  const int64_t columns = whole[-1], local = parameter.local_shape().elements();
  if (!parameter.sharded()) return {0, local, local};
  const int dim = parameter.layout[Axis::tp].dim;
  if (dim == 0) return {parameter.shard_begin * (whole.elements() / whole[0]), local, local};
  TRIDENT_CHECK(whole.rank() == 2 && dim == 1, "a shard of dimension " + std::to_string(dim));
  return {parameter.shard_begin, parameter.shard_count, columns};
}

template <class T>
void initialize_parameter(const Parameter& parameter, T* master, uint64_t seed, const Stream& stream) {
  const RandomStream random(seed, parameter.name);
  const Runs runs = runs_of(parameter);
  const int64_t count = parameter.local_shape().elements();
  stream.pool().parallel_for((count + kInitBlock - 1) / kInitBlock, [&](int64_t block) {
    const int64_t end = std::min(count, (block + 1) * kInitBlock);
    for (int64_t at = block * kInitBlock; at < end;) {
      const int64_t run = at / runs.length, inside = at % runs.length;
      const int64_t size = std::min(end - at, runs.length - inside);
      fill(master + at, runs.first + run * runs.stride + inside, size, parameter.initializer, random);
      at += size;
    }
  });
}

}  // namespace

ParameterStorage::ParameterStorage(const std::vector<ParameterGroup*>& groups, DType compute, Device device,
                                   const FlatAllocator& allocate) {
  int64_t total = 0;
  for (ParameterGroup* group : groups) {
    for (Parameter& member : group->members) {
      member.flat_offset = total;
      total += member.local_shape().elements();
      parameters_.push_back(&member);
    }
    total = (total + kGroupAlignment - 1) / kGroupAlignment * kGroupAlignment;
  }
  const DType accumulation = accumulation_dtype(compute);
  const bool given = allocate && device.kind != DeviceKind::meta;
  values_ = given ? allocate(total, compute) : allocate_zeroed(device, {total}, compute);
  master_ = compute == accumulation ? values_ : allocate_zeroed(device, {total}, accumulation);
  grads_ = given ? allocate(total, accumulation) : allocate_zeroed(device, {total}, accumulation);

  for (ParameterGroup* group : groups) {
    int64_t rows = 0;
    for (Parameter& member : group->members) {
      member.value = values_.flat_view(member.flat_offset, member.local_shape());
      member.grad = grads_.flat_view(member.flat_offset, member.local_shape());
      rows += member.local_shape()[0];
    }
    const Shape shape = group->members.front().local_shape().with(0, rows);
    group->value = values_.flat_view(group->members.front().flat_offset, shape);
    group->grad = grads_.flat_view(group->members.front().flat_offset, shape);
  }
}

void ParameterStorage::initialize(uint64_t seed, const Stream& stream) {
  for (const Parameter* parameter : parameters_) {
    write_from_host(stream, master_of(*parameter), [&](Tensor& master) {
      if (master.dtype() == DType::fp64)
        initialize_parameter(*parameter, master.data<double>(), seed, stream);
      else
        initialize_parameter(*parameter, master.data<float>(), seed, stream);
    });
  }
  refresh_compute_weights(stream);
}

void ParameterStorage::refresh_compute_weights(const Stream& stream) {
  if (values_.raw() == master_.raw() || !master_.defined()) return;
  // A piece at a time, so that a GPU's weights pass through little memory of the host.
  constexpr int64_t kPiece = int64_t{1} << 24;
  for (int64_t begin = 0; begin < values_.elements(); begin += kPiece) {
    const Shape shape{std::min(kPiece, values_.elements() - begin)};
    const Tensor from = to_host(stream, master_.flat_view(begin, shape));
    write_from_host(stream, values_.flat_view(begin, shape), [&](Tensor& to) { round_weights(stream, from, to); });
  }
}

void ParameterStorage::zero_gradients(const Stream& stream) { set_zero(stream, grads_); }

void ParameterStorage::release_master() {
  if (values_.dtype() != master_.dtype()) master_.reset();
}

Parameter& ParameterStorage::find(const std::string& name) const {
  const auto found = std::find_if(parameters_.begin(), parameters_.end(), [&](auto* p) { return p->name == name; });
  TRIDENT_CHECK(found != parameters_.end(), "no parameter is called " + name);
  return **found;
}

Tensor ParameterStorage::master_of(const Parameter& parameter) const {
  return master_.flat_view(parameter.flat_offset, parameter.local_shape());
}

}  // namespace trident
