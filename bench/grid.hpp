#pragma once

// What is measured: pipelines, modes, shapes, and the names they carry. Host only.

#include <q4fuse/plan.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace q4fuse_bench {

enum class pipeline_kind {
  fused,         ///< gemm_q4_0_fp16_fused
  separate,      ///< quantize_fp16_to_q8_1, then gemm_q4_0_q8_1
  separate_pdl,  ///< the same, the GEMM launched dependent on the quantize kernel so that their ends overlap
  gemm,          ///< gemm_q4_0_q8_1 alone, on blocks quantized beforehand
  quantize,      ///< quantize_fp16_to_q8_1 alone
  cublas,        ///< cuBLAS FP16 x FP16 -> FP32 on weights dequantized beforehand
  producer,      ///< the kernel that writes the activations in chain mode, alone
};

enum class launch_mode {
  graph,    ///< a CUDA graph of many calls, each waiting for the end of the one before
  stream,   ///< plain launches into a stream, the launches themselves included
  overlap,  ///< as graph, with programmatic dependent launch between the calls
  chain,    ///< as overlap, with a kernel that writes the activations before each call; its time is included
};

enum class l2_state {
  cold,  ///< buffers rotate through more memory than the L2 holds
  warm,  ///< every call uses the same buffers
};

const char* to_string(pipeline_kind value);
const char* to_string(launch_mode value);
const char* to_string(l2_state value);

struct weight_shape {
  int64_t n;
  int64_t k;
  friend bool operator==(const weight_shape& a, const weight_shape& b) { return a.n == b.n && a.k == b.k; }
};

std::vector<int64_t> default_tokens();
std::vector<weight_shape> main_shapes();
std::vector<weight_shape> all_shapes();

struct grid {
  std::vector<int64_t> m = default_tokens();
  std::vector<weight_shape> shapes = main_shapes();
  std::vector<pipeline_kind> pipelines;  ///< empty: all that the mode and the device offer
  std::vector<q4fuse::math_mode> math = {q4fuse::math_mode::exact};
  std::vector<launch_mode> modes = {launch_mode::graph};
  std::vector<l2_state> l2 = {l2_state::cold};
  bool sweep = false;  ///< every legal kernel instead of the library's choice
};

// The parsers throw std::invalid_argument with a message that names the offending word.

/// "1,2,8-16": values and inclusive ranges.
std::vector<int64_t> parse_tokens(const std::string& text);
/// "main", "all", "S1".."S3" or "4096x14336" (n x k), comma-separated.
std::vector<weight_shape> parse_shapes(const std::string& text);
std::vector<pipeline_kind> parse_pipelines(const std::string& text);
std::vector<q4fuse::math_mode> parse_math(const std::string& text);
std::vector<launch_mode> parse_modes(const std::string& text);
std::vector<l2_state> parse_l2(const std::string& text);

/// One benchmark: a pipeline, under the library's own choice of kernel or a forced one.
struct series {
  pipeline_kind kind;
  std::optional<q4fuse::kernel_config> config;
};

/// Benchmarks that are measured together, taking turns.
struct point {
  q4fuse::gemm_shape shape;
  q4fuse::math_mode math;
  launch_mode mode;
  l2_state l2;
  std::vector<series> members;
};

/// `has_cublas` says whether this build can run that contender.
std::vector<point> make_points(const grid& what, const q4fuse::device_info& device, bool has_cublas);

constexpr bool uses_dependent_launch(launch_mode mode) {
  return mode == launch_mode::overlap || mode == launch_mode::chain;
}

/// e.g. "fused/m:1/n:4096/k:4096/graph/cold"; followed by "/math:<mode>" where it is not exact, and in a sweep by
/// "/config:<kernel>".
std::string series_name(const point& p, const series& s);

}  // namespace q4fuse_bench
