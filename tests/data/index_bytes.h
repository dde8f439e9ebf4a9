#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"

namespace trident::test {

template <class T>
void put(std::string& bytes, T value) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  bytes.append(raw, sizeof value);
}

template <class T>
std::string packed(const std::vector<int64_t>& values) {
  std::string bytes;
  for (const int64_t value : values) put(bytes, static_cast<T>(value));
  return bytes;
}

/// An index written field by field from the format's description, so that any field can be wrong.
struct IndexBytes {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t code = 8;
  std::vector<int64_t> lengths;
  std::vector<int64_t> pointers;
  std::vector<int64_t> documents;

  std::string str() const { return str(lengths.size(), documents.size()); }
  std::string str(uint64_t sequence_count, uint64_t document_count) const {
    std::string bytes = magic;
    put(bytes, version);
    put(bytes, code);
    put(bytes, sequence_count);
    put(bytes, document_count);
    return bytes + packed<int32_t>(lengths) + packed<int64_t>(pointers) + packed<int64_t>(documents);
  }
};

/// The message of the Error that `action` must throw.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

}  // namespace trident::test
