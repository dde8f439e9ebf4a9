#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/heartbeat_record.h"
#include "train/progress.h"

namespace trident {

struct HeartbeatSlot;

/// The heartbeats of a node's ranks, in POSIX shared memory that this user alone may open. Whoever creates it owns the
/// name and removes it; it is mapped as long as the object lives.
class HeartbeatMemory {
 public:
  /// A new segment; one of that name that is there is removed. Throws Error(io).
  static HeartbeatMemory create(const std::string& name, int slots, int64_t epoch);
  /// The segment that an agent made. Throws Error(io) where it is not there, is another user's, or of another format.
  static HeartbeatMemory attach(const std::string& name);
  static void remove(const std::string& name);

  HeartbeatMemory(HeartbeatMemory&& other) noexcept;
  HeartbeatMemory& operator=(HeartbeatMemory&&) = delete;
  ~HeartbeatMemory();

  [[nodiscard]] int slots() const;
  [[nodiscard]] int64_t epoch() const;
  [[nodiscard]] HeartbeatSlot& slot(int index) const;
  /// What the rank of a slot says, all of one moment; of a rank that died while it wrote, as far as it came.
  [[nodiscard]] RankRecord read(int index) const;
  /// Until when, by the steady clock, the ranks may leave behind what others would read.
  void extend_lease(int64_t steady_ns);
  [[nodiscard]] int64_t lease() const;
  /// Cheaper: only whether it has said anything new.
  [[nodiscard]] uint64_t beats(int index) const;

 private:
  struct Header;
  HeartbeatMemory(void* memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
  [[nodiscard]] Header& header() const;

  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

/// One rank's side: writes where it is into its slot, without system calls but the clock's, which needs none. Used by
/// the training thread; crashed() by a signal handler.
class Heartbeat final : public TrainProgress {
 public:
  Heartbeat(HeartbeatMemory memory, int slot, int rank);

  void phase(TrainPhase phase, int64_t step) override;
  void action(const pipeline::Action& action) override;
  void resumed(int64_t step) override;
  void step_done(int64_t step, double loss, double busy_seconds) override;
  void committed(int64_t step) override;
  void entered(const ProgressRecord& record) override;
  void left(const ProgressRecord& record) override;
  void waits(const ProgressRecord& record) override;
  void waited(const ProgressRecord& record) override;

  /// The rank is about to end, as it should; with an error; by a signal.
  void finished(int exit_code);
  void failed(int exit_code, std::string_view message, std::optional<Blame> blame = {});
  void crashed(int signal) noexcept;

 private:
  class Update;
  struct Known {
    const char* name;
    int peer;
    bool send;
  };
  [[nodiscard]] std::optional<size_t> group_of(const ProgressRecord& record);
  void end_phase();

  HeartbeatMemory memory_;
  HeartbeatSlot& slot_;
  std::vector<Known> known_;  // groups by what tells them apart within the process
  TrainPhase phase_ = TrainPhase::starting;
  int64_t phase_began_ = 0;
};

}  // namespace trident
