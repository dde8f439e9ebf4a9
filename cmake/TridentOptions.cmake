# Build options: everything a user may switch stands here.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
# Invariants are TRIDENT_CHECK, never assert. Floating-point contraction stays at the compiler's default: it changes
# bits between compilers, not between runs of one build. -ffast-math is never used.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g" CACHE STRING "As Release, with symbols and library assertions")

set(TRIDENT_TESTS AUTO CACHE STRING "Build the test suite: AUTO (where GoogleTest is installed), ON or OFF")
option(TRIDENT_BENCH "Build the benchmarks in bench/" ON)
option(TRIDENT_FUZZERS "Build the libFuzzer targets (needs clang)" OFF)
option(TRIDENT_WERROR "Treat warnings in our own code as errors" ON)
set(TRIDENT_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize= (address,undefined or thread)")
set(TRIDENT_CUDA AUTO CACHE STRING "CUDA support: AUTO, ON or OFF")
set(TRIDENT_MPI AUTO CACHE STRING "MPI support: AUTO, ON or OFF")
set(TRIDENT_NCCL AUTO CACHE STRING "NCCL support: AUTO, ON or OFF")

if(TRIDENT_TESTS STREQUAL AUTO)
  find_package(GTest QUIET)
  set(TRIDENT_TESTS ${GTest_FOUND})
endif()

if(TRIDENT_SANITIZE)
  add_compile_options(-fsanitize=${TRIDENT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TRIDENT_SANITIZE})
endif()

if(TRIDENT_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(CCACHE_PROGRAM ccache)
mark_as_advanced(CCACHE_PROGRAM)
foreach(language CXX C CUDA)
  if(CCACHE_PROGRAM AND NOT CMAKE_${language}_COMPILER_LAUNCHER)
    set(CMAKE_${language}_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
endforeach()

# build/trident is the program, wherever its room is.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
