#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/device.h"
#include "core/tensor.h"

/// The frame of bench_gpu_kernels: random tensors on the GPU, the clock, the table.
namespace trident::bench {

struct Options {
  std::string only, json;
  int samples = 20;
};

enum class Unit { bytes, flops };

/// One line of the table.
struct Work {
  std::string family, name, shape;
  Unit unit = Unit::bytes;
  double amount = 0;  ///< bytes or operations of one call

  [[nodiscard]] std::string label() const { return family + " " + name + " " + shape; }
};

/// Call number `call` of a kernel. It keeps what it captures alive by value: tensors share their memory, and rotations
/// are shared.
using Call = std::function<void(int64_t call)>;

/// Random tensors on one GPU.
class Memory {
 public:
  explicit Memory(Stream stream) : stream_(std::move(stream)), allocator_(stream_.device()) {}

  /// Normal with deviation `scale`.
  [[nodiscard]] Tensor random(const Shape& shape, DType dtype = DType::bf16, double scale = 1.0);
  /// Uniform in [0, limit).
  [[nodiscard]] Tensor indices(const Shape& shape, int64_t limit);
  [[nodiscard]] Tensor constant(const Shape& shape, float value);
  [[nodiscard]] Tensor upload(const Tensor& host);

 private:
  const Tensor& pattern(DType dtype, double scale);

  Stream stream_;
  HeapAllocator allocator_;
  std::map<std::pair<DType, double>, Tensor> patterns_;
  int64_t fills_ = 0;
};

/// Times works and prints them.
class Bench {
 public:
  /// Throws where options.json cannot be written.
  Bench(const Stream& queue, Options options);

  /// The first call's ceilings are what the lines are compared with; a later one shows whether they still hold.
  void measure_ceilings(const char* when);
  /// Whether a line, and so its memory, is wanted.
  [[nodiscard]] bool wants(const std::string& label) const { return label.find(options_.only) != std::string::npos; }
  /// `prepare` allocates and returns the call; it runs only where the line is wanted, and its memory goes afterwards.
  void line(const Work& work, const std::function<Call()>& prepare);

  [[nodiscard]] int lines() const { return lines_; }
  [[nodiscard]] int failures() const { return failures_; }

  Memory memory;
  Stream stream;

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  struct Timing {
    double seconds = 0;  ///< of one call, the median
    double spread = 0;   ///< from the first to the ninth decile, over the median
  };

  double seconds_of(const Call& run, int64_t calls);
  Timing time(const Call& run);
  void print(const Work& work, const Timing& timing);
  double copy_rate();
  double product_rate();
  double sustained(const Call& run);

  Options options_;
  std::unique_ptr<std::FILE, Close> json_;
  double copy_rate_ = 0, product_rate_ = 0;
  int64_t next_call_ = 0;
  int lines_ = 0, failures_ = 0;
};

/// Sets of tensors of equal shapes that take turns, so that no call finds its own in the L2 cache.
class Rotation {
 public:
  Rotation(Bench& bench, std::initializer_list<Shape> shapes, DType dtype);
  /// Tensor `index` of the set whose turn it is at `call`.
  Tensor& at(int64_t call, size_t index) { return sets_[static_cast<size_t>(call) % sets_.size()][index]; }

 private:
  std::vector<std::vector<Tensor>> sets_;
};

inline std::shared_ptr<Rotation> rotate(Bench& bench, std::initializer_list<Shape> shapes, DType dtype = DType::bf16) {
  return std::make_shared<Rotation>(bench, shapes, dtype);
}

inline double product(int64_t a, int64_t b, int64_t c = 1) {
  return static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

}  // namespace trident::bench
