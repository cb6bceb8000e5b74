# Code that must not compile, each with the message it must stop with, and with a neighbour that must compile: else a
# missing include would pass for a rejection.

function(add_rejection name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SOURCE;MESSAGE" "REJECTED;ACCEPTED")
  set(compile ${CMAKE_CUDA_COMPILER} -I${PROJECT_SOURCE_DIR}/include -c ${here}/rejected/${arg_SOURCE})
  add_package_test(rejects_${name}
    COMMAND ${expect} --fails ${arg_MESSAGE} -- ${compile} -o ${out}/rejected_${name}.o ${arg_REJECTED})
  add_package_test(accepts_${name}_neighbour COMMAND ${compile} -o ${out}/accepted_${name}.o ${arg_ACCEPTED})
endfunction()

function(add_instruction function instruction required)
  set(too_old 75 ${ARGN})
  list(GET too_old -1 too_old)
  add_rejection(${function}_on_${too_old} SOURCE new_instruction.cu MESSAGE "${instruction} needs sm_${required}"
    REJECTED -std=c++17 -DCALL_${function} -gencode=arch=compute_${too_old},code=sm_${too_old}
    ACCEPTED -std=c++17 -DCALL_${function} -gencode=arch=compute_${required},code=sm_${required})
endfunction()
add_instruction(mma_m16n8k32_s8 mma.m16n8k32.s8 80)
add_instruction(cp_async cp.async 80)
add_instruction(cp_async_commit cp.async.commit_group 80)
add_instruction(cp_async_wait cp.async.wait_group 80)
add_instruction(wait_for_dependencies griddepcontrol 90)
add_instruction(launch_dependents griddepcontrol 90)
add_instruction(fence_proxy_async fence.proxy.async 90)
add_instruction(wgmma_fence wgmma.fence 90a 90)
add_instruction(wgmma wgmma 90a 90)
add_instruction(wgmma_commit wgmma.commit_group 90a 90)
add_instruction(wgmma_wait wgmma.wait_group 90a 90)

add_rejection(cpp14 SOURCE ignored_status.cu MESSAGE "q4fuse needs C\\+\\+17"
  REJECTED -std=c++14 -arch=sm_75 -DUSE_STATUS
  ACCEPTED -std=c++17 -arch=sm_75 -DUSE_STATUS)
add_rejection(direct_fp16_of_blocks SOURCE direct_fp16_of_blocks.cu MESSAGE "direct_fp16 multiplies FP16 activations"
  REJECTED -std=c++17 -arch=sm_75 -DMATH_MODE=direct_fp16
  ACCEPTED -std=c++17 -arch=sm_75 -DMATH_MODE=dequantized_fp16)
add_rejection(ignored_status SOURCE ignored_status.cu MESSAGE "unused-result"
  REJECTED -std=c++17 -arch=sm_75 -Xcompiler=-Werror=unused-result
  ACCEPTED -std=c++17 -arch=sm_75 -Xcompiler=-Werror=unused-result -DUSE_STATUS)
