# The command-line tool: everything but main in sennit_tool_core, so that tests can link it.
find_package(CLI11 REQUIRED)

function(sennit_tool_library name)
  file(GLOB sources CONFIGURE_DEPENDS ${ARGN})
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(${name} OBJECT ${sources})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${name} PUBLIC SENNIT_VERSION="${PROJECT_VERSION}")
  target_link_libraries(${name} PUBLIC sennit CLI11::CLI11 PRIVATE sennit_strict_flags)
endfunction()

sennit_tool_library(sennit_tool_core ${PROJECT_SOURCE_DIR}/src/tools/common/*.cpp ${PROJECT_SOURCE_DIR}/src/tools/map/*.cpp)
add_executable(sennit_tool ${PROJECT_SOURCE_DIR}/src/tools/main.cpp)
set_target_properties(sennit_tool PROPERTIES OUTPUT_NAME sennit RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
target_link_libraries(sennit_tool PRIVATE sennit_tool_core sennit_strict_flags)
# Relative, so that an installed tree can be moved.
file(RELATIVE_PATH fetch_from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBEXECDIR}/sennit/sennit-fetch)
target_compile_definitions(sennit_tool PRIVATE SENNIT_FETCH_FROM_BIN="${fetch_from_bin}")

# `sennit fetch` is a program of its own, because loading libcurl takes longer than all else that `sennit map` does at its start.
find_package(CURL 7.85 QUIET)
find_package(OpenSSL 3 QUIET)
if(CURL_FOUND AND OPENSSL_FOUND)
  sennit_tool_library(sennit_fetch_core ${PROJECT_SOURCE_DIR}/src/tools/fetch/*.cpp)
  target_link_libraries(sennit_fetch_core PUBLIC CURL::libcurl OpenSSL::Crypto)
  add_executable(sennit_fetch ${PROJECT_SOURCE_DIR}/src/tools/fetch/main.cpp)
  set_target_properties(sennit_fetch PROPERTIES OUTPUT_NAME sennit-fetch RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  target_link_libraries(sennit_fetch PRIVATE sennit_fetch_core sennit_tool_core sennit_strict_flags)
  add_dependencies(sennit_tool sennit_fetch)
else()
  message(STATUS "libcurl or OpenSSL is not installed (Debian: libcurl4-openssl-dev libssl-dev): no `sennit fetch` here")
endif()
