#include "core/parameter.h"

#include <algorithm>
#include <cstring>

#include "core/philox.h"

namespace trident {
namespace {

constexpr int64_t kInitBlock = 1 << 16;

Tensor allocate_flat(int64_t elements, DType dtype, Device device) {
  if (device.kind == DeviceKind::meta) return HeapAllocator(device).allocate({elements}, dtype);
  return {map_memory(static_cast<size_t>(elements) * size_of(dtype)), 0, Shape{elements}, dtype};
}

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
  values_ = given ? allocate(total, compute) : allocate_flat(total, compute, device);
  master_ = compute == accumulation ? values_ : allocate_flat(total, accumulation, device);
  grads_ = given ? allocate(total, accumulation) : allocate_flat(total, accumulation, device);

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
    const Tensor master = master_of(*parameter);
    if (master.dtype() == DType::fp64)
      initialize_parameter(*parameter, master.data<double>(), seed, stream);
    else
      initialize_parameter(*parameter, master.data<float>(), seed, stream);
  }
  refresh_compute_weights(stream);
}

void ParameterStorage::refresh_compute_weights(const Stream& stream) {
  if (values_.raw() == master_.raw() || !master_.defined()) return;
  const int64_t count = values_.elements();
  stream.pool().parallel_for((count + kInitBlock - 1) / kInitBlock, [&](int64_t block) {
    const int64_t first = block * kInitBlock;
    const int64_t size = std::min(kInitBlock, count - first);
    const float* from = master_.data<float>() + first;
    std::transform(from, from + size, values_.data<bfloat16>() + first, [](float value) { return bfloat16(value); });
  });
}

void ParameterStorage::zero_gradients(const Stream& stream) {
  const auto bytes = static_cast<int64_t>(grads_.bytes());
  constexpr int64_t kBlock = kInitBlock * 4;
  stream.pool().parallel_for((bytes + kBlock - 1) / kBlock, [&](int64_t block) {
    const int64_t first = block * kBlock;
    std::memset(static_cast<std::byte*>(grads_.raw()) + first, 0, static_cast<size_t>(std::min(kBlock, bytes - first)));
  });
}

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
