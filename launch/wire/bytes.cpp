#include "launch/wire/bytes.h"

#include <limits>

#include "core/error.h"

namespace trident {

void ByteWriter::append(uint64_t value, size_t width) {
  for (size_t i = 0; i < width; ++i) bytes_.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

ByteWriter& ByteWriter::text(std::string_view value) {
  TRIDENT_CHECK(value.size() <= std::numeric_limits<uint32_t>::max());
  number(static_cast<uint32_t>(value.size()));
  return raw(value);
}

ByteWriter& ByteWriter::raw(std::string_view bytes) {
  bytes_ += bytes;
  return *this;
}

uint64_t ByteReader::read(size_t width) {
  const std::string_view bytes = raw(width);
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

std::string_view ByteReader::raw(size_t size) {
  if (size > rest_.size()) fail();
  if (failed_) return {};
  const std::string_view bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return bytes;
}

std::string ByteReader::text(size_t most) {
  const auto size = number<uint32_t>();
  if (size > most) fail();
  return std::string(raw(size));
}

size_t ByteReader::count(size_t most, size_t bytes_each) {
  const auto number_of = number<uint32_t>();
  if (number_of > most || (bytes_each > 0 && number_of > rest_.size() / bytes_each)) fail();
  return failed_ ? 0 : number_of;
}

void ByteReader::fail() {
  failed_ = true;
  rest_ = {};
}

}  // namespace trident
