#include "launch/shared_memory_room.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

namespace trident {
namespace {

// Open MPI 4.1: PMIx takes two segments of 4 MiB at once; of a rank's own only pages that are used are taken, but all
// of it, and a twentieth, must be free.
constexpr uint64_t kPmixSegments = uint64_t{8} << 20;
constexpr uint64_t kPagesOfARank = uint64_t{128} << 10;

double mib(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

uint64_t shared_memory_to_start(int ranks) {
  return kPmixSegments + kMessageSegment + kMessageSegment / 20 + kPagesOfARank * static_cast<uint64_t>(ranks);
}

std::optional<std::string> lack_of_shared_memory(uint64_t needed, const char* folder) {
  struct statvfs room {};
  // No blocks: it has no limit.
  if (::statvfs(folder, &room) != 0 || room.f_blocks == 0) return std::nullopt;
  const uint64_t free = uint64_t{room.f_bavail} * room.f_frsize, whole = uint64_t{room.f_blocks} * room.f_frsize;
  if (free >= needed) return std::nullopt;
  return fmt::format("{} is full: {:.1f} of {:.1f} MiB are left, and Open MPI needs {:.1f} MiB", folder, mib(free),
                     mib(whole), mib(needed));
}

}  // namespace trident
