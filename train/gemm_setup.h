#pragma once

#include <filesystem>
#include <memory>

#include "core/device.h"
#include "kernels/gemm_tuning.h"
#include "parallel/comm/communicator.h"

namespace trident {

/// Chooses the matrix libraries of one run, the same on all its ranks: those that the run chose when it first started,
/// else those that the machine of rank 0 chose before, else by timing there. The choice decides bits, so it is kept in
/// `<run>/gemm.json`.
class GemmSetup {
 public:
  GemmSetup();

  /// A meta stream on which a dry run records its matrix products.
  [[nodiscard]] const Stream& meta_stream() const { return meta_; }

  /// Decides for the products that any rank recorded so far. `kept` is read if it exists and written otherwise, by rank
  /// 0; an empty path keeps nothing. Loads the libraries, so call it before starting threads. Collective over `world`.
  [[nodiscard]] std::shared_ptr<GemmState> choose(const std::filesystem::path& kept,
                                                  const Communicator& world = Communicator::self()) const;

 private:
  std::shared_ptr<GemmRecorder> recorder_;
  Stream meta_;
};

}  // namespace trident
