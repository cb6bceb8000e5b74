#pragma once

// The command line of the bench. Host only.

#include "grid.hpp"
#include "inputs.hpp"

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace q4fuse_bench {

/// A command line that cannot be obeyed; what() is the one line to print.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct bench_options {
  grid what;
  double series_seconds = 0.0;  ///< device time spent on one benchmark, about
  /// Whose weights are the only shape, in place of those of `what`.
  std::optional<model_files> model;
};

/// `arguments` without the program's name and without the flags of Google Benchmark. Throws usage_error.
bench_options parse_options(std::vector<std::string> arguments);

/// What --help says about the flags above.
std::string options_help();

/// Whether Google Benchmark will print its console format to standard output. Throws usage_error for a format that it
/// does not know, because it would print its usage and report success.
bool console_output(const std::vector<std::string>& arguments, const char* format_from_environment);

/// Whether --benchmark_list_tests is given.
bool lists_names(const std::vector<std::string>& arguments);

/// Whether Google Benchmark will write a JSON file besides.
bool writes_json_file(const std::vector<std::string>& arguments);

}  // namespace q4fuse_bench
