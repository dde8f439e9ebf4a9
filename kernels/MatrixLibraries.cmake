# Where the matrix libraries lie that the program loads at run time (kernels/cpu/blas.cpp), which need not be what
# the linker would find: OpenBLAS for POSIX threads, the only one of its builds that several threads may call, and BLIS
# without threads. OpenBLAS must be there; without the others there is less to choose from.
function(trident_matrix_library variable file folder)
  find_file(${variable} NAMES ${file} PATHS ${folder} NO_DEFAULT_PATH DOC "Loaded at run time for matrix products")
  if(NOT ${variable})
    set(${variable} "" PARENT_SCOPE)
  endif()
endfunction()

set(folder /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
trident_matrix_library(TRIDENT_OPENBLAS_PATH libopenblas.so.0 ${folder}/openblas-pthread)
trident_matrix_library(TRIDENT_BLIS_PATH libblis.so.4 ${folder}/blis-serial)
trident_matrix_library(TRIDENT_ONEDNN_PATH libdnnl.so.2 ${folder})
if(NOT TRIDENT_OPENBLAS_PATH)
  message(WARNING "OpenBLAS for POSIX threads is missing: install libopenblas0-pthread, or set TRIDENT_OPENBLAS_PATH")
endif()
foreach(variable TRIDENT_OPENBLAS_PATH TRIDENT_BLIS_PATH TRIDENT_ONEDNN_PATH)
  set_property(SOURCE cpu/blas.cpp APPEND PROPERTY COMPILE_DEFINITIONS ${variable}="${${variable}}")
endforeach()
