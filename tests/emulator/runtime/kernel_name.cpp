// Names of kernels, from the symbol table of the running program. Needs a program linked with -no-pie.

#define BOOST_STACKTRACE_USE_ADDR2LINE
#include "emulator/runtime/gpu.hpp"

#include <boost/stacktrace/frame.hpp>

namespace q4fuse_emulator {

std::string gpu::kernel_name(const void* kernel) {
  std::string& name = names_[kernel];
  if (name.empty()) {
    name = boost::stacktrace::frame(kernel).name();
    if (name.empty()) name = "at address " + std::to_string(reinterpret_cast<uintptr_t>(kernel));
  }
  return name;
}

std::map<std::string, int64_t> gpu::kernels_executed() {
  std::map<std::string, int64_t> result;
  for (const auto& [kernel, count] : launches_of_) result[kernel_name(kernel)] += count;
  return result;
}

}  // namespace q4fuse_emulator
