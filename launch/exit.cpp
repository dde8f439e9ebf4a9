#include "launch/exit.h"

#include <exception>

#include "core/error.h"
#include "core/log.h"

namespace trident {

int guarded(const std::function<int()>& verb) {
  try {
    return verb();
  } catch (const Error& error) {
    log::error("{}", error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    log::error("out of memory; lower training.micro_batch_size or set training.recompute");
  } catch (const std::exception& error) {
    log::error("unexpected: {}; this is a bug, please report it with the command and the log", error.what());
  }
  return static_cast<int>(ErrorCode::internal);
}

}  // namespace trident
