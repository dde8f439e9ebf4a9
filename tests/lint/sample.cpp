// What clang-tidy should find in our code, next to system headers that it need not look at. tests/lint.sh checks that
// the plugin own_code.cpp changes none of its findings here. No target builds this file.
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

typedef std::vector<int> Numbers;  // its parent is the translation unit

namespace sample {

struct type_info;  // a namesake of a class of the standard library

struct Node {
  Node* next = 0;
  Node(int) {}
  virtual int children(std::vector<std::string> names) const { return names.size() == 0; }
};

template <typename T>
T twice(std::unique_ptr<T> value) {
  auto taken = std::move(value);
  return *taken + *value;
}

inline int four() { return twice(std::unique_ptr<int>(new int(2))); }

}  // namespace sample
