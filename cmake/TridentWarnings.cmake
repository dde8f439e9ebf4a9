# Warnings for our own targets only; libraries' headers are SYSTEM.
function(trident_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                                           -Wcast-align -Woverloaded-virtual)
  # No -Wnull-dereference: GCC 12 finds it in inlined standard headers. Instrumented code adds false overreads.
  if(TRIDENT_SANITIZE)
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
  if(TRIDENT_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
