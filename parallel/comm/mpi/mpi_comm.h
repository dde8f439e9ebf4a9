#pragma once

#include <mpi.h>

#include <memory>
#include <utility>

#include "parallel/comm/mpi/check.h"

namespace trident {

/// Owns an MPI communicator. Freed while MPI runs, left alone after that.
class MpiComm {
 public:
  MpiComm() = default;
  explicit MpiComm(MPI_Comm comm) : comm_(comm) {
    if (comm_ != MPI_COMM_NULL) MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  }
  ~MpiComm() { release(); }
  MpiComm(MpiComm&& other) noexcept : comm_(std::exchange(other.comm_, MPI_COMM_NULL)) {}
  MpiComm& operator=(MpiComm&& other) noexcept {
    std::swap(comm_, other.comm_);
    return *this;
  }

  [[nodiscard]] MPI_Comm get() const { return comm_; }
  [[nodiscard]] int rank() const {
    int rank = 0;
    TRIDENT_MPI_CALL(MPI_Comm_rank, comm_, &rank);
    return rank;
  }
  [[nodiscard]] int size() const {
    int size = 0;
    TRIDENT_MPI_CALL(MPI_Comm_size, comm_, &size);
    return size;
  }
  /// Collective over this communicator; an empty one for a negative colour.
  [[nodiscard]] MpiComm split(int color, int key) const {
    MPI_Comm comm = MPI_COMM_NULL;
    TRIDENT_MPI_CALL(MPI_Comm_split, comm_, color < 0 ? MPI_UNDEFINED : color, key, &comm);
    return MpiComm(comm);
  }
  [[nodiscard]] MpiComm duplicate() const {
    MPI_Comm comm = MPI_COMM_NULL;
    TRIDENT_MPI_CALL(MPI_Comm_dup, comm_, &comm);
    return MpiComm(comm);
  }

 private:
  void release() {
    int finalized = 0;
    if (comm_ == MPI_COMM_NULL || MPI_Finalized(&finalized) != MPI_SUCCESS || finalized != 0) return;
    MPI_Comm_free(&comm_);
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
};

}  // namespace trident
