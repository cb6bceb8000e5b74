#pragma once

// Registers every series with Google Benchmark and hands it its measurement.

#include "context.hpp"
#include "options.hpp"
#include "runner.hpp"
#include "table.hpp"

#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <vector>

namespace q4fuse_bench {

class session {
 public:
  session(const bench_options& options, inputs data, const q4fuse::device_info& device, int64_t l2_bytes,
          bandwidths measured);

  /// Selects the series whose names the expression finds, or with a leading '-' those that it does not, as
  /// --benchmark_filter does; empty selects all. Throws usage_error for an expression that is none.
  void select(const std::string& filter);
  std::vector<std::string> selected_names() const;
  void register_benchmarks();

  bool failed() const { return failed_; }
  std::string closing_tables() const;

 private:
  struct measured_point {
    point what;
    std::vector<bool> selected;
    std::vector<outcome> outcomes;
    std::vector<bool> fresh;  ///< outcomes not yet reported; another report of one is a repetition: measured anew
    std::map<size_t, measurement> measured;  ///< what was reported last, for the closing tables
  };

  void report(benchmark::State& state, measured_point& p, size_t member);
  std::string label(const measured_point& p, size_t member) const;

  bool sweep_;
  q4fuse::device_info device_;
  bandwidths bandwidths_;
  runner runner_;
  std::vector<measured_point> points_;
  bool failed_ = false;
};

}  // namespace q4fuse_bench
