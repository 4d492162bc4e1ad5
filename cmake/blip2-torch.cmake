# LibTorch as imported targets, for the build and for users of the installed library. LibTorch's own
# configuration demands a CUDA toolkit where the wheel is a CUDA build, although the CPU's libraries,
# all that is linked here, do not need one.
include_guard()

# blip2_find_torch(RESULT FOLDER...)
#   Sets RESULT to LibTorch's folder: where Torch_DIR says, or else the first of CMAKE_PREFIX_PATH and
#   FOLDER... that has one. A path may name the folder, its share/cmake or its share/cmake/Torch.
#   Variables of the environment count as well. Stops with a message if there is none.
function(blip2_find_torch result)
  string(REPLACE ":" ";" environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
  set(places ${CMAKE_PREFIX_PATH} ${environment_prefixes} ${ARGN})
  if(Torch_DIR)
    set(places ${Torch_DIR})
  elseif(DEFINED ENV{Torch_DIR})
    set(places $ENV{Torch_DIR})
  endif()
  foreach(place ${places})
    foreach(up "" /../.. /../../..)
      get_filename_component(root ${place}${up} ABSOLUTE)
      if(EXISTS ${root}/lib/libtorch_cpu.so AND EXISTS ${root}/include/torch/csrc/api/include)
        set(${result} ${root} PARENT_SCOPE)
        return()
      endif()
    endforeach()
  endforeach()
  list(JOIN places ", " places)
  message(FATAL_ERROR "No LibTorch (lib/libtorch_cpu.so and its headers) in: ${places}. Install it "
                      "with tools/setup.sh build, or name its folder with -DTorch_DIR=...")
endfunction()

# blip2_torch_version(RESULT ROOT): sets RESULT to the version of the LibTorch in ROOT, as 2.14.1; to
# 0 if it is older than the header that is read.
function(blip2_torch_version result root)
  set(header ${root}/include/torch/headeronly/version.h)
  set(version 0)
  if(EXISTS ${header})
    file(STRINGS ${header} lines REGEX "^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
    string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
    list(JOIN numbers "." version)
  endif()
  set(${result} ${version} PARENT_SCOPE)
endfunction()

# Stops if a library that ROOT's libtorch_cpu.so needs cannot be found.
function(_blip2_check_torch_loads root)
  execute_process(COMMAND ldd ${root}/lib/libtorch_cpu.so OUTPUT_VARIABLE needs ERROR_QUIET)
  string(REGEX MATCHALL "[^ \t\n]+ => not found" missing "${needs}")
  list(TRANSFORM missing REPLACE " => not found" "")
  list(REMOVE_DUPLICATES missing)
  if(missing)
    list(JOIN missing ", " missing)
    message(FATAL_ERROR "${root}/lib/libtorch_cpu.so needs ${missing}, not found. tools/setup.sh "
                        "installs what a CUDA build of LibTorch needs beside it "
                        "(tools/requirements-cuda.txt).")
  endif()
endfunction()

# blip2_import_torch(ROOT): defines blip2::torch, LibTorch on the CPU with its own OpenMP runtime, and
# blip2::fmt, the fmt in LibTorch's headers (the system's would clash with it).
function(blip2_import_torch root)
  _blip2_check_torch_loads(${root})
  foreach(part torch_cpu c10 gomp)
    add_library(blip2::${part} SHARED IMPORTED GLOBAL)
  endforeach()
  set_target_properties(blip2::torch_cpu PROPERTIES IMPORTED_LOCATION ${root}/lib/libtorch_cpu.so)
  set_target_properties(blip2::c10 PROPERTIES IMPORTED_LOCATION ${root}/lib/libc10.so)
  set_target_properties(blip2::gomp PROPERTIES IMPORTED_LOCATION ${root}/lib/libgomp.so.1)

  add_library(blip2::torch INTERFACE IMPORTED GLOBAL)
  set(headers ${root}/include ${root}/include/torch/csrc/api/include)
  target_include_directories(blip2::torch SYSTEM INTERFACE ${headers})
  target_compile_definitions(blip2::torch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
  # Without -fopenmp at::parallel_for runs on one thread.
  target_compile_options(blip2::torch INTERFACE -fopenmp)
  target_link_libraries(blip2::torch INTERFACE blip2::torch_cpu blip2::c10 blip2::gomp)

  add_library(blip2::fmt INTERFACE IMPORTED GLOBAL)
  target_include_directories(blip2::fmt SYSTEM INTERFACE ${root}/include)
  target_compile_definitions(blip2::fmt INTERFACE FMT_HEADER_ONLY=1)
endfunction()
