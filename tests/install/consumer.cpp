#include <core/build_features.h>
#include <core/error.h>
#include <core/log.h>

#include <iostream>

int main() {
  try {
    trident::log::info("linked against trident {}", trident::build_features::version);
    throw trident::Error(trident::ErrorCode::bad_data, "consumer", "a problem", "a remedy");
  } catch (const trident::Error& error) {
    std::cout << error.what() << '\n';
    return error.exit_code() == 65 ? 0 : 1;
  }
}
