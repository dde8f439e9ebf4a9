#include "launch/job_place.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "checkpoint/file_hash.h"
#include "core/error.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr const char* kShared = "/dev/shm";

std::string id_of(const fs::path& run) {
  return to_hex(hash_bytes(std::to_string(geteuid()) + ":" + fs::weakly_canonical(run).string())).substr(0, 16);
}

}  // namespace

JobPlace::JobPlace(const fs::path& run) : id_(id_of(run)) {}

fs::path JobPlace::folder() const { return fs::path(kShared) / ("trident." + id_); }

fs::path JobPlace::session(int64_t epoch) const { return folder() / ("epoch_" + std::to_string(epoch)); }

std::string JobPlace::heartbeats(int64_t epoch) const {
  return "/trident." + id_ + ".heartbeat." + std::to_string(epoch);
}

void JobPlace::create() const {
  remove();
  if (::mkdir(folder().c_str(), 0700) != 0)
    throw system_error(errno, "launch", "cannot make " + folder().string(), "look who owns it");
}

void JobPlace::remove() const noexcept {
  std::error_code ignored;
  fs::remove_all(folder(), ignored);
  remove_shared("trident." + id_ + ".heartbeat.");
}

void JobPlace::remove_gang(int64_t epoch) const noexcept {
  std::error_code ignored;
  fs::remove_all(session(epoch), ignored);
  (void)shm_unlink(heartbeats(epoch).c_str());
}

void JobPlace::remove_snapshots() const noexcept { remove_shared("trident." + id_ + ".snapshot."); }

void JobPlace::remove_shared(const std::string& prefix) const noexcept {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(kShared, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix)) (void)shm_unlink(("/" + name).c_str());
  }
}

}  // namespace trident
