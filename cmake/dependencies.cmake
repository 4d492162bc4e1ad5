# LibTorch comes from the pinned wheel in the project's .venv; everything else from the system.
if(NOT DEFINED Torch_DIR AND NOT DEFINED ENV{Torch_DIR})
  file(GLOB _torch_dirs ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  if(_torch_dirs)
    list(GET _torch_dirs 0 _torch_dir)
    list(APPEND CMAKE_PREFIX_PATH ${_torch_dir})
  endif()
endif()
find_package(Torch 2.13 REQUIRED)
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
if(BLIP2_TESTS)
  find_package(GTest REQUIRED)
endif()

# fmt as shipped with torch, header only: the system's fmt clashes with torch's headers.
list(GET TORCH_INCLUDE_DIRS 0 _torch_include)
# An installed library gets both from the LibTorch that cmake/blip2-config.cmake.in finds.
add_library(blip2_fmt INTERFACE)
target_include_directories(blip2_fmt SYSTEM INTERFACE $<BUILD_INTERFACE:${_torch_include}>)
target_compile_definitions(blip2_fmt INTERFACE FMT_HEADER_ONLY=1)

# LibTorch with its own OpenMP runtime: without -fopenmp at::parallel_for runs on one thread.
get_filename_component(_torch_root ${_torch_include} DIRECTORY)
add_library(blip2_torch INTERFACE)
target_compile_options(blip2_torch INTERFACE -fopenmp)
target_link_libraries(blip2_torch INTERFACE ${TORCH_LIBRARIES} ${_torch_root}/lib/libgomp.so.1)
