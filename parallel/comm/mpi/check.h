#pragma once

#include <mpi.h>

#include <string>

#include "core/error.h"

namespace trident {

/// Throws Error(peer_lost) for a failed MPI call.
inline void check_mpi(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw Error(ErrorCode::peer_lost, "parallel/comm/mpi", std::string(call) + ": " + std::string(text));
}

}  // namespace trident

#define TRIDENT_MPI_CALL(function, ...) ::trident::check_mpi(function(__VA_ARGS__), #function)
