# What `cmake --install` puts where: headers, the library, the tool, find_package(sennit), and sennit.pc.
include(CMakePackageConfigHelpers)
set(sennit_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/sennit)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/sennit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(TARGETS sennit EXPORT sennitTargets)
if(TARGET sennit_tool)
  install(TARGETS sennit_tool)
  if(BUILD_SHARED_LIBS)
    # A shared libsennit is found beside the tool, wherever the tree is put. (With a static one CMake would leave a RUNPATH of empty
    # entries in the build tree's tool, and the loader would look for every library in the working directory first.)
    file(RELATIVE_PATH to_library ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
    set_target_properties(sennit_tool PROPERTIES INSTALL_RPATH $ORIGIN/${to_library})
  endif()
endif()

install(EXPORT sennitTargets NAMESPACE sennit:: DESTINATION ${sennit_cmake_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/sennitConfig.cmake.in ${PROJECT_BINARY_DIR}/sennitConfig.cmake
                              INSTALL_DESTINATION ${sennit_cmake_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/sennitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/sennitConfig.cmake ${PROJECT_BINARY_DIR}/sennitConfigVersion.cmake DESTINATION ${sennit_cmake_dir})

# sennit.pc finds its prefix from where it lies, so that an installed tree can be moved.
file(RELATIVE_PATH pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
set(pc_definitions "")
foreach(definition IN LISTS sennit_definitions)
  string(APPEND pc_definitions " -D${definition}")
endforeach()
configure_file(${PROJECT_SOURCE_DIR}/cmake/sennit.pc.in ${PROJECT_BINARY_DIR}/sennit.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/sennit.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
