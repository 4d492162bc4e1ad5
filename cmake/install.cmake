# `cmake --install`: the rooms as static libraries with their headers, the program, and what
# find_package(blip2) reads. Headers named *_internal.h belong to their room alone;
# docs/library.md says which of the others are for users.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(_rooms_built GLOBAL PROPERTY BLIP2_ROOMS)
add_library(blip2_all INTERFACE)
target_link_libraries(blip2_all INTERFACE ${_rooms_built})
set_target_properties(blip2_all PROPERTIES EXPORT_NAME blip2)
set_target_properties(blip2_options PROPERTIES EXPORT_NAME options)

set(_config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/blip2)
install(TARGETS blip2_all blip2_options ${_rooms_built} EXPORT blip2-targets)
install(EXPORT blip2-targets NAMESPACE blip2:: DESTINATION ${_config_folder})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/blip2 DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*_internal.h" EXCLUDE
        PATTERN "test_*.h" EXCLUDE PATTERN "*_test.h" EXCLUDE
        PATTERN "message_of.h" EXCLUDE PATTERN "kernel_check.h" EXCLUDE)

configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/blip2-config.cmake.in
                              ${CMAKE_BINARY_DIR}/blip2-config.cmake
                              INSTALL_DESTINATION ${_config_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/blip2-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/blip2-config.cmake ${CMAKE_BINARY_DIR}/blip2-config-version.cmake
              ${CMAKE_SOURCE_DIR}/cmake/blip2-torch.cmake
        DESTINATION ${_config_folder})
