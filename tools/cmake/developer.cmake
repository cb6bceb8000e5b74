# What tests, bench and tools need and a consumer of the headers does not: nvcc, dependencies, warnings as errors.

include(${CMAKE_CURRENT_LIST_DIR}/architectures.cmake)
if(NOT CMAKE_CUDA_ARCHITECTURES)
  q4fuse_local_architectures(CMAKE_CUDA_ARCHITECTURES)
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR
    "q4fuse's tests, bench and tools are compiled by nvcc (CUDA Toolkit 12.4 or newer), and none was found.\n"
    "  - tools/test and tools/bench install one for this folder alone, or\n"
    "  - name one: -DCMAKE_CUDA_COMPILER=/path/to/nvcc, or\n"
    "  - install the headers only: -DQ4FUSE_BUILD_TESTS=OFF -DQ4FUSE_BUILD_BENCH=OFF -DQ4FUSE_BUILD_TOOLS=OFF")
endif()
enable_language(CUDA)
find_package(CUDAToolkit 12.4 REQUIRED)

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# Before the warnings: a dependency built from source is not ours to warn about.
include(${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake)

add_compile_options(
  "$<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>:-Wall;-Wextra;-Werror>"
  "$<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Werror>")

add_custom_target(format
  COMMAND ${CMAKE_COMMAND} -D SOURCE=${PROJECT_SOURCE_DIR} -D MODE=fix -P ${CMAKE_CURRENT_LIST_DIR}/format.cmake)
add_custom_target(tidy COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/tidy.py ${PROJECT_BINARY_DIR})
