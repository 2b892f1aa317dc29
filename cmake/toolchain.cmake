# How everything is compiled: the language, warnings, sanitizers, and the quick linker and compiler cache where they are installed.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
  endif()

  find_program(SENNIT_CCACHE ccache)
  if(SENNIT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # ccache looks through precompiled headers only if it is told so.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${SENNIT_CCACHE})
  endif()

  find_program(SENNIT_MOLD mold)
  find_program(SENNIT_LLD ld.lld)
  if(SENNIT_MOLD)
    add_link_options(-fuse-ld=mold)
  elseif(SENNIT_LLD)
    add_link_options(-fuse-ld=lld)
  endif()
endif()

# What our own sources are compiled with; not handed on to who uses the library.
add_library(sennit_flags INTERFACE)
target_compile_options(sennit_flags INTERFACE -Wall -Wextra -Wpedantic -ftls-model=initial-exec)
if(SENNIT_WERROR)
  target_compile_options(sennit_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(sennit_flags INTERFACE -Wno-error=unused-command-line-argument)
endif()

# And what the library and the tool are held to besides; tests take and give locks in ways that no analysis follows.
add_library(sennit_strict_flags INTERFACE)
target_link_libraries(sennit_strict_flags INTERFACE sennit_flags)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(sennit_strict_flags INTERFACE -Wthread-safety)
endif()

if(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND PROJECT_IS_TOP_LEVEL)
  add_compile_options($<$<CONFIG:RelWithDebInfo>:-gdwarf-4>) # Debian 12's valgrind and gdb can't read clang 19's DWARF 5
endif()

if(SENNIT_SANITIZE)
  add_compile_options(-fsanitize=${SENNIT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SENNIT_SANITIZE})
  if(SENNIT_SANITIZE MATCHES "undefined")
    # Its check reads memory through a pipe, and calls every object wrong once descriptors have run out, as some tests make them.
    add_compile_options(-fno-sanitize=vptr)
  endif()
endif()

if(SENNIT_TIDY)
  find_program(SENNIT_CLANG_TIDY NAMES clang-tidy-14 clang-tidy REQUIRED)
  set(CMAKE_CXX_CLANG_TIDY ${SENNIT_CLANG_TIDY} --quiet --warnings-as-errors=*)
endif()
