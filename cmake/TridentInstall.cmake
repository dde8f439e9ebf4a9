# The program, `find_package(Trident CONFIG)` (targets Trident::core, Trident::data, ...) and trident.pc.
# Rooms install themselves (trident_room); this file comes after the last of them.
include(CMakePackageConfigHelpers)

if(TARGET trident)
  install(TARGETS trident COMPONENT program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Trident)
install(TARGETS trident_cuda_runtime trident_cuda_kernels trident_nccl trident_mpi EXPORT TridentTargets COMPONENT development)
install(FILES ${PROJECT_BINARY_DIR}/generated/core/build_features.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/trident/core COMPONENT development)
install(EXPORT TridentTargets NAMESPACE Trident:: DESTINATION ${package_dir} COMPONENT development)
configure_package_config_file(cmake/TridentConfig.cmake.in TridentConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(TridentConfigVersion.cmake COMPATIBILITY SameMinorVersion)
# The rooms are static libraries, so whoever links them needs their libraries too: the same list finds them.
install(FILES ${PROJECT_BINARY_DIR}/TridentConfig.cmake ${PROJECT_BINARY_DIR}/TridentConfigVersion.cmake
              cmake/TridentDependencies.cmake
        DESTINATION ${package_dir} COMPONENT development)

# trident.pc: a CMake target's pkg-config name, where it has one; header-only libraries need none.
function(trident_pkg_config_name target result)
  set(${result} "" PARENT_SCOPE)
  if(target MATCHES "^PkgConfig::(.+)$")
    set(${result} ${${CMAKE_MATCH_1}_MODULE_NAME} PARENT_SCOPE)
  elseif(target MATCHES "^(fmt|spdlog|simdjson|yaml-cpp)(::.*)?$")
    set(${result} ${CMAKE_MATCH_1} PARENT_SCOPE)
  elseif(target MATCHES "^ICU::")
    set(${result} icu-uc PARENT_SCOPE)
  endif()
endfunction()

get_property(rooms GLOBAL PROPERTY TRIDENT_ROOMS)
get_property(libraries GLOBAL PROPERTY TRIDENT_LIBRARIES)
list(REVERSE rooms)
list(TRANSFORM rooms REPLACE "(.+)" "-ltrident_\\1" OUTPUT_VARIABLE pc_rooms)
list(JOIN pc_rooms " " TRIDENT_PC_ROOMS)
set(pc_requires "")
set(pc_libraries -pthread)
list(REMOVE_DUPLICATES libraries)
foreach(library ${libraries})
  trident_pkg_config_name(${library} module)
  if(module)
    list(APPEND pc_requires ${module})
  elseif(library MATCHES "^DNNL::")
    list(APPEND pc_libraries dnnl)
  elseif(library MATCHES "^(/|-l)|^[a-z0-9_]+$" AND NOT TARGET ${library})
    list(APPEND pc_libraries ${library})
  endif()
endforeach()
list(REMOVE_DUPLICATES pc_requires)
list(JOIN pc_requires ", " TRIDENT_PC_REQUIRES)
list(TRANSFORM pc_libraries REPLACE "^([a-z0-9_]+)$" "-l\\1")
list(JOIN pc_libraries " " TRIDENT_PC_LIBRARIES)
file(RELATIVE_PATH TRIDENT_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)  # relocatable
configure_file(cmake/trident.pc.in trident.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/trident.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
