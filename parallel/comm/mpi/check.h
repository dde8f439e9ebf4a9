#pragma once

#include <mpi.h>

#include <string>

#include "core/error.h"

namespace trident {

/// Throws Error for a failed MPI call: peer_lost, or internal where a message is longer than what this rank waits for,
/// so that the ranks have made different calls.
inline void check_mpi(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(result, text, &length);
  int kind = MPI_SUCCESS;
  MPI_Error_class(result, &kind);
  const bool mismatch = kind == MPI_ERR_TRUNCATE;
  throw Error(mismatch ? ErrorCode::internal : ErrorCode::peer_lost, "parallel/comm/mpi",
              std::string(call) + ": " + std::string(text), mismatch ? "ranks have made different calls" : "");
}

}  // namespace trident

#define TRIDENT_MPI_CALL(function, ...) ::trident::check_mpi(function(__VA_ARGS__), #function)
