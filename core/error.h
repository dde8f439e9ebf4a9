#pragma once

#include <stdexcept>
#include <string>

namespace trident {

/// What kind of failure this is; the value is the process's exit code (sysexits.h where it has one).
enum class ErrorCode : int {
  usage = 64,          ///< wrong command line
  bad_data = 65,       ///< malformed input file or byte stream
  input_missing = 66,  ///< a file or folder that should be there is not
  peer_lost = 69,      ///< a peer or node is gone
  internal = 70,       ///< a broken invariant
  io = 74,             ///< reading or writing failed
  preempted = 75,      ///< stopped after saving; requeue
  diverged = 76,       ///< loss or gradients are not finite
  config = 78,         ///< the job's configuration is wrong
};

/// The one exception of the program: a caller's mistake or a failing environment.
/// Broken invariants use TRIDENT_CHECK. Libraries never exit; only launch/ ends the process.
class Error : public std::runtime_error {
 public:
  /// `component` names who noticed ("data/indexed_dataset"), `problem` what is wrong and where, with what was found
  /// and what was expected ("web.idx, byte 0: magic is 50 4b 03 04, expected MMIDIDX"), `remedy` what to do about it.
  Error(ErrorCode code, std::string component, std::string problem, std::string remedy = {});

  ErrorCode code() const { return code_; }
  int exit_code() const { return static_cast<int>(code_); }
  const std::string& component() const { return component_; }
  const std::string& problem() const { return problem_; }
  const std::string& remedy() const { return remedy_; }

 private:
  ErrorCode code_;
  std::string component_;
  std::string problem_;
  std::string remedy_;
};

/// Error with the text of `errno_value` appended to `problem` (ErrorCode::io, or input_missing for ENOENT).
[[nodiscard]] Error system_error(int errno_value, std::string component, std::string problem, std::string remedy = {});

namespace detail {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& note);
}

}  // namespace trident

/// Broken invariant: throws Error(ErrorCode::internal) with the place and the condition. Never compiled out.
#define TRIDENT_CHECK(condition, ...) \
  (static_cast<bool>(condition)       \
       ? static_cast<void>(0)         \
       : ::trident::detail::check_failed(__FILE__, __LINE__, #condition, ::std::string{__VA_ARGS__}))
