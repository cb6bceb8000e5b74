#pragma once

#include <benchmark/benchmark.h>

#include <memory>
#include <utility>
#include <vector>

namespace q4fuse_bench {

/// Passes everything to another reporter, under the names that were registered: Google Benchmark would add
/// "/iterations:1/manual_time", which is the same for all of them.
class plain_name_reporter : public benchmark::BenchmarkReporter {
 public:
  explicit plain_name_reporter(std::unique_ptr<benchmark::BenchmarkReporter> target) : target_(std::move(target)) {}

  bool ReportContext(const Context& context) override {
    target_->SetOutputStream(&GetOutputStream());
    target_->SetErrorStream(&GetErrorStream());
    return target_->ReportContext(context);
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> renamed = runs;
    for (Run& run : renamed) {
      run.run_name.iterations.clear();
      run.run_name.time_type.clear();
    }
    target_->ReportRuns(renamed);
  }
  void Finalize() override { target_->Finalize(); }

 private:
  std::unique_ptr<benchmark::BenchmarkReporter> target_;
};

}  // namespace q4fuse_bench
