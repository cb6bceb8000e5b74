#pragma once

// The closing tables. Host only.

#include "grid.hpp"

#include <map>
#include <string>
#include <vector>

namespace q4fuse_bench {

struct measurement {
  double seconds;      ///< per call
  double error = 0.0;  ///< root mean square, relative to that of the product
};

/// What was measured of a point, by the place of the series among its members.
struct point_result {
  point what;
  std::map<size_t, measurement> measured;
  std::string chosen_config;  ///< the library's own choice of kernel for the shape
};

/// One table per (math, mode, L2): separate against fused against cuBLAS.
std::string format_comparison(const std::vector<point_result>& results, double copy_bytes_per_second);

/// One table per (math, mode, L2): the fastest kernel of every shape and pipeline beside the one that the library
/// chooses.
std::string format_sweep(const std::vector<point_result>& results);

}  // namespace q4fuse_bench
