// Lists the Q4_0 tensors of a GGUF file, and multiplies them by activations with both pipelines of the library.

#include "gguf/device_timing.hpp"
#include "gguf/gguf_file.hpp"
#include "gguf/load_problem.hpp"
#include "gguf/run_pipelines.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <string>
#include <vector>

namespace q4fuse_tools {
namespace {

constexpr int kCheckFailed = 1;
constexpr int kBadInput = 2;

const std::map<std::string, q4fuse_test::activation_kind> kKinds = {
    {"uniform", q4fuse_test::activation_kind::uniform},
    {"normal", q4fuse_test::activation_kind::normal},
    {"outliers", q4fuse_test::activation_kind::outliers},
    {"edges", q4fuse_test::activation_kind::edges},
};

struct run_options {
  std::string path;
  std::vector<std::string> tensors;
  bool all = false;
  std::vector<int64_t> tokens;
  activation_source activations;
};

/// The name alone where that is safe to print.
std::string printable(const std::string& name) {
  const std::string text = in_quotes(name);
  return text.size() == name.size() + 2 ? name : text;
}

int name_width(const std::vector<gguf_tensor>& tensors) {
  size_t width = sizeof("tensor") - 1;
  for (const gguf_tensor& tensor : tensors) {
    if (tensor.is_q4_0()) width = std::max(width, printable(tensor.name).size());
  }
  return static_cast<int>(width);
}

int list(const std::string& path) {
  const gguf_file file(path);
  const int width = name_width(file.tensors());
  std::map<std::string, int> others;
  int listed = 0;
  for (const gguf_tensor& tensor : file.tensors()) {
    if (!tensor.is_q4_0()) {
      ++others[tensor.type->name];
      continue;
    }
    if (listed++ == 0) std::printf("%-*s %8s %8s %12s\n", width, "tensor", "n", "k", "bytes");
    std::printf("%-*s %8lld %8lld %12llu\n", width, printable(tensor.name).c_str(), static_cast<long long>(tensor.n()),
                static_cast<long long>(tensor.k()), static_cast<unsigned long long>(tensor.bytes));
  }
  std::printf("%s: GGUF v%u, %zu tensors: %d Q4_0", path.c_str(), file.version(), file.tensors().size(), listed);
  for (const auto& [type, count] : others) std::printf(", %d %s", count, type.c_str());
  std::printf("\n");
  return 0;
}

std::vector<gguf_tensor> choose_tensors(const gguf_file& file, const run_options& options) {
  std::vector<gguf_tensor> chosen;
  for (const std::string& name : options.tensors) chosen.push_back(file.find_q4_0(name));
  if (options.all) {
    std::copy_if(file.tensors().begin(), file.tensors().end(), std::back_inserter(chosen),
                 [](const gguf_tensor& tensor) { return tensor.is_q4_0(); });
    if (chosen.empty()) throw gguf_error(file.path() + ": has no Q4_0 tensor");
  }
  return chosen;
}

/// One line of the table; false when a check failed.
bool run_one(const gguf_tensor& tensor, const problem& problem, int width) {
  const pipeline_results results = run_pipelines(problem);
  const verdict verdict = verify(problem, results);
  const q4fuse::gemm_shape& shape = problem.shape;
  std::string times = "           -            -";
  if (const auto measured = verdict.ok() ? time_pipelines(problem, results.plan) : std::nullopt) {
    char text[48];
    std::snprintf(text, sizeof(text), "%12.2f %12.2f", measured->separate_us, measured->fused_us);
    times = text;
  }
  std::printf("%-*s %7lld %7lld %6lld %s %12.4f %9lld  %s\n", width, printable(tensor.name).c_str(),
              static_cast<long long>(shape.n), static_cast<long long>(shape.k), static_cast<long long>(shape.m),
              times.c_str(), verdict.worst_ratio, static_cast<long long>(verdict.checked),
              kernel_names(results.plan).c_str());
  std::fflush(stdout);
  if (!verdict.ok()) {
    std::fprintf(stderr, "q4fuse_gguf: tensor %s: %s\n", in_quotes(tensor.name).c_str(), verdict.failure.c_str());
  }
  return verdict.ok();
}

int run(const run_options& options) {
  gguf_file file(options.path);
  const std::vector<gguf_tensor> tensors = choose_tensors(file, options);
  if (!can_run_pipelines()) throw std::runtime_error("no CUDA device: run needs one");

  const int width = name_width(tensors);
  std::printf("%s; both pipelines under the same plan\n", describe_device().c_str());
  std::printf("%-*s %7s %7s %6s %12s %12s %12s %9s  %s\n", width, "tensor", "n", "k", "m", "separate us", "fused us",
              "error/bound", "elements", "kernel");
  int failures = 0;
  int runs = 0;
  for (const gguf_tensor& tensor : tensors) {
    problem problem{{0, tensor.n(), tensor.k()}, load_weights(file, tensor), {}};
    for (const int64_t m : options.tokens) {
      problem.x = load_activations(options.activations, tensor, m);
      problem.shape.m = static_cast<int64_t>(problem.x.size()) / tensor.k();
      failures += run_one(tensor, problem, width) ? 0 : 1;
      ++runs;
    }
  }
  std::printf(
      "%d of %d runs: pipelines equal bit for bit, Q8_1 equal to the oracle's, every checked element in bound\n",
      runs - failures, runs);
  return failures == 0 ? 0 : kCheckFailed;
}

int run_command_line(int argc, char** argv) {
  CLI::App app(
      "Lists the Q4_0 tensors of a GGUF file and runs them through both pipelines of q4fuse.\n"
      "Exit status: 0 good, 1 a check failed, 2 bad input or no device.",
      "q4fuse_gguf");
  app.require_subcommand(1);

  std::string path;
  CLI::App* list_command = app.add_subcommand("list", "list the Q4_0 tensors, count the others");
  list_command->add_option("file", path, "GGUF file")->required();

  run_options options;
  CLI::App* run_command = app.add_subcommand("run", "multiply with both pipelines, check, and time");
  run_command->add_option("file", options.path, "GGUF file")->required();
  auto* what = run_command->add_option_group("tensors");
  what->add_option("--tensor", options.tensors, "a Q4_0 tensor, by name; may be repeated")->allow_extra_args(false);
  what->add_flag("--all", options.all, "every Q4_0 tensor");
  what->require_option(1);
  run_command->add_option("--m", options.tokens, "tokens, e.g. 1,8,64 (default 1,8,64; of a file: all of its rows)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  CLI::Option* from_file =
      run_command
          ->add_option("--activations", options.activations.path,
                       "raw little-endian FP16 rows: a file, or a folder with TENSOR.f16 for each tensor")
          ->check(CLI::ExistingPath);
  std::string kind = "normal";
  run_command->add_option("--kind", kind, "generated activations instead: uniform, normal, outliers or edges")
      ->capture_default_str()
      ->check(CLI::IsMember(kKinds))
      ->excludes(from_file);
  run_command->add_option("--seed", options.activations.seed, "of the generated activations")->capture_default_str();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadInput;
  }
  options.activations.kind = kKinds.at(kind);
  if (options.tokens.empty()) {
    // 0 stands for all rows of the file.
    options.tokens = options.activations.path.empty() ? std::vector<int64_t>{1, 8, 64} : std::vector<int64_t>{0};
  }
  return list_command->parsed() ? list(path) : run(options);
}

}  // namespace
}  // namespace q4fuse_tools

int main(int argc, char** argv) {
  try {
    return q4fuse_tools::run_command_line(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "q4fuse_gguf: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "q4fuse_gguf: %s\n", error.what());
  }
  return q4fuse_tools::kBadInput;
}
