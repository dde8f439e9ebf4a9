#pragma once

#include <filesystem>
#include <memory>

#include "core/device.h"
#include "kernels/gemm_tuning.h"
#include "parallel/comm/communicator.h"

namespace trident {

/// Chooses what multiplies the matrices of one run, the same on all its ranks: what the run chose when it first
/// started, else what the machine of rank 0 chose before, else by timing there. The choice decides bits, so it is kept
/// in
/// `<run>/gemm.json`.
class GemmSetup {
 public:
  /// For a run on devices like `target`. On a CPU it loads the libraries, so make it before starting threads.
  explicit GemmSetup(Device target = Device::cpu());

  /// A meta stream on which a dry run records its matrix products.
  [[nodiscard]] const Stream& meta_stream() const { return meta_; }

  /// Decides for the products that any rank recorded so far; `stream`, where rank 0 times them, follows the choices
  /// from then on. `kept` is read if it exists and written otherwise, by rank 0; an empty path keeps nothing.
  /// Collective over `world`.
  void choose(const Stream& stream, const std::filesystem::path& kept,
              const Communicator& world = Communicator::self()) const;

 private:
  std::shared_ptr<GemmRecorder> recorder_;
  Stream meta_;
};

}  // namespace trident
