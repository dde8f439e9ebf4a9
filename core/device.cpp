#include "core/device.h"

#include <sched.h>

#include <algorithm>

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
  stream.shared_->pool = std::make_unique<ThreadPool>(threads);
  return stream;
}

Stream Stream::meta() {
  Stream stream;
  stream.device_ = Device::meta();
  return stream;
}

ThreadPool& Stream::pool() const {
  TRIDENT_CHECK(shared_->pool != nullptr, "stream without threads: " + to_string(device_));
  return *shared_->pool;
}

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace trident
