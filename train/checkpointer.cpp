#include "train/checkpointer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <thread>
#include <utility>

#include "core/log.h"
#include "parallel/comm/exchange_text.h"
#include "train/state_fault.h"

namespace trident {
namespace {

constexpr std::chrono::milliseconds kPollInterval{2};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

uint64_t gang_of(const std::string& attempt) { return hash_bytes(attempt).low; }

}  // namespace

Checkpointer::Checkpointer(const Engine& engine, CheckpointerOptions options)
    : world_(engine.mesh().world()),
      several_nodes_(engine.mesh().ranks_per_node().size() > 1),
      at_(engine.mesh().coordinates()),
      options_(std::move(options)),
      stream_(engine.stream()),
      root_(options_.root),
      state_(engine),
      segments_(state_.segments()) {
  options_.manifest.dtype = state_.dtype();
  options_.manifest.tensors = state_.tensors();
  open_root();
  exchange_segments();
}

Checkpointer::~Checkpointer() {
  if (committing_.valid()) committing_.wait();
}

// Errors of rank 0 are every rank's.
void Checkpointer::open_root() {
  CommitResult result;
  if (world_.rank() == 0) {
    try {
      lease_.emplace(root_, options_.manifest.run_id);
      if (const int swept = root_.sweep(*options_.files); swept > 0)
        log::info("removed {} unfinished checkpoint{} in {}", swept, swept == 1 ? "" : "s", root_.path().string());
    } catch (const Error& error) {
      (void)broadcast_text(world_, encode(CommitResult{error.what()}));
      throw;
    }
  }
  result = decode_commit_result(broadcast_text(world_, encode(result)));
  if (!result.error.empty()) throw Error(ErrorCode::io, "checkpoint", "rank 0: " + result.error);
}

void Checkpointer::exchange_segments() {
  const auto texts = gather_text(world_, encode(segments_));
  for (const std::string& text : texts) rank_files_.emplace_back().segments = decode_segments(text);
}

std::filesystem::path Checkpointer::temporary(int64_t step) const { return root_.temporary(step, options_.attempt); }

bool Checkpointer::save(int64_t step, int64_t samples) {
  if (full()) return false;
  if (!writer_) start(step - 1);
  (void)wait_copied();
  forget_earlier();
  TRIDENT_CHECK(writer_->snapshot(step, samples, true),
                "a buffer is free while fewer saves than buffers are under way");
  saves_.push_back({step, samples, now()});
  return true;
}

void Checkpointer::snapshot(int64_t step, int64_t samples) {
  if (!writer_) start(step - 1);
  if (options_.memory.empty()) return;
  (void)wait_copied();
  forget_earlier();
  (void)writer_->snapshot(step, samples, false);
}

void Checkpointer::write(int64_t step, std::span<const std::byte> content) {
  const Manifest& manifest = options_.manifest;
  RankFileHeader header;
  header.run_id = manifest.run_id;
  header.step = step;
  header.rank = world_.rank();
  header.dp_rank = at_.dp;
  header.tp_rank = at_.tp;
  header.pp_rank = at_.pp;
  header.dtype = manifest.dtype;
  header.elements = state_.saved_elements();
  header.tensors = manifest.tensors;
  header.segments = segments_;
  SaveReport report;
  DigestSums sums;
  options_.files->create_directory(temporary(step));
  report.file = write_rank_file(*options_.files, temporary(step), header, state_.source(content, sums));
  report.file.segments.clear();
  report.digests = state_.digests(content, std::move(sums));
  const std::lock_guard lock(mutex_);
  written_[step] = std::move(report);
}

SaveReport Checkpointer::own_report(const SnapshotWriter::Outcome& outcome) {
  const std::lock_guard lock(mutex_);
  if (!outcome.error.empty()) return {outcome.error, {}, {}};
  return std::move(written_.extract(outcome.step).mapped());
}

std::vector<SaveOutcome> Checkpointer::poll() {
  std::vector<SaveOutcome> ended;
  while (!saves_.empty()) {
    Save& save = saves_.front();
    if (!save.committing && !ended_write_) ended_write_ = writer_->finished();
    const bool committed =
        committing_.valid() && committing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    double vote[] = {save.committing || ended_write_ ? 0.0 : 1.0, committed ? 1.0 : 0.0};
    world_.all_reduce(std::span<double>(vote), ReduceOp::max);
    if (!save.committing && vote[0] == 0.0) {
      gather_reports(save);
      save.committing = true;
    } else if (save.committing && vote[1] == 1.0) {
      ended.push_back(*end_commit());
    } else {
      break;
    }
  }
  return ended;
}

std::vector<SaveOutcome> Checkpointer::finish_one() {
  std::vector<SaveOutcome> ended;
  while (busy() && (ended = poll()).empty()) std::this_thread::sleep_for(kPollInterval);
  return ended;
}

std::vector<SaveOutcome> Checkpointer::finish() {
  std::vector<SaveOutcome> ended;
  while (busy()) {
    for (SaveOutcome& outcome : finish_one()) ended.push_back(std::move(outcome));
  }
  return ended;
}

void Checkpointer::gather_reports(const Save& save) {
  const auto texts = gather_text(world_, encode(own_report(*std::exchange(ended_write_, std::nullopt))));
  if (world_.rank() != 0) return;
  std::vector<SaveReport> reports;
  reports.reserve(texts.size());
  for (const std::string& text : texts) reports.push_back(decode_save_report(text));
  committing_ = std::async(std::launch::async, [this, save, reports = std::move(reports)]() mutable {
    return commit(save, std::move(reports));
  });
}

// On a thread of rank 0.
CommitResult Checkpointer::commit(const Save& save, std::vector<SaveReport> reports) {
  CommitResult result;
  try {
    Manifest manifest = options_.manifest;
    manifest.step = save.step;
    manifest.consumed_samples = save.samples;
    if (verified_ >= 0) manifest.parent_step = verified_;
    manifest.rank_files = rank_files_;
    std::vector<std::vector<PartialDigest>> digests;
    for (size_t rank = 0; rank < reports.size(); ++rank) {
      if (!reports[rank].error.empty()) {
        result.error = "rank " + std::to_string(rank) + ": " + reports[rank].error;
        result.rank = static_cast<int>(rank);
      }
      std::swap(reports[rank].file.segments, manifest.rank_files[rank].segments);
      manifest.rank_files[rank] = std::move(reports[rank].file);
      digests.push_back(std::move(reports[rank].digests));
    }
    if (result.error.empty()) {
      SummedDigests sums = sum_digests(manifest.tensors, digests);
      result.copies_differ = !sums.difference.empty();
      result.error = sums.difference;
      manifest.digests = std::move(sums.digests);
    }
    if (result.error.empty() && options_.may_commit && !options_.may_commit())
      result.error = "this node's lease has run out: the others may have gone on without it";
    if (result.error.empty()) {
      (void)commit_checkpoint(*options_.files, root_, temporary(save.step), manifest, options_.attachments);
      verified_ = save.step;
    }
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  try {
    if (!result.error.empty())
      options_.files->remove(temporary(save.step));
    else
      root_.retain(*options_.files, options_.keep, options_.keep_every_steps, verified_);
  } catch (const std::exception& error) {
    log::warning("{}", error.what());
  }
  return result;
}

std::optional<SaveOutcome> Checkpointer::end_commit() {
  const CommitResult mine = committing_.valid() ? committing_.get() : CommitResult{};
  const CommitResult result = decode_commit_result(broadcast_text(world_, encode(mine)));
  const Save save = saves_.front();
  saves_.pop_front();
  writer_->release(save.step);
  if (result.copies_differ)
    throw StateFault(
        StateFault::Kind::corrupted, -1, save.step,
        "copies of a tensor that must be equal are not, after step " + std::to_string(save.step) + ": " + result.error,
        "memory or an accelerator corrupts data: test the named ranks' hosts, and start again from the last "
        "checkpoint");
  SaveOutcome outcome{.step = save.step, .seconds = now() - save.started, .error = result.error};
  if (result.rank >= 0) outcome.rank = result.rank;
  return outcome;
}

std::optional<RestoredState> Checkpointer::restore_newest(int64_t at_least, const TellDamage& damaged) {
  if (options_.memory.empty()) return std::nullopt;
  world_.barrier();  // nobody fills any more
  const NodeSnapshots here(options_.memory, options_.manifest.run_id);
  return restore_from_memory(here, state_, options_.manifest, world_, at_least, damaged);
}

bool Checkpointer::is_as_copied(int64_t step) const {
  for (int i = 0; memory_ && i < memory_->buffers(); ++i) {
    if (memory_->step(i) == step) return state_.equals(memory_->content(i));
  }
  return true;
}

std::span<std::byte> Checkpointer::newest_snapshot() {
  int newest = 0;
  for (int i = 1; memory_ && i < memory_->buffers(); ++i) {
    if (memory_->step(i) > memory_->step(newest)) newest = i;
  }
  if (!memory_ || !memory_->step(newest)) return {};
  const auto content = memory_->content(newest);
  return {const_cast<std::byte*>(content.data()), content.size()};  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

void Checkpointer::forget_newer(int64_t step) {
  world_.barrier();  // nobody fills any more
  if (memory_) memory_->clear_after(step);
  if (!options_.memory.empty()) NodeSnapshots(options_.memory, options_.manifest.run_id).clear_after(step);
  world_.barrier();
}

std::string Checkpointer::layout_name() const {
  const Hash128 mine = state_.layout_hash();
  const int64_t words[] = {static_cast<int64_t>(mine.high), static_cast<int64_t>(mine.low)};
  std::vector<int64_t> all(static_cast<size_t>(world_.size()) * 2);
  world_.all_gather(std::span<const int64_t>(words), std::span<int64_t>(all));
  const Hash128 layout = hash_bytes(std::as_bytes(std::span(all)));
  return options_.memory + "." + to_hex(layout).substr(0, 8) + ".";
}

void Checkpointer::start(int64_t step) {
  TRIDENT_CHECK(!writer_, "it has started");
  open_memory(step);
  writer_.emplace(
      *memory_, state_.copies(), [this](int64_t of, std::span<const std::byte> content) { write(of, content); },
      CopyOn::own_thread, stream_, gang_of(options_.attempt));
}

void Checkpointer::open_memory(int64_t step) {
  SnapshotIdentity identity{options_.manifest.run_id, world_.rank(), world_.size(), state_.layout_hash(), {}};
  if (!options_.memory.empty()) {
    layout_ = layout_name();
    earlier_.emplace(options_.memory, options_.manifest.run_id);
    world_.barrier();  // every rank of a node has seen the same
    earlier_->clear_after(step);
    double left[] = {earlier_->keep_of_others(layout_, step) ? 1.0 : 0.0};
    world_.all_reduce(std::span<double>(left), ReduceOp::max);
    others_left_ = left[0] > 0;
    identity.description = describe_snapshot(options_.manifest, state_, world_.rank());
    if (!share_memory(layout_ + std::to_string(world_.rank()), identity)) options_.memory.clear();
    if (!others_left_) earlier_.reset();
  }
  if (!memory_) memory_.emplace("", identity, state_.snapshot_bytes(), buffers(false, false));
}

bool Checkpointer::share_memory(const std::string& name, const SnapshotIdentity& identity) {
  std::string problem;
  int count = buffers(true, several_nodes_);
  // What is there holds the state that training goes on from: it is kept, even where it was made for fewer nodes.
  if (const auto there = SnapshotView::open(name); there && there->is_of(identity)) count = there->buffers();
  const auto make = [&] {
    try {
      memory_.emplace(name, identity, state_.snapshot_bytes(), count);
    } catch (const Error& error) {
      problem = error.what();
    }
  };
  make();
  if (!memory_ && others_left_) {
    log::warning("{}; what other layouts left is removed, and until the next snapshot a restart goes on from disk",
                 problem);
    earlier_->remove_others(layout_);
    make();
  }
  const auto problems = all_gather_text(world_, memory_ ? "" : problem);
  for (size_t rank = 0; rank < problems.size() && without_memory_.empty(); ++rank) {
    if (!problems[rank].empty()) without_memory_ = fmt::format("rank {}: {}", rank, problems[rank]);
  }
  if (without_memory_.empty()) return true;
  memory_.reset();
  SnapshotMemory::remove(name);
  return false;
}

// At the second snapshot every rank has sealed its first, once all have come here.
void Checkpointer::forget_earlier() {
  if (!others_left_ || !std::exchange(filled_, true)) return;
  world_.barrier();
  earlier_->remove_others(layout_);
  earlier_.reset();
  others_left_ = false;
}

}  // namespace trident
