#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "train/metrics/append_file.h"

namespace trident {

/// Bytes of TensorBoard's file: TFRecord framing (length, masked CRC-32C, payload, masked CRC-32C) of Event
/// messages.
namespace tensorboard {

struct Scalar {
  std::string_view tag;
  double value = 0;
};

std::string record(std::string_view payload);
std::string file_version_event(double wall_time);
std::string session_start_event(double wall_time, std::int64_t step);
std::string scalars_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars);
std::string text_event(double wall_time, std::int64_t step, std::string_view tag, std::string_view markdown);

}  // namespace tensorboard

/// One `events.out.tfevents.<time>.<host>.<pid>.<n>` file. Throws Error at construction only.
class TensorBoardWriter {
 public:
  explicit TensorBoardWriter(const std::filesystem::path& folder);

  /// Tells TensorBoard to forget what earlier files of the folder say about `step` and later: a restart repeats them.
  void start_session(std::int64_t step);

  /// All scalars of a step in one record; values that are not finite are kept (TensorBoard marks them).
  void scalars(std::int64_t step, std::span<const tensorboard::Scalar> values);
  void text(std::int64_t step, std::string_view tag, std::string_view markdown);

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  AppendFile file_;
};

}  // namespace trident
