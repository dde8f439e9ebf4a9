#include "core/error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace trident {
namespace {

std::string compose(const std::string& component, const std::string& problem, const std::string& remedy) {
  std::string text = component.empty() ? problem : component + ": " + problem;
  if (!remedy.empty()) text += "; " + remedy;
  return text;
}

}  // namespace

Error::Error(ErrorCode code, std::string component, std::string problem, std::string remedy)
    : std::runtime_error(compose(component, problem, remedy)),
      code_(code),
      component_(std::move(component)),
      problem_(std::move(problem)),
      remedy_(std::move(remedy)) {}

Error system_error(int errno_value, std::string component, std::string problem, std::string remedy) {
  const auto code = errno_value == ENOENT ? ErrorCode::input_missing : ErrorCode::io;
  return {code, std::move(component), std::move(problem) + ": " + std::strerror(errno_value), std::move(remedy)};
}

namespace detail {

void check_failed(const char* file, int line, const char* condition, const std::string& note) {
  std::string problem = std::string(file) + ":" + std::to_string(line) + ": broken invariant: " + condition;
  if (!note.empty()) problem += " (" + note + ")";
  throw Error(ErrorCode::internal, "check", problem, "this is a bug; please report it with the command and the log");
}

}  // namespace detail
}  // namespace trident
