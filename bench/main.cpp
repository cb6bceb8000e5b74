// q4fuse_bench: times fused against separate on this machine's GPU. `--help` lists the flags.
// Exit codes: 0 all measured; 1 a result was wrong or a call failed; 2 command line; 3 no GPU.

#include "context.hpp"
#include "cublas.hpp"
#include "options.hpp"
#include "pipelines.hpp"
#include "reporter.hpp"
#include "session.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <utility>

namespace q4fuse_bench {
namespace {

enum exit_code { kSuccess = 0, kFailure = 1, kUsage = 2, kNoGpu = 3 };

void print_help() {
  std::cout << options_help() << "\n";
  benchmark::PrintDefaultHelp();
}

/// Empty when there is a device, else why there is none.
std::string missing_device() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  return count == 0 ? "no CUDA device" : "";
}

/// A model that cannot be read is a mistake of the command line.
inputs load_inputs(const std::optional<model_files>& model) {
  if (!model.has_value()) return {};
  try {
    return inputs(*model);
  } catch (const std::runtime_error& error) {
    throw usage_error(error.what());
  }
}

void check_offered(const grid& what, const q4fuse::device_info& device) {
  if (device.code_arch < 90 && std::any_of(what.modes.begin(), what.modes.end(), uses_dependent_launch)) {
    throw usage_error("--modes: overlap and chain need a GPU, and a build, of compute capability 9.0 or newer");
  }
}

int run(int argc, char** argv) {
  const std::vector<std::string> all_arguments(argv + 1, argv + argc);
  const bool console = console_output(all_arguments, std::getenv("BENCHMARK_FORMAT"));
  benchmark::Initialize(&argc, argv, print_help);
  bench_options options = parse_options({argv + 1, argv + argc});
  const auto& kinds = options.what.pipelines;
  if (!kHasCublas && std::find(kinds.begin(), kinds.end(), pipeline_kind::cublas) != kinds.end()) {
    throw usage_error("--pipelines: this build has no cuBLAS");
  }
  inputs data = load_inputs(options.model);
  if (options.model.has_value()) options.what.shapes = {data.shape()};
  if (const std::string reason = missing_device(); !reason.empty()) {
    std::cerr << "q4fuse_bench: timings need an NVIDIA GPU, and none was found (" << reason << ")\n";
    return kNoGpu;
  }
  q4fuse::device_info device;
  check(query_device(&device), "q4fuse::query_device");
  check_offered(options.what, device);

  const bandwidths measured = [] {
    const stream temporary;
    return measure_bandwidths(temporary);
  }();
  for (const auto& [key, value] : describe_run(measured)) benchmark::AddCustomContext(key, value);
  if (const auto& model = options.model; model.has_value()) {
    benchmark::AddCustomContext("gguf", model->gguf);
    benchmark::AddCustomContext("tensor", model->tensor);
    benchmark::AddCustomContext("activations", model->activations.empty() ? "random" : model->activations);
  }
  session benchmarks(options, std::move(data), device, query_l2_bytes(), measured);
  benchmarks.select(benchmark::GetBenchmarkFilter());
  const std::vector<std::string> names = benchmarks.selected_names();
  if (names.empty()) throw usage_error("no benchmark is left after --benchmark_filter and the other flags");
  if (lists_names(all_arguments)) {
    for (const std::string& name : names) std::cout << name << "\n";
    return kSuccess;
  }
  benchmarks.register_benchmarks();

  plain_name_reporter display{std::unique_ptr<benchmark::BenchmarkReporter>(benchmark::CreateDefaultDisplayReporter())};
  plain_name_reporter file{std::make_unique<benchmark::JSONReporter>()};
  // Selected already, by the names without Google Benchmark's additions.
  benchmark::RunSpecifiedBenchmarks(&display, writes_json_file(all_arguments) ? &file : nullptr, "all");
  (console ? std::cout : std::cerr) << benchmarks.closing_tables() << std::flush;
  benchmark::Shutdown();
  return benchmarks.failed() ? kFailure : kSuccess;
}

}  // namespace
}  // namespace q4fuse_bench

int main(int argc, char** argv) {
  using namespace q4fuse_bench;
  try {
    return run(argc, argv);
  } catch (const usage_error& error) {
    std::cerr << "q4fuse_bench: " << error.what() << "\n";
    return kUsage;
  } catch (const std::exception& error) {
    std::cerr << "q4fuse_bench: " << error.what() << "\n";
    return kFailure;
  }
}
