#include "table.hpp"

#include "costs.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <optional>
#include <utility>

namespace q4fuse_bench {
namespace {

using row = std::vector<std::string>;

std::string number(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string microseconds(std::optional<double> seconds) {
  return seconds.has_value() ? number(*seconds * 1e6, *seconds < 1e-4 ? 2 : 1) : "-";
}

/// Right-aligned columns, two spaces apart.
std::string align(const std::vector<row>& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const row& r : rows) {
    for (size_t i = 0; i < r.size(); ++i) widths[i] = std::max(widths[i], r[i].size());
  }
  std::string text;
  for (const row& r : rows) {
    for (size_t i = 0; i < r.size(); ++i) {
      text += std::string(widths[i] - r[i].size() + (i == 0 ? 0 : 2), ' ') + r[i];
    }
    text += '\n';
  }
  return text;
}

std::optional<measurement> find_measurement(const point_result& result, pipeline_kind kind) {
  for (const auto& [index, measured] : result.measured) {
    const series& member = result.what.members[index];
    if (member.kind == kind && !member.config.has_value()) return measured;
  }
  return std::nullopt;
}

std::optional<double> find(const point_result& result, pipeline_kind kind) {
  const auto measured = find_measurement(result, kind);
  return measured.has_value() ? std::optional(measured->seconds) : std::nullopt;
}

/// The error of the first of some pipelines that was measured.
std::string error_of(const point_result& result, std::initializer_list<pipeline_kind> kinds) {
  for (const pipeline_kind kind : kinds) {
    if (const auto measured = find_measurement(result, kind); measured.has_value()) {
      char text[32];
      std::snprintf(text, sizeof(text), "%.1e", measured->error);
      return text;
    }
  }
  return "-";
}

row shape_cells(const q4fuse::gemm_shape& shape) {
  return {std::to_string(shape.m), std::to_string(shape.n), std::to_string(shape.k)};
}

row comparison_row(const point_result& result, double copy_bytes_per_second, bool with_pdl, bool with_producer) {
  const auto separate = find(result, pipeline_kind::separate);
  const auto separate_pdl = find(result, pipeline_kind::separate_pdl);
  const auto fused = find(result, pipeline_kind::fused);
  row cells = shape_cells(result.what.shape);
  cells.push_back(microseconds(separate));
  if (with_pdl) cells.push_back(microseconds(separate_pdl));
  cells.push_back(microseconds(fused));
  const auto best_separate = separate && separate_pdl ? std::min(separate, separate_pdl)
                             : separate               ? separate
                                                      : separate_pdl;
  cells.push_back(fused && best_separate ? number(*best_separate / *fused, 2) : "-");
  if (with_producer) cells.push_back(microseconds(find(result, pipeline_kind::producer)));
  cells.push_back(microseconds(find(result, pipeline_kind::cublas)));
  if (fused.has_value()) {
    const q4fuse::gemm_shape& shape = result.what.shape;
    const double bytes_per_second = static_cast<double>(moved_bytes(pipeline_kind::fused, shape)) / *fused;
    cells.push_back(number(operations(pipeline_kind::fused, shape) / *fused * 1e-12, 1));
    cells.push_back(number(bytes_per_second * 1e-9, 0));
    cells.push_back(copy_bytes_per_second > 0 ? number(100 * bytes_per_second / copy_bytes_per_second, 1) : "-");
  } else {
    cells.insert(cells.end(), 3, "-");
  }
  cells.push_back(error_of(result, {pipeline_kind::fused, pipeline_kind::separate, pipeline_kind::separate_pdl}));
  cells.push_back(error_of(result, {pipeline_kind::cublas}));
  return cells;
}

std::string title(const point& p) {
  return std::string(to_string(p.math)) + " math, " + to_string(p.mode) + ", " + to_string(p.l2) + " L2\n";
}

/// Calls `format` with the results of one (math, mode, L2) at a time, in the order in which they first appear.
std::string for_each_group(const std::vector<point_result>& results,
                           const std::function<std::string(const std::vector<const point_result*>&)>& format) {
  std::vector<std::vector<const point_result*>> groups;
  for (const point_result& result : results) {
    if (result.measured.empty()) continue;
    const auto same = [&](const auto& group) {
      const point& first = group.front()->what;
      return first.math == result.what.math && first.mode == result.what.mode && first.l2 == result.what.l2;
    };
    const auto found = std::find_if(groups.begin(), groups.end(), same);
    if (found == groups.end()) {
      groups.push_back({&result});
    } else {
      found->push_back(&result);
    }
  }
  std::string text;
  for (const auto& group : groups) text += "\n" + title(group.front()->what) + format(group);
  return text;
}

/// Rows of a sweep for one pipeline of one point; empty when none of its kernels was measured.
std::vector<row> sweep_rows(const point_result& result, pipeline_kind kind) {
  std::vector<std::pair<double, std::string>> timed;
  for (const auto& [index, measured] : result.measured) {
    const series& member = result.what.members[index];
    if (member.kind == kind && member.config.has_value()) {
      timed.emplace_back(measured.seconds, to_string(*member.config));
    }
  }
  if (timed.empty()) return {};
  std::sort(timed.begin(), timed.end());
  const auto chosen =
      std::find_if(timed.begin(), timed.end(), [&](const auto& t) { return t.second == result.chosen_config; });
  row cells = shape_cells(result.what.shape);
  cells.push_back(to_string(kind));
  cells.push_back(microseconds(timed.front().first));
  cells.push_back(timed.front().second);
  cells.push_back(chosen == timed.end() ? "-" : microseconds(chosen->first));
  cells.push_back(chosen == timed.end() ? "-" : number(chosen->first / timed.front().first, 2));
  cells.push_back(result.chosen_config);
  return {cells};
}

}  // namespace

std::string format_comparison(const std::vector<point_result>& results, double copy_bytes_per_second) {
  const std::string tables = for_each_group(results, [&](const auto& group) {
    const auto any = [&](pipeline_kind kind) {
      return std::any_of(group.begin(), group.end(), [&](const auto* r) { return find(*r, kind).has_value(); });
    };
    const bool with_pdl = any(pipeline_kind::separate_pdl);
    const bool with_producer = any(pipeline_kind::producer);
    row header = {"m", "n", "k", "separate us"};
    if (with_pdl) header.push_back("separate pdl us");
    header.insert(header.end(), {"fused us", "fused/separate"});
    if (with_producer) header.push_back("producer us");
    header.insert(header.end(),
                  {"cuBLAS us", "TFLOPS", "GB/s", "% of copy bandwidth", "rms error", "cuBLAS rms error"});
    std::vector<row> rows = {header};
    for (const auto* r : group) rows.push_back(comparison_row(*r, copy_bytes_per_second, with_pdl, with_producer));
    return align(rows);
  });
  if (tables.empty()) return {};
  return tables +
         "\nfused/separate: speed of fused over the faster separate, above 1 where fused is faster. TFLOPS, GB/s and\n"
         "% are those of fused; bytes = weights + x + y, each once. Copy bandwidth, read + write: " +
         number(copy_bytes_per_second * 1e-9, 0) +
         " GB/s.\n"
         "rms error: of y against the FP64 product of the FP16 activations and the Q4_0 weights as stored, over the "
         "root\n"
         "mean square of y.\n";
}

std::string format_sweep(const std::vector<point_result>& results) {
  return for_each_group(results, [](const auto& group) {
    std::vector<row> rows = {
        {"m", "n", "k", "pipeline", "best us", "best kernel", "chosen us", "chosen/best", "chosen kernel"}};
    for (const auto* result : group) {
      for (const pipeline_kind kind :
           {pipeline_kind::fused, pipeline_kind::separate, pipeline_kind::separate_pdl, pipeline_kind::gemm}) {
        for (const row& r : sweep_rows(*result, kind)) rows.push_back(r);
      }
    }
    return rows.size() > 1 ? align(rows) : std::string();
  });
}

}  // namespace q4fuse_bench
