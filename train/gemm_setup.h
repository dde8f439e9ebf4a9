#pragma once

#include <filesystem>
#include <memory>

#include "core/device.h"
#include "kernels/gemm_tuning.h"

namespace trident {

/// Chooses the matrix libraries of one run: those that the run chose when it first started, else those that this
/// machine chose before, else by timing. The choice decides bits, so it is kept in `<run>/gemm.json`.
class GemmSetup {
 public:
  GemmSetup();

  /// A meta stream on which a dry run records its matrix products.
  [[nodiscard]] const Stream& meta_stream() const { return meta_; }

  /// Decides for the products recorded so far. `kept` is read if it exists and written otherwise; an empty path keeps
  /// nothing. Loads the libraries, so call it before starting threads.
  [[nodiscard]] std::shared_ptr<GemmState> choose(const std::filesystem::path& kept) const;

 private:
  std::shared_ptr<GemmRecorder> recorder_;
  Stream meta_;
};

}  // namespace trident
