#include "parallel/comm/device_copies.h"

#include "core/error.h"
#include "core/log.h"
#include "core/memory.h"

namespace trident {
namespace {

class EventMark final : public DeviceCopies::Mark {
 public:
  explicit EventMark(const Stream& stream) { event.record(stream); }
  [[nodiscard]] bool passed() const override { return event.passed(); }

  Event event;
};

class StreamCopies final : public DeviceCopies {
 public:
  explicit StreamCopies(const Stream& compute) : compute_(compute), fetches_(compute.side()), stores_(compute.side()) {}

  MarkPtr mark() override { return std::make_shared<EventMark>(compute_); }

  MarkPtr fetch(const std::byte* device, std::byte* host, size_t bytes, const MarkPtr& after) override {
    event_of(after).wait(fetches_);
    copy(fetches_, view(device, bytes, compute_.device()), view(host, bytes, Device::cpu()));
    return std::make_shared<EventMark>(fetches_);
  }

  MarkPtr store(const std::byte* host, std::byte* device, size_t bytes, const MarkPtr& after) override {
    event_of(after).wait(stores_);
    copy(stores_, view(host, bytes, Device::cpu()), view(device, bytes, compute_.device()));
    auto mark = std::make_shared<EventMark>(stores_);
    mark->event.wait(compute_);
    return mark;
  }

  void move(const std::byte* from, std::byte* to, size_t bytes) override {
    copy(compute_, view(from, bytes, compute_.device()), view(to, bytes, compute_.device()));
  }

  std::shared_ptr<Buffer> allocate_host(size_t bytes) override { return allocate_pinned(bytes); }

  void wait_for_copies() noexcept override {
    try {
      Event last;
      for (const Stream& stream : {fetches_, stores_}) {
        last.record(stream);
        last.synchronize();
      }
    } catch (const Error& error) {
      log::error("{}", error.what());
    }
  }

 private:
  static const Event& event_of(const MarkPtr& mark) { return static_cast<const EventMark&>(*mark).event; }
  // Every type that travels is a multiple of two bytes long.
  static Tensor view(const std::byte* data, size_t bytes, Device device) {
    return Tensor::borrow(const_cast<std::byte*>(data), Shape{static_cast<int64_t>(bytes / 2)}, DType::bf16, device);
  }

  Stream compute_, fetches_, stores_;
};

}  // namespace

std::shared_ptr<DeviceCopies> copies_beside(const Stream& compute) {
  TRIDENT_CHECK(compute.device().kind == DeviceKind::cuda, "no stream of a GPU: " + to_string(compute.device()));
  return std::make_shared<StreamCopies>(compute);
}

}  // namespace trident
