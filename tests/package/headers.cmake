# One translation unit per header, which includes it twice: every .cuh and .hpp compiled by nvcc, every .hpp by the C++
# compiler too. And the whole library under the flags of a strict consumer.

add_library(q4fuse_headers_cuda OBJECT EXCLUDE_FROM_ALL)
add_library(q4fuse_headers_cxx OBJECT EXCLUDE_FROM_ALL)
file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR}/include CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/*)
foreach(header IN LISTS headers)
  set(HEADER ${header})
  configure_file(header_unit.in ${out}/headers/${header}.cu)
  target_sources(q4fuse_headers_cuda PRIVATE ${out}/headers/${header}.cu)
  if(header MATCHES "\\.hpp$")
    configure_file(header_unit.in ${out}/headers/${header}.cpp)
    target_sources(q4fuse_headers_cxx PRIVATE ${out}/headers/${header}.cpp)
  endif()
endforeach()
target_compile_options(q4fuse_headers_cxx PRIVATE -Wpedantic -Wshadow -Wconversion)

add_library(q4fuse_strict_consumer OBJECT EXCLUDE_FROM_ALL all_kernels.cu)
set_target_properties(q4fuse_strict_consumer PROPERTIES CUDA_STANDARD 20)
target_compile_options(q4fuse_strict_consumer PRIVATE -use_fast_math)

# 75 has the fewest kernels, which makes it the cheapest target to look at headers with.
if(CMAKE_GENERATOR MATCHES Ninja)
  set(keep_going -k 0)
else()
  set(keep_going -k)
endif()
foreach(target q4fuse_headers_cuda q4fuse_headers_cxx q4fuse_strict_consumer)
  target_link_libraries(${target} PRIVATE q4fuse::q4fuse)
  set_target_properties(${target} PROPERTIES CUDA_ARCHITECTURES 75-real)
  string(REPLACE q4fuse_ "" name ${target})
  add_package_test(${name} COMMAND ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR} --target ${target} -- ${keep_going}
    PROPERTIES RESOURCE_LOCK build_folder)
endforeach()
