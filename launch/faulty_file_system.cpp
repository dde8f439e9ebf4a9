#include "launch/faulty_file_system.h"

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

int64_t now_ns() { return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class FaultyFile final : public WritableFile {
 public:
  FaultyFile(const FaultyFileSystem& disk, std::unique_ptr<WritableFile> inner, fs::path path)
      : disk_(disk), inner_(std::move(inner)), path_(std::move(path)) {}

  void write(int64_t offset, std::span<const std::byte> bytes) override {
    disk_.pass(path_);
    inner_->write(offset, bytes);
  }
  void reserve(int64_t bytes) override {
    disk_.pass(path_);
    inner_->reserve(bytes);
  }
  void sync() override {
    disk_.pass(path_);
    inner_->sync();
  }
  void close() override { inner_->close(); }

 private:
  const FaultyFileSystem& disk_;
  std::unique_ptr<WritableFile> inner_;
  fs::path path_;
};

}  // namespace

int64_t FaultyFileSystem::from_now(double seconds) { return now_ns() + static_cast<int64_t>(seconds * 1e9); }

void FaultyFileSystem::pass(const fs::path& path) const {
  if (const int64_t left = hung_until_ - now_ns(); left > 0)
    std::this_thread::sleep_for(std::chrono::nanoseconds(left));
  if (full_until_ > now_ns()) throw system_error(ENOSPC, "checkpoint/files", "cannot write " + path.string());
}

std::unique_ptr<WritableFile> FaultyFileSystem::create(const fs::path& path) {
  return std::make_unique<FaultyFile>(*this, ForwardingFiles::create(path), path);
}

}  // namespace trident
