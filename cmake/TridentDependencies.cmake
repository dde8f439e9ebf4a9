# Every library of the program, found once. All come from Debian 12 (launch/setup.sh installs them).
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(simdjson REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
find_package(nlohmann_json REQUIRED)

if(TRIDENT_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
