#include "gguf/device_timing.hpp"

namespace q4fuse_tools {

std::string describe_device() { return "emulated on the CPU; times need a GPU"; }

std::optional<pipeline_times> time_pipelines(const problem&, const q4fuse::gemm_plan&) { return std::nullopt; }

}  // namespace q4fuse_tools
