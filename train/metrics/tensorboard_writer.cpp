#include "train/metrics/tensorboard_writer.h"

#include <fmt/format.h>

#include <bit>
#include <chrono>

#include "train/metrics/crc32c.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace tensorboard {
namespace {

// Protocol buffers' wire form, as far as an Event needs it: a key is field number * 8 + wire type.
enum class Wire : unsigned { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7U) out += static_cast<char>((value & 0x7fU) | 0x80U);
  out += static_cast<char>(value);
}

void put_key(std::string& out, unsigned field, Wire wire) { put_varint(out, field * 8U + static_cast<unsigned>(wire)); }

template <class Unsigned>
void put_little_endian(std::string& out, Unsigned value) {
  for (unsigned shift = 0; shift < 8 * sizeof(value); shift += 8) out += static_cast<char>((value >> shift) & 0xffU);
}

void put_integer(std::string& out, unsigned field, std::int64_t value) {
  put_key(out, field, Wire::varint);
  put_varint(out, static_cast<std::uint64_t>(value));
}

void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_key(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; SessionLog session = 7
// }
std::string event(double wall_time, std::int64_t step) {
  std::string out;
  put_key(out, 1, Wire::fixed64);
  put_little_endian(out, std::bit_cast<std::uint64_t>(wall_time));
  if (step != 0) put_integer(out, 2, step);
  return out;
}

// Summary.Value { string tag = 1; float simple_value = 2; TensorProto tensor = 8; SummaryMetadata metadata = 9 }
void put_scalar(std::string& summary, const Scalar& scalar) {
  std::string value;
  put_bytes(value, 1, scalar.tag);
  put_key(value, 2, Wire::fixed32);
  put_little_endian(value, std::bit_cast<std::uint32_t>(static_cast<float>(scalar.value)));
  put_bytes(summary, 1, value);
}

}  // namespace

std::string record(std::string_view payload) {
  std::string out;
  out.reserve(payload.size() + 16);
  put_little_endian(out, static_cast<std::uint64_t>(payload.size()));
  put_little_endian(out, masked_crc(crc32c(out)));
  out += payload;
  put_little_endian(out, masked_crc(crc32c(payload)));
  return out;
}

std::string file_version_event(double wall_time) {
  std::string out = event(wall_time, 0);
  put_bytes(out, 3, "brain.Event:2");
  return out;
}

std::string session_start_event(double wall_time, std::int64_t step) {
  std::string session;
  put_integer(session, 1, 1);  // SessionLog.status = START
  std::string out = event(wall_time, step);
  put_bytes(out, 7, session);
  return out;
}

std::string scalars_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) put_scalar(summary, scalar);
  std::string out = event(wall_time, step);
  put_bytes(out, 5, summary);
  return out;
}

std::string text_event(double wall_time, std::int64_t step, std::string_view tag, std::string_view markdown) {
  std::string tensor;
  put_integer(tensor, 1, 7);  // dtype = DT_STRING; an empty shape is a scalar
  put_bytes(tensor, 2, "");
  put_bytes(tensor, 8, markdown);
  std::string plugin;
  put_bytes(plugin, 1, "text");
  std::string metadata;
  put_bytes(metadata, 1, plugin);
  put_integer(metadata, 4, 2);  // data_class = TENSOR
  std::string value;
  put_bytes(value, 1, tag);
  put_bytes(value, 8, tensor);
  put_bytes(value, 9, metadata);
  std::string summary;
  put_bytes(summary, 1, value);
  std::string out = event(wall_time, step);
  put_bytes(out, 5, summary);
  return out;
}

}  // namespace tensorboard

namespace {

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// A name that no file of the folder has: two runs of one process within a second differ in the last number.
std::filesystem::path free_name(const std::filesystem::path& folder) {
  const auto time = static_cast<std::int64_t>(now());
  for (int number = 0;; ++number) {
    auto path = folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{}", time, host_name(), process_id(), number);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder) : path_(free_name(folder)), file_(path_) {
  file_.append(tensorboard::record(tensorboard::file_version_event(now())));
}

void TensorBoardWriter::start_session(std::int64_t step) {
  file_.append(tensorboard::record(tensorboard::session_start_event(now(), step)));
}

void TensorBoardWriter::scalars(std::int64_t step, std::span<const tensorboard::Scalar> values) {
  file_.append(tensorboard::record(tensorboard::scalars_event(now(), step, values)));
}

void TensorBoardWriter::text(std::int64_t step, std::string_view tag, std::string_view markdown) {
  file_.append(tensorboard::record(tensorboard::text_event(now(), step, tag, markdown)));
}

}  // namespace trident
