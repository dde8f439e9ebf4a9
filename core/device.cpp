#include "core/device.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <utility>

#include "core/device/runtime.h"
#include "core/error.h"

namespace trident {

std::string to_string(Device device) {
  switch (device.kind) {
    case DeviceKind::cpu: return "cpu";
    case DeviceKind::cuda: return "cuda:" + std::to_string(device.index);
    case DeviceKind::meta: return "meta";
  }
  return "?";
}

Stream Stream::cpu(int threads) {
  Stream stream;
  stream.shared_->pool = std::make_shared<ThreadPool>(threads);
  return stream;
}

Stream Stream::meta() {
  Stream stream;
  stream.device_ = Device::meta();
  return stream;
}

Stream Stream::cuda(int index, int threads) {
  Stream stream;
  stream.device_ = Device::cuda(index);
  stream.shared_->handle = runtime::create_stream(index);
  stream.shared_->fault = runtime::create_fault(index);
  stream.shared_->pool = std::make_shared<ThreadPool>(threads);
  return stream;
}

Stream Stream::side() const {
  Stream stream;
  stream.device_ = device_;
  stream.shared_->pool = shared_->pool;
  stream.shared_->fault = shared_->fault;
  if (device_.kind == DeviceKind::cuda) stream.shared_->handle = runtime::create_stream(device_.index);
  return stream;
}

ThreadPool& Stream::pool() const {
  TRIDENT_CHECK(shared_->pool != nullptr, "stream without threads: " + to_string(device_));
  return *shared_->pool;
}

void Stream::synchronize() const {
  if (device_.kind != DeviceKind::cuda) return;
  runtime::synchronize_stream(handle());
  const DeviceFault found = std::exchange(*shared_->fault, {});
  if (found.kind == DeviceFault::none) return;
  const bool label = found.kind == DeviceFault::label;
  throw Error(ErrorCode::bad_data, label ? "kernels/cross_entropy" : "kernels/embedding",
              fmt::format("{} {} at row {} is outside [{}, {})", label ? "label" : "token", found.value, found.row,
                          found.lowest, found.limit),
              "check that the data was prepared with this model's tokenizer");
}

void Event::record(const Stream& stream) {
  if (stream.device().kind != DeviceKind::cuda) return;
  if (!handle_ || device_ != stream.device()) handle_ = runtime::create_event(stream.device().index);
  device_ = stream.device();
  runtime::record_event(handle_.get(), stream.handle());
}

void Event::wait(const Stream& stream) const {
  if (handle_ && stream.device().kind == DeviceKind::cuda) runtime::stream_wait(stream.handle(), handle_.get());
}

void Event::synchronize() const {
  if (handle_) runtime::synchronize_event(handle_.get());
}

bool Event::passed() const { return !handle_ || runtime::event_passed(handle_.get()); }

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace trident
