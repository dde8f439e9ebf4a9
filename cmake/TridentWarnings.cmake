# Warnings for our own targets only; libraries' headers are SYSTEM.
function(trident_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                                           -Wcast-align -Woverloaded-virtual -Wnull-dereference)
  # GCC 12 finds null dereferences and overreads in inlined standard headers once sanitizers instrument them.
  if(TRIDENT_SANITIZE)
    target_compile_options(${target} PRIVATE -Wno-null-dereference -Wno-maybe-uninitialized)
  endif()
  if(TRIDENT_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
