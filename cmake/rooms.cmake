# blip2_room(NAME [TORCH] [DEPS room...] [LIBS target...])
#   Library blip2_NAME (alias blip2::NAME) from every source of the folder that is not a test, and
#   one test program blip2_NAME_test from its *_test.cpp. TORCH: sees LibTorch and shares the one
#   precompiled torch/torch.h.
add_library(blip2_options INTERFACE)
set(_warnings -Wall -Wextra -Wno-unused-parameter
              $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)  # false positive of GCC 12 (PR 105651)
target_compile_options(blip2_options INTERFACE "$<BUILD_INTERFACE:${_warnings}>")
target_include_directories(blip2_options INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>
                                                   $<INSTALL_INTERFACE:include>)
target_compile_features(blip2_options INTERFACE cxx_std_20)
target_link_libraries(blip2_options INTERFACE blip2_fmt Threads::Threads)

add_library(blip2_torch_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/torch_pch.cpp)
target_link_libraries(blip2_torch_pch PUBLIC blip2_options blip2_torch)
target_precompile_headers(blip2_torch_pch PRIVATE <torch/torch.h>)

# Sources of a room are compiled many at a time (BLIP2_UNITY): what headers cost, LibTorch's above
# all, is most of what each source costs.
function(blip2_join_sources target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${BLIP2_UNITY} UNITY_BUILD_BATCH_SIZE 16)
endfunction()

function(blip2_use_torch target)
  target_link_libraries(${target} PUBLIC $<BUILD_INTERFACE:blip2_torch>
                                         $<INSTALL_INTERFACE:blip2::torch>)
  target_precompile_headers(${target} REUSE_FROM blip2_torch_pch)
endfunction()

function(blip2_room name)
  cmake_parse_arguments(ROOM "TORCH" "" "DEPS;LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  if(NOT sources)
    return()
  endif()
  set(target blip2_${name})
  add_library(${target} STATIC ${sources})
  add_library(blip2::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY BLIP2_ROOMS ${target})
  target_link_libraries(${target} PUBLIC blip2_options)
  foreach(dep ${ROOM_DEPS})
    target_link_libraries(${target} PUBLIC blip2_${dep})
  endforeach()
  target_link_libraries(${target} PUBLIC ${ROOM_LIBS})
  blip2_join_sources(${target})
  if(ROOM_TORCH)
    blip2_use_torch(${target})
  endif()
  if(BLIP2_TESTS AND tests)
    add_executable(${target}_test ${tests})
    target_link_libraries(${target}_test PRIVATE ${target} GTest::gmock GTest::gtest_main)
    if(ROOM_TORCH)
      blip2_join_sources(${target}_test)
      blip2_use_torch(${target}_test)
    endif()
    add_test(NAME ${name} COMMAND ${target}_test)
  endif()
endfunction()

# blip2_program(NAME [TORCH] SOURCES file... DEPS room... [LIBS target...] [OUTPUT folder])
#   A program under build/OUTPUT (default: the build folder itself).
function(blip2_program name)
  cmake_parse_arguments(PROGRAM "TORCH" "OUTPUT" "SOURCES;DEPS;LIBS" ${ARGN})
  add_executable(${name} ${PROGRAM_SOURCES})
  target_link_libraries(${name} PRIVATE blip2_options ${PROGRAM_LIBS})
  foreach(dep ${PROGRAM_DEPS})
    target_link_libraries(${name} PRIVATE blip2_${dep})
  endforeach()
  if(PROGRAM_TORCH)
    blip2_join_sources(${name})
    blip2_use_torch(${name})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                           ${CMAKE_BINARY_DIR}/${PROGRAM_OUTPUT})
endfunction()
