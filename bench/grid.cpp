#include "grid.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

namespace q4fuse_bench {
namespace {

constexpr std::array kPipelines = {pipeline_kind::fused,   pipeline_kind::separate, pipeline_kind::separate_pdl,
                                   pipeline_kind::gemm,    pipeline_kind::quantize, pipeline_kind::cublas,
                                   pipeline_kind::producer};
constexpr std::array kMathModes = {q4fuse::math_mode::exact, q4fuse::math_mode::dequantized_fp16,
                                   q4fuse::math_mode::direct_fp16};
constexpr std::array kModes = {launch_mode::graph, launch_mode::stream, launch_mode::overlap, launch_mode::chain};
constexpr std::array kL2States = {l2_state::cold, l2_state::warm};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ',') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

int64_t parse_positive(const std::string& digits, const std::string& word) {
  // Products of three such numbers stay within 64 bits, and none of them is a typing error.
  constexpr size_t kMaxDigits = 7;
  if (digits.empty() || digits.size() > kMaxDigits || digits.find_first_not_of("0123456789") != std::string::npos ||
      std::stoll(digits) == 0) {
    throw std::invalid_argument("'" + word + "' is not a positive whole number of at most 7 digits");
  }
  return std::stoll(digits);
}

template <class Values>
auto parse_names(const std::string& text, const Values& values) {
  std::vector<typename Values::value_type> result;
  for (const std::string& word : split(text)) {
    const auto found = std::find_if(values.begin(), values.end(), [&](auto value) { return word == to_string(value); });
    if (found == values.end()) {
      std::string known;
      for (const auto value : values) known += (known.empty() ? "" : ", ") + std::string(to_string(value));
      throw std::invalid_argument("'" + word + "' is none of " + known);
    }
    if (std::find(result.begin(), result.end(), *found) == result.end()) result.push_back(*found);
  }
  return result;
}

/// Whether a contender exists; activations that are multiplied as they are need no quantizer.
bool offered(pipeline_kind kind, q4fuse::math_mode math, launch_mode mode, const q4fuse::device_info& device,
             bool has_cublas) {
  switch (kind) {
    case pipeline_kind::fused: return true;
    case pipeline_kind::cublas: return has_cublas;
    case pipeline_kind::producer: return mode == launch_mode::chain;
    default: break;
  }
  if (math == q4fuse::math_mode::direct_fp16) return false;
  // With dependent launch between all kernels it is the same as `separate`.
  return kind != pipeline_kind::separate_pdl || (device.code_arch >= 90 && !uses_dependent_launch(mode));
}

bool depends_on_config(pipeline_kind kind) {
  return kind == pipeline_kind::fused || kind == pipeline_kind::separate || kind == pipeline_kind::separate_pdl ||
         kind == pipeline_kind::gemm;
}

/// The series of one pipeline: the library's choice of kernel, or in a sweep every legal one.
void add_series(const grid& what, const q4fuse::device_info& device, pipeline_kind kind, point& p) {
  if (!what.sweep || !depends_on_config(kind)) {
    p.members.push_back({kind, std::nullopt});
    return;
  }
  for (const q4fuse::kernel_config& config : q4fuse::kKernelConfigs) {
    if (serves(config, p.math) && can_run(config, p.shape, device)) p.members.push_back({kind, config});
  }
}

std::vector<pipeline_kind> default_pipelines(bool sweep) {
  if (sweep) return {pipeline_kind::fused, pipeline_kind::separate};
  return {kPipelines.begin(), kPipelines.end()};
}

}  // namespace

const char* to_string(pipeline_kind value) {
  switch (value) {
    case pipeline_kind::fused: return "fused";
    case pipeline_kind::separate: return "separate";
    case pipeline_kind::separate_pdl: return "separate_pdl";
    case pipeline_kind::gemm: return "gemm";
    case pipeline_kind::quantize: return "quantize";
    case pipeline_kind::cublas: return "cublas";
    case pipeline_kind::producer: return "producer";
  }
  return "unknown";
}

const char* to_string(launch_mode value) {
  switch (value) {
    case launch_mode::graph: return "graph";
    case launch_mode::stream: return "stream";
    case launch_mode::overlap: return "overlap";
    case launch_mode::chain: return "chain";
  }
  return "unknown";
}

const char* to_string(l2_state value) { return value == l2_state::cold ? "cold" : "warm"; }

std::vector<int64_t> default_tokens() { return {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096}; }

std::vector<weight_shape> main_shapes() { return {{4096, 4096}, {14336, 4096}, {4096, 14336}}; }

std::vector<weight_shape> all_shapes() {
  std::vector<weight_shape> shapes = main_shapes();
  const std::vector<weight_shape> others = {{6144, 4096},  {1024, 8192}, {8192, 28672}, {11008, 4096}, {4096, 11008},
                                            {5120, 13824}, {1536, 576},  {576, 1536},   {32000, 4096}, {151936, 896}};
  shapes.insert(shapes.end(), others.begin(), others.end());
  return shapes;
}

std::vector<int64_t> parse_tokens(const std::string& text) {
  std::vector<int64_t> values;
  for (const std::string& word : split(text)) {
    const size_t dash = word.find('-');
    const int64_t first = parse_positive(word.substr(0, dash), word);
    const int64_t last = dash == std::string::npos ? first : parse_positive(word.substr(dash + 1), word);
    if (last < first) throw std::invalid_argument("'" + word + "' ends before it begins");
    for (int64_t m = first; m <= last; ++m) {
      if (std::find(values.begin(), values.end(), m) == values.end()) values.push_back(m);
    }
  }
  return values;
}

std::vector<weight_shape> parse_shapes(const std::string& text) {
  std::vector<weight_shape> shapes;
  const auto add = [&](const std::vector<weight_shape>& some) {
    for (const weight_shape& shape : some) {
      if (std::find(shapes.begin(), shapes.end(), shape) == shapes.end()) shapes.push_back(shape);
    }
  };
  for (const std::string& word : split(text)) {
    const size_t cross = word.find('x');
    if (word == "main") {
      add(main_shapes());
    } else if (word == "all") {
      add(all_shapes());
    } else if (word == "S1" || word == "S2" || word == "S3") {
      add({main_shapes()[static_cast<size_t>(word[1] - '1')]});
    } else if (cross != std::string::npos) {
      const weight_shape shape{parse_positive(word.substr(0, cross), word),
                               parse_positive(word.substr(cross + 1), word)};
      if (shape.k % q4fuse::kBlockSize != 0) throw std::invalid_argument("'" + word + "': k is not a multiple of 32");
      add({shape});
    } else {
      throw std::invalid_argument("'" + word + "' is none of main, all, S1, S2, S3, <n>x<k>");
    }
  }
  return shapes;
}

std::vector<pipeline_kind> parse_pipelines(const std::string& text) { return parse_names(text, kPipelines); }
std::vector<q4fuse::math_mode> parse_math(const std::string& text) { return parse_names(text, kMathModes); }
std::vector<launch_mode> parse_modes(const std::string& text) { return parse_names(text, kModes); }
std::vector<l2_state> parse_l2(const std::string& text) { return parse_names(text, kL2States); }

std::vector<point> make_points(const grid& what, const q4fuse::device_info& device, bool has_cublas) {
  const std::vector<pipeline_kind> kinds = what.pipelines.empty() ? default_pipelines(what.sweep) : what.pipelines;
  std::vector<point> points;
  for (const weight_shape& weights : what.shapes) {
    for (const int64_t m : what.m) {
      for (const q4fuse::math_mode math : what.math) {
        for (const launch_mode mode : what.modes) {
          for (const l2_state l2 : what.l2) {
            point p{{m, weights.n, weights.k}, math, mode, l2, {}};
            for (const pipeline_kind kind : kinds) {
              if (offered(kind, math, mode, device, has_cublas)) add_series(what, device, kind, p);
            }
            if (!p.members.empty()) points.push_back(p);
          }
        }
      }
    }
  }
  return points;
}

std::string series_name(const point& p, const series& s) {
  std::string name = std::string(to_string(s.kind)) + "/m:" + std::to_string(p.shape.m) +
                     "/n:" + std::to_string(p.shape.n) + "/k:" + std::to_string(p.shape.k) + "/" + to_string(p.mode) +
                     "/" + to_string(p.l2);
  if (p.math != q4fuse::math_mode::exact) name += std::string("/math:") + to_string(p.math);
  if (s.config.has_value()) name += "/config:" + to_string(*s.config);
  return name;
}

}  // namespace q4fuse_bench
