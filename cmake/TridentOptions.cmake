# Build options: everything a user may switch stands here.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

option(TRIDENT_TESTS "Build the test suite" ON)
option(TRIDENT_FUZZERS "Build the libFuzzer targets (needs clang)" OFF)
option(TRIDENT_WERROR "Treat warnings in our own code as errors" ON)
set(TRIDENT_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize= (address,undefined or thread)")
set(TRIDENT_CUDA AUTO CACHE STRING "CUDA support: AUTO, ON or OFF")
set(TRIDENT_NCCL AUTO CACHE STRING "NCCL support: AUTO, ON or OFF")

if(TRIDENT_SANITIZE)
  add_compile_options(-fsanitize=${TRIDENT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TRIDENT_SANITIZE})
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

# build/trident is the program, wherever its room is.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
