#include "launch/wire/cable.h"

namespace trident {

void WireCable::cut(Cut what, Clock::time_point begin, Clock::duration off, int times) {
  what_ = what;
  begin_ = begin;
  off_ = off;
  times_ = off > Clock::duration::zero() ? times : 0;
}

bool WireCable::lets_out() {
  if (times_ > 0) {
    const auto spans = (Clock::now() - begin_) / off_;
    if (spans >= 2 * times_) times_ = 0;
    if (times_ > 0 && spans % 2 == 0) return false;
  }
  closing_.clear();
  return true;
}

}  // namespace trident
