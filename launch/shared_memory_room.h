#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trident {

/// What a rank's messages over shared memory take at most, and what must be free for it when it starts.
inline constexpr uint64_t kMessageSegment = uint64_t{4} << 20;

/// Bytes of /dev/shm that must be free on a node for so many ranks to start there under Open MPI.
[[nodiscard]] uint64_t shared_memory_to_start(int ranks);

/// "/dev/shm is full: 0.1 of 64.0 MiB are left, and Open MPI needs 12.6 MiB"; nothing where there is as
/// much, and where the system does not say.
[[nodiscard]] std::optional<std::string> lack_of_shared_memory(uint64_t needed, const char* folder = "/dev/shm");

inline constexpr const char* kMoreSharedMemory =
    "look with `du -sh /dev/shm/*` and remove what belongs to nobody any more (trident.*.snapshot.* belong to runs "
    "that "
    "ended early and are to go on), or make it larger: `mount -o remount,size=…`, in a container --shm-size";

}  // namespace trident
