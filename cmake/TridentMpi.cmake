# MPI, optional: AUTO takes it where it is found, ON insists, OFF never looks. Sets TRIDENT_HAVE_MPI and
# TRIDENT_MPI_VERSION ("no" where absent), and defines the interface target trident_mpi (for parallel/comm/mpi), empty
# where absent.
set(TRIDENT_HAVE_MPI OFF)
set(TRIDENT_MPI_VERSION no)
add_library(trident_mpi INTERFACE)

if(TRIDENT_MPI)
  find_package(MPI QUIET COMPONENTS C)
  if(MPI_C_FOUND)
    set(TRIDENT_HAVE_MPI ON)
    set(TRIDENT_MPI_VERSION ${MPI_C_VERSION})
    foreach(folder ${MPI_C_INCLUDE_DIRS})
      target_include_directories(trident_mpi SYSTEM INTERFACE $<BUILD_INTERFACE:${folder}>)
    endforeach()
    # The C interface only; mpi.h would pull in the C++ one, which is gone from the standard.
    target_compile_definitions(trident_mpi INTERFACE $<BUILD_INTERFACE:OMPI_SKIP_MPICXX=1;MPICH_SKIP_MPICXX=1>)
    target_link_libraries(trident_mpi INTERFACE ${MPI_C_LIBRARIES})
    set_property(GLOBAL APPEND PROPERTY TRIDENT_LIBRARIES ${MPI_C_LIBRARIES})
  elseif(NOT TRIDENT_MPI STREQUAL AUTO)
    message(FATAL_ERROR "TRIDENT_MPI=ON, but no MPI was found; install libopenmpi-dev or set MPI_HOME")
  endif()
endif()

message(STATUS "MPI: ${TRIDENT_MPI_VERSION}")
