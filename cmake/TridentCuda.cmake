# CUDA and NCCL, optional: AUTO takes them where they are found, ON insists, OFF never looks.
# Sets TRIDENT_HAVE_CUDA, TRIDENT_HAVE_NCCL, TRIDENT_CUDA_VERSION and TRIDENT_NCCL_VERSION ("no" where absent), and
# defines interface targets, empty where absent: trident_cuda_runtime (for core/device), trident_cuda_kernels (for
# kernels/cuda) and trident_nccl (for parallel/comm/nccl).
set(TRIDENT_HAVE_CUDA OFF)
set(TRIDENT_HAVE_NCCL OFF)
set(TRIDENT_CUDA_VERSION no)
set(TRIDENT_NCCL_VERSION no)
add_library(trident_cuda_runtime INTERFACE)
add_library(trident_cuda_kernels INTERFACE)
add_library(trident_nccl INTERFACE)

if(TRIDENT_CUDA)
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE)
    if(NOT DEFINED CMAKE_CUDA_COMPILER)
      set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
    endif()
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES "90a-real" CACHE STRING "GPU generations to compile for")
    endif()
    enable_language(CUDA)
    string(APPEND CMAKE_CUDA_FLAGS " --expt-relaxed-constexpr")
    # CMake 3.25 does not know that nvcc has C++20.
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    endif()
    set(TRIDENT_HAVE_CUDA ON)
    set(TRIDENT_CUDA_VERSION ${CUDAToolkit_VERSION})
    # Static, so that the program also starts where no CUDA library is installed.
    target_link_libraries(trident_cuda_runtime INTERFACE CUDA::cudart_static)
    target_link_libraries(trident_cuda_kernels INTERFACE trident_cuda_runtime CUDA::cublasLt)
  elseif(NOT TRIDENT_CUDA STREQUAL AUTO)
    message(FATAL_ERROR "TRIDENT_CUDA=ON, but no CUDA toolkit with nvcc was found; "
                        "put nvcc on PATH or set CUDAToolkit_ROOT")
  endif()
endif()

if(TRIDENT_NCCL AND TRIDENT_HAVE_CUDA)
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
  mark_as_advanced(NCCL_INCLUDE_DIR NCCL_LIBRARY)
  if(NCCL_INCLUDE_DIR)
    set(TRIDENT_HAVE_NCCL ON)
    file(STRINGS ${NCCL_INCLUDE_DIR}/nccl.h version_lines REGEX "#define NCCL_(MAJOR|MINOR|PATCH) ")
    string(REGEX REPLACE "[^0-9;]" "" version_numbers "${version_lines}")
    list(JOIN version_numbers "." TRIDENT_NCCL_VERSION)
    target_include_directories(trident_nccl SYSTEM INTERFACE $<BUILD_INTERFACE:${NCCL_INCLUDE_DIR}>)
    # Loaded when it is needed, so that the program also starts where it is not installed.
    target_link_libraries(trident_nccl INTERFACE trident_cuda_runtime ${CMAKE_DL_LIBS})
  endif()
endif()
if(NOT TRIDENT_HAVE_NCCL AND TRIDENT_NCCL AND NOT TRIDENT_NCCL STREQUAL AUTO)
  message(FATAL_ERROR "TRIDENT_NCCL=ON, but NCCL (or CUDA, which it needs) was not found; "
                      "set NCCL_INCLUDE_DIR")
endif()

message(STATUS "CUDA: ${TRIDENT_CUDA_VERSION}, NCCL: ${TRIDENT_NCCL_VERSION}")
