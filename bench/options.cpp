#include "options.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <optional>

namespace q4fuse_bench {
namespace {

struct raw_options {
  std::optional<std::string> m;
  std::optional<std::string> shapes;
  std::optional<std::string> pipelines;
  std::optional<std::string> math;
  std::optional<std::string> modes;
  std::optional<std::string> l2;
  std::string plan = "auto";
  double seconds = 0.0;
  model_files model;
};

std::unique_ptr<CLI::App> make_app(raw_options& raw) {
  auto app =
      std::make_unique<CLI::App>("Times the pipelines of q4fuse, fused against separate, and cuBLAS.", "q4fuse_bench");
  app->set_help_flag();
  app->add_option("--m", raw.m, "tokens: values and ranges, as in 1,2,8-16 (default 1,2,4,...,4096)");
  CLI::Option* const shapes =
      app->add_option("--shapes", raw.shapes, "weights: main (default), all, S1, S2, S3 or <n>x<k>, comma-separated");
  app->add_option(
      "--pipelines", raw.pipelines,
      "fused, separate, separate_pdl, gemm, quantize, cublas, producer (default: all that apply; in a sweep "
      "fused,separate)");
  app->add_option("--math", raw.math, "exact (default), dequantized_fp16, direct_fp16, comma-separated");
  app->add_option("--modes", raw.modes, "graph (default), stream, overlap, chain");
  app->add_option("--l2", raw.l2, "cold (default), warm");
  app->add_option("--plan", raw.plan, "auto: the library's choice (default); sweep: every legal kernel")
      ->check(CLI::IsMember({"auto", "sweep"}));
  app->add_option("--seconds", raw.seconds, "device time per benchmark, about (default 0.15; in a sweep 0.02)")
      ->check(CLI::Range(1e-3, 60.0));
  CLI::Option* const gguf = app->add_option("--gguf", raw.model.gguf, "weights of a model instead: a GGUF file")
                                ->check(CLI::ExistingFile)
                                ->excludes(shapes);
  CLI::Option* const tensor =
      app->add_option("--tensor", raw.model.tensor, "one of its Q4_0 tensors; `q4fuse_gguf list FILE` names them")
          ->needs(gguf);
  gguf->needs(tensor);
  app->add_option("--activations", raw.model.activations,
                  "the model's too, raw little-endian FP16 rows: a file, or a folder with TENSOR.f16")
      ->check(CLI::ExistingPath)
      ->needs(gguf);
  return app;
}

/// Runs a parser and puts the flag's name before its complaint.
template <class Parser, class Result>
void apply(const char* flag, const std::optional<std::string>& text, Parser parser, Result& result) {
  if (!text.has_value()) return;
  try {
    result = parser(*text);
  } catch (const std::invalid_argument& error) {
    throw usage_error(std::string(flag) + ": " + error.what());
  }
}

/// The last value given for a flag of Google Benchmark, as it reads them.
std::optional<std::string> last_value(const std::vector<std::string>& arguments, const std::string& prefix) {
  std::optional<std::string> value;
  for (const std::string& argument : arguments) {
    if (argument.rfind(prefix, 0) == 0) value = argument.substr(prefix.size());
  }
  return value;
}

void require_known_format(const std::string& format) {
  if (format != "console" && format != "json" && format != "csv") {
    throw usage_error("'" + format + "': the formats are console, json and csv");
  }
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

bench_options parse_options(std::vector<std::string> arguments) {
  raw_options raw;
  const auto app = make_app(raw);
  std::reverse(arguments.begin(), arguments.end());  // the order in which CLI11 takes a vector
  try {
    app->parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    throw usage_error(one_line(error.what()));
  }
  bench_options options;
  apply("--m", raw.m, parse_tokens, options.what.m);
  apply("--shapes", raw.shapes, parse_shapes, options.what.shapes);
  apply("--pipelines", raw.pipelines, parse_pipelines, options.what.pipelines);
  apply("--math", raw.math, parse_math, options.what.math);
  apply("--modes", raw.modes, parse_modes, options.what.modes);
  apply("--l2", raw.l2, parse_l2, options.what.l2);
  options.what.sweep = raw.plan == "sweep";
  if (!raw.model.gguf.empty()) options.model = raw.model;
  options.series_seconds = raw.seconds > 0.0 ? raw.seconds : options.what.sweep ? 0.02 : 0.15;
  return options;
}

std::string options_help() {
  raw_options raw;
  return make_app(raw)->help();
}

bool console_output(const std::vector<std::string>& arguments, const char* format_from_environment) {
  const std::string fallback = format_from_environment != nullptr ? format_from_environment : "console";
  require_known_format(last_value(arguments, "--benchmark_out_format=").value_or("json"));
  const std::string format = last_value(arguments, "--benchmark_format=").value_or(fallback);
  require_known_format(format);
  return format == "console";
}

bool lists_names(const std::vector<std::string>& arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument == "--benchmark_list_tests" || argument == "--benchmark_list_tests=true" ||
           argument == "--benchmark_list_tests=1";
  });
}

bool writes_json_file(const std::vector<std::string>& arguments) {
  return !last_value(arguments, "--benchmark_out=").value_or("").empty() &&
         last_value(arguments, "--benchmark_out_format=").value_or("json") == "json";
}

}  // namespace q4fuse_bench
