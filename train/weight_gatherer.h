#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/data/sharded_optimizer.h"
#include "train/weight_table.h"

namespace trident {

/// Lets rank 0 read the logical tensors of a model whose master weights lie on all ranks, a few rows at a time. Only
/// the ranks that hold the asked elements take part, and of replicas only the lowest rank; no rank ever holds more than
/// its own pieces and, on rank 0, the rows in flight.
class WeightGatherer {
 public:
  /// Elements that are in flight at once, unless one row has more.
  static constexpr int64_t kElementsAtOnce = int64_t{1} << 20;

  /// Collective over `world`; `pieces` are all that this rank has. Copies of a tied embedding are left out. May be kept
  /// for a whole training, since it looks at the pieces' memory only when it is asked for it. Every rank throws
  /// Error(internal) if an element of a tensor has no holder.
  WeightGatherer(Communicator world, Stream stream, std::vector<OwnedPiece> pieces);
  WeightGatherer(const WeightGatherer&) = delete;
  WeightGatherer& operator=(const WeightGatherer&) = delete;

  /// Collective. Runs `work` on rank 0, where it may read(), while the other ranks send what it asks for. If it throws,
  /// every rank throws: rank 0 the exception itself, the others an Error with its code and text.
  void run(const std::function<void()>& work);

  /// Rows [row0, row0 + rows) of logical tensor `name`, row-major. On rank 0, inside run()'s work.
  void read(const std::string& name, int64_t row0, int64_t rows, std::span<float> out);
  void read(const std::string& name, int64_t row0, int64_t rows, std::span<double> out);

 private:
  /// What rank 0 tells another one: {piece, first element, count}, or one of the kinds in the .cpp and its arguments.
  using Request = std::array<int64_t, 3>;

  void exchange_table();
  [[nodiscard]] std::vector<HeldRun> held_runs() const;
  void work_on_rank_0(const std::function<void()>& work);
  void tell(int rank, const Request& request);
  void tell_all(const Request& request);
  void tell_failure(const Error& error);
  [[nodiscard]] std::vector<HeldRun> ask_for_table(int rank);

  void serve();
  [[nodiscard]] Tensor held(int64_t piece, int64_t begin, int64_t count) const;
  void send_table();
  [[noreturn]] void rethrow_failure(const Request& request);

  template <class T>
  void read_rows(const std::string& name, int64_t row0, int64_t rows, std::span<T> out);
  template <class T>
  void read_band(const std::string& name, int64_t row0, int64_t rows, std::span<T> out);
  [[nodiscard]] std::vector<Tensor> fetch(std::span<const Fragment> fragments, DType dtype);

  Communicator world_;
  Stream stream_;
  std::vector<OwnedPiece> pieces_;
  WeightTable table_;              // on rank 0
  std::vector<Request> requests_;  // under way
  bool working_ = false;
  bool talking_ = false;  // still true after an error: the error is one of communication
};

}  // namespace trident
