#include "session.hpp"

#include <algorithm>
#include <regex>
#include <utility>

namespace q4fuse_bench {

session::session(const bench_options& options, inputs data, const q4fuse::device_info& device, int64_t l2_bytes,
                 bandwidths measured)
    : sweep_(options.what.sweep),
      device_(device),
      bandwidths_(measured),
      runner_(std::move(data), l2_bytes, options.series_seconds) {
  for (const point& what : make_points(options.what, device, kHasCublas)) {
    points_.push_back({what, std::vector<bool>(what.members.size(), true), {}, {}, {}});
  }
}

void session::select(const std::string& filter) {
  if (filter.empty() || filter == "all") return;
  const bool negative = filter[0] == '-';
  std::regex expression;
  try {
    expression = std::regex(filter.substr(negative ? 1 : 0), std::regex::extended | std::regex::nosubs);
  } catch (const std::regex_error&) {
    throw usage_error("--benchmark_filter: '" + filter + "' is no regular expression");
  }
  for (measured_point& p : points_) {
    for (size_t member = 0; member < p.what.members.size(); ++member) {
      p.selected[member] = std::regex_search(series_name(p.what, p.what.members[member]), expression) != negative;
    }
  }
}

std::vector<std::string> session::selected_names() const {
  std::vector<std::string> names;
  for (const measured_point& p : points_) {
    for (size_t member = 0; member < p.what.members.size(); ++member) {
      if (p.selected[member]) names.push_back(series_name(p.what, p.what.members[member]));
    }
  }
  return names;
}

void session::register_benchmarks() {
  for (measured_point& p : points_) {
    for (size_t member = 0; member < p.what.members.size(); ++member) {
      if (!p.selected[member]) continue;
      const std::string name = series_name(p.what, p.what.members[member]);
      const auto measure_and_report = [this, &p, member](benchmark::State& state) { report(state, p, member); };
      benchmark::RegisterBenchmark(name.c_str(), measure_and_report)
          ->UseManualTime()
          ->Iterations(1)
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

void session::report(benchmark::State& state, measured_point& p, size_t member) {
  if (p.outcomes.empty() || !p.fresh[member]) {
    p.outcomes = runner_.measure(p.what, p.selected);
    p.fresh.assign(p.outcomes.size(), true);
  }
  p.fresh[member] = false;
  const outcome& result = p.outcomes[member];
  if (!result.error.empty()) {
    failed_ = true;
    state.SkipWithError(result.error.c_str());
    return;
  }
  const double seconds = median(result.samples);
  p.measured[member] = {seconds, result.product_error};
  for (auto _ : state) state.SetIterationTime(seconds);
  const pipeline_kind kind = p.what.members[member].kind;
  const double bytes_per_second = static_cast<double>(moved_bytes(kind, p.what.shape)) / seconds;
  if (const double count = operations(kind, p.what.shape); count > 0.0) {
    state.counters["TFLOPS"] = count / seconds * 1e-12;
    state.counters["rms_error"] = result.product_error;
  }
  state.counters["GB/s"] = bytes_per_second * 1e-9;
  state.counters["copy%"] = 100.0 * bytes_per_second / bandwidths_.copy_bytes_per_second;
  state.counters["min_us"] = *std::min_element(result.samples.begin(), result.samples.end()) * 1e6;
  state.counters["max_us"] = *std::max_element(result.samples.begin(), result.samples.end()) * 1e6;
  state.counters["samples"] = static_cast<double>(result.samples.size());
  state.counters["calls"] = result.calls;
  state.SetLabel(label(p, member));
}

std::string session::label(const measured_point& p, size_t member) const {
  const series& s = p.what.members[member];
  if (s.kind == pipeline_kind::quantize || s.kind == pipeline_kind::producer) return "";
  if (s.kind == pipeline_kind::cublas) return "CUBLAS_GEMM_DEFAULT";
  const auto source = s.kind == pipeline_kind::fused ? q4fuse::pipeline::fused : q4fuse::pipeline::separate;
  const q4fuse::gemm_plan chosen = plan(p.what.shape, device_, source, p.what.math);
  if (!s.config.has_value()) return kernel_names(chosen) + ": " + chosen.reason;
  const std::string note = p.outcomes[member].estimated ? "estimate only, far from the fastest" : "";
  return *s.config == chosen.config && chosen.tail_tokens == 0
             ? "the library's choice" + (note.empty() ? note : ", " + note)
             : note;
}

std::string session::closing_tables() const {
  std::vector<point_result> results;
  for (const measured_point& p : points_) {
    results.push_back({p.what, p.measured, kernel_names(plan(p.what.shape, device_, p.what.math))});
  }
  return sweep_ ? format_sweep(results) : format_comparison(results, bandwidths_.copy_bytes_per_second);
}

}  // namespace q4fuse_bench
