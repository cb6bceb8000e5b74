# cmake -D WAY=find_package|add_subdirectory -D SOURCE=... -D OUT=... -P consume.cmake: builds a consumer of the package
# in OUT/<WAY>, with the example of the README as one of its programs.

set(project ${OUT}/${WAY}/source)
file(REMOVE_RECURSE ${OUT}/${WAY})
file(COPY ${SOURCE}/tests/package/consumer/ DESTINATION ${project})

file(READ ${SOURCE}/README.md readme)
if(NOT readme MATCHES "<!-- example -->\n```cpp\n([^`]*)```")
  message(FATAL_ERROR "README.md has no <!-- example --> followed by a cpp block")
endif()
file(WRITE ${project}/readme.cu "${CMAKE_MATCH_1}")

if(WAY STREQUAL find_package)
  set(package -D CMAKE_PREFIX_PATH=${OUT}/prefix)
else()
  set(package -D Q4FUSE_SOURCE_DIR=${SOURCE})
endif()
execute_process(COMMAND_ERROR_IS_FATAL ANY COMMAND ${CMAKE_COMMAND} -S ${project} -B ${OUT}/${WAY}/build -G ${GENERATOR}
  ${package} -D CMAKE_BUILD_TYPE=Release -D CMAKE_CUDA_COMPILER=${CUDA_COMPILER} -D CUDAToolkit_ROOT=${TOOLKIT}
  -D CMAKE_CUDA_ARCHITECTURES=75 -D EXPECTED_VERSION=${VERSION})
execute_process(COMMAND_ERROR_IS_FATAL ANY COMMAND ${CMAKE_COMMAND} --build ${OUT}/${WAY}/build)
