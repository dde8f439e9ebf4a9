# cuDNN's attention, optional: to build it takes the headers of cuDNN and of its header-only frontend, and libcudnn.so.9
# is loaded at run time. `cudnn_attention` becomes the source to compile, or what stands in for it.
find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h HINTS ${CUDNN_INCLUDE_DIR} DOC "Of github.com/NVIDIA/cudnn-frontend")
mark_as_advanced(CUDNN_INCLUDE_DIR)
if(CUDNN_INCLUDE_DIR AND CUDNN_FRONTEND_INCLUDE_DIR)
  set(cudnn_attention cuda/attention_cudnn.cpp)
  target_include_directories(trident_cuda_kernels SYSTEM INTERFACE
    $<BUILD_INTERFACE:${CUDNN_INCLUDE_DIR}> $<BUILD_INTERFACE:${CUDNN_FRONTEND_INCLUDE_DIR}>)
  set_property(SOURCE cuda/attention_cudnn.cpp APPEND PROPERTY COMPILE_DEFINITIONS
    NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING CUDNN_FRONTEND_SKIP_JSON_LIB)
  message(STATUS "cuDNN's attention: yes")
else()
  set(cudnn_attention no_cudnn/attention_cudnn.cpp)
  message(STATUS "cuDNN's attention: no")
endif()
