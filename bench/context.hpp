#pragma once

// What a reader must know beside the times: device, clocks, driver, toolkit, commit, bandwidths.

#include "cuda_handles.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace q4fuse_bench {

struct bandwidths {
  double copy_bytes_per_second;  ///< cudaMemcpyAsync within the device, bytes read + bytes written
  double read_bytes_per_second;
};

/// Medians over large buffers, which are freed again.
bandwidths measure_bandwidths(const stream& where);

int64_t query_l2_bytes();

/// Keys and values for the context of the report.
std::vector<std::pair<std::string, std::string>> describe_run(const bandwidths& measured);

}  // namespace q4fuse_bench
