# Architectures that the library supports: every one of them is compiled by the package tests.
set(Q4FUSE_SUPPORTED_ARCHITECTURES 75 80 86 89 90a)

# The architectures of this machine's GPUs, or 90a where there is none. CMake's "native" would build 90 for a Hopper
# GPU, without the instructions that only 90a has.
function(q4fuse_local_architectures result)
  set(architectures "")
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE capabilities ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    string(REGEX MATCHALL "[0-9]+\\.[0-9]" capabilities "${capabilities}")
    foreach(capability IN LISTS capabilities)
      string(REPLACE "." "" architecture ${capability})
      string(REGEX REPLACE "^90$" "90a" architecture ${architecture})
      list(APPEND architectures ${architecture}-real)
    endforeach()
    list(REMOVE_DUPLICATES architectures)
  endif()
  if(NOT architectures)
    set(architectures 90a-real)
  endif()
  set(${result} ${architectures} PARENT_SCOPE)
endfunction()
