// What saving and loading a rank's state costs, beside the least that it could cost:
//   bench_checkpoint [--mib 256] [--rounds 7] [--folder .]
// Every round runs all of them, so that a busy disk meets all alike; medians, and ratios of one round each. Numbers are
// seconds per GB (1e9 bytes) of state.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/checkpoint_root.h"
#include "checkpoint/digest.h"
#include "checkpoint/rank_file.h"
#include "checkpoint/snapshot.h"
#include "checkpoint/snapshot_writer.h"
#include "core/error.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kColumns = 1024;
constexpr size_t kPiece = size_t{4} << 20;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void raw_write(const fs::path& path, std::span<const std::byte> bytes) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  TRIDENT_CHECK(descriptor >= 0, path.string());
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
    TRIDENT_CHECK(pwrite(descriptor, piece.data(), piece.size(), static_cast<off_t>(at)) == std::ssize(piece));
  }
  TRIDENT_CHECK(fsync(descriptor) == 0 && close(descriptor) == 0);
}

class Bench {
 public:
  Bench(int64_t mib, fs::path folder)
      : rows_(mib * (int64_t{1} << 20) / (kStateKinds * kColumns * 4)),
        array_(rows_ * kColumns * 4),
        memory_("", {"bench", 0, 1, {}, {}}, kStateKinds * array_),
        live_(static_cast<size_t>(kStateKinds * array_)),
        writer_(
            memory_, {{live_.data(), std::ssize(live_), 0}}, [](int64_t, std::span<const std::byte>) {},
            CopyOn::training_thread),
        folder_(std::move(folder)),
        root_(folder_ / "checkpoints") {
    auto* words = reinterpret_cast<uint32_t*>(live_.data());
    for (size_t i = 0; i < live_.size() / 4; ++i) words[i] = static_cast<uint32_t>(i * 2654435761U);
    (void)snapshot();
    fs::create_directories(root_.path());
  }
  ~Bench() { fs::remove_all(folder_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  [[nodiscard]] double gigabytes() const { return static_cast<double>(live_.size()) / 1e9; }

  /// Copied, hashed and sealed.
  [[nodiscard]] double snapshot() {
    return seconds_of([&] {
      TRIDENT_CHECK(writer_.snapshot(++step_, 0, false));
      (void)writer_.wait_copied();
    });
  }
  [[nodiscard]] double verify_snapshot() {
    return seconds_of([&] { TRIDENT_CHECK(!memory_.problem_with(newest())); });
  }
  [[nodiscard]] double copy() {
    const auto to = memory_.begin_fill(1 - newest());
    return seconds_of([&] { std::memcpy(to.data(), live_.data(), live_.size()); });
  }
  [[nodiscard]] double raw() {
    const double seconds = seconds_of([&] { raw_write(folder_ / "raw", content()); });
    fs::remove(folder_ / "raw");
    return seconds;
  }
  [[nodiscard]] double hash() {
    return seconds_of([&] {
      BlockHasher hasher;
      hasher.update(content());
      (void)hasher.finish();
    });
  }
  [[nodiscard]] double digest() {
    return seconds_of([&] {
      for (int64_t kind = 0; kind < kStateKinds; ++kind)
        digests_[static_cast<size_t>(kind)] = digest_of(array(kind), DType::fp32, {0, rows_, 0, kColumns}, kColumns);
    });
  }
  /// As a save does it: every piece is digested and hashed while it lies in the cache.
  [[nodiscard]] double digest_and_hash() {
    constexpr int64_t kRows = (int64_t{512} << 10) / (kColumns * 4);
    return seconds_of([&] {
      BlockHasher hasher;
      for (int64_t kind = 0; kind < kStateKinds; ++kind) {
        uint64_t sum = 0;
        for (int64_t row = 0; row < rows_; row += kRows) {
          const int64_t rows = std::min(kRows, rows_ - row);
          const auto piece =
              array(kind).subspan(static_cast<size_t>(row * kColumns * 4), static_cast<size_t>(rows * kColumns * 4));
          sum += digest_of(piece, DType::fp32, {0, rows_, 0, kColumns}, kColumns, row * kColumns, rows * kColumns);
          hasher.update(piece);
        }
        digests_[static_cast<size_t>(kind)] = sum;
      }
      (void)hasher.finish();
    });
  }
  [[nodiscard]] double rank_file() {
    files_ = root_.temporary(1, "bench");
    posix_file_system().remove(files_);
    posix_file_system().create_directory(files_);
    RankFileHeader header;
    header.elements = rows_ * kColumns;
    header.tensors = tensors();
    header.segments = {{0, {0, rows_, 0, kColumns}, 0}};
    return seconds_of([&] {
      written_ =
          write_rank_file(posix_file_system(), files_, header, [&](StateKind kind, int64_t begin, int64_t count) {
            return array(static_cast<int64_t>(kind)).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
          });
    });
  }
  [[nodiscard]] double commit() {
    Manifest manifest;
    manifest.step = 1;
    manifest.tensors = tensors();
    manifest.digests = {digests_};
    manifest.rank_files = {written_};
    manifest.rank_files[0].segments = {{0, {0, rows_, 0, kColumns}, 0}};
    posix_file_system().remove(root_.folder(1));
    return seconds_of([&] { (void)commit_checkpoint(posix_file_system(), root_, files_, manifest, {}); });
  }
  [[nodiscard]] double load() {
    std::vector<float> out(static_cast<size_t>(rows_ * kColumns));
    return seconds_of([&] {
      CheckpointReader reader(root_.folder(1));
      for (int kind = 0; kind < kStateKinds; ++kind)
        reader.read(static_cast<StateKind>(kind), 0, {0, rows_, 0, kColumns}, std::span<float>(out));
    });
  }

 private:
  [[nodiscard]] int newest() const { return memory_.step(0) == step_ ? 0 : 1; }
  [[nodiscard]] std::span<const std::byte> content() const { return memory_.content(newest()); }
  [[nodiscard]] std::span<const std::byte> array(int64_t kind) const {
    return content().subspan(static_cast<size_t>(kind * array_), static_cast<size_t>(array_));
  }
  [[nodiscard]] std::vector<LogicalTensor> tensors() const { return {{"weight", Shape{rows_, kColumns}}}; }

  int64_t rows_, array_;
  SnapshotMemory memory_;
  std::vector<std::byte> live_;
  SnapshotWriter writer_;
  int64_t step_ = 0;
  fs::path folder_;
  CheckpointRoot root_;
  fs::path files_;
  RankFile written_;
  TensorDigest digests_{};
};

void run(int64_t mib, int rounds, const fs::path& folder) {
  Bench bench(mib, folder / fmt::format(".bench_checkpoint.{}", getpid()));
  const std::vector<std::pair<const char*, std::function<double()>>> measured = {
      {"memory copy", [&] { return bench.copy(); }},
      {"snapshot, hashed and sealed", [&] { return bench.snapshot(); }},
      {"snapshot verified", [&] { return bench.verify_snapshot(); }},
      {"block hashes", [&] { return bench.hash(); }},
      {"digests", [&] { return bench.digest(); }},
      {"pwrite + fsync", [&] { return bench.raw(); }},
      {"rank file, hashed and synced", [&] { return bench.rank_file(); }},
      {"commit (seconds, not per GB)", [&] { return bench.commit() * bench.gigabytes(); }},
      {"load, verified", [&] { return bench.load(); }},
      {"digests and hashes, by pieces", [&] { return bench.digest_and_hash(); }}};
  std::vector<std::vector<double>> seconds(measured.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < measured.size(); ++i) seconds[i].push_back(measured[i].second() / bench.gigabytes());
  }
  fmt::print("{} MiB of state, {} rounds: median (least … most), s/GB\n", mib, rounds);
  for (size_t i = 0; i < measured.size(); ++i)
    fmt::print("  {:<32} {:7.3f}  ({:.3f} … {:.3f})\n", measured[i].first, median(seconds[i]),
               *std::min_element(seconds[i].begin(), seconds[i].end()),
               *std::max_element(seconds[i].begin(), seconds[i].end()));
  std::vector<double> rates, hashing;
  for (int round = 0; round < rounds; ++round) {
    const auto at = static_cast<size_t>(round);
    rates.push_back(seconds[5][at] / seconds[6][at]);
    hashing.push_back(seconds[9][at]);
  }
  fmt::print("write rate of the rank file over pwrite + fsync: {:.2f} (goal 0.9)\n", median(rates));
  fmt::print("hashes and digests: {:.3f} s/GB (goal 0.15)\n", median(hashing));
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) {
  int64_t mib = 256;
  int rounds = 7;
  std::string folder = ".";
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--mib") mib = std::stoll(argv[i + 1]);
    if (option == "--rounds") rounds = std::stoi(argv[i + 1]);
    if (option == "--folder") folder = argv[i + 1];
  }
  try {
    trident::run(mib, rounds, folder);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_checkpoint: {}\n", error.what());
    return 1;
  }
  return 0;
}
