#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace trident {

/// XXH3-128 of a sequence of fields. Every field is preceded by its length, so that no two sequences run together.
class Digest {
 public:
  Digest();
  Digest& add(std::string_view field);
  Digest& add(int64_t value);
  /// 32 lower-case hex digits.
  std::string hex() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace trident
