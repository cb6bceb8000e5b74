# cmake -D SOURCE=... -D OUT=... -P install.cmake: installs the package into OUT/prefix and compares what arrived.

file(REMOVE_RECURSE ${OUT}/install ${OUT}/prefix)
# A CUDA compiler that does not exist: asking for the language would stop the configuration.
execute_process(COMMAND_ERROR_IS_FATAL ANY COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${OUT}/install -G ${GENERATOR}
  -D CMAKE_CUDA_COMPILER=${OUT}/no-nvcc -D CMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON
  -D Q4FUSE_BUILD_TESTS=OFF -D Q4FUSE_BUILD_BENCH=OFF -D Q4FUSE_BUILD_TOOLS=OFF)
execute_process(COMMAND_ERROR_IS_FATAL ANY COMMAND ${CMAKE_COMMAND} --install ${OUT}/install --prefix ${OUT}/prefix)

file(GLOB_RECURSE wanted RELATIVE ${SOURCE} ${SOURCE}/include/*)
file(GLOB_RECURSE arrived RELATIVE ${OUT}/prefix ${OUT}/prefix/*)
set(rest ${arrived})
list(REMOVE_ITEM rest ${wanted})
list(REMOVE_ITEM wanted ${arrived})
if(wanted)
  message(FATAL_ERROR "not installed: ${wanted}")
endif()
list(FILTER rest EXCLUDE REGEX "/cmake/q4fuse/q4fuse-(config|config-version|targets)\\.cmake$|/licenses/q4fuse/LICENSE$")
if(rest)
  message(FATAL_ERROR "installed, but no part of the package: ${rest}")
endif()
