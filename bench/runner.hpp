#pragma once

// Measures a point: checks its results, then times its series in turns.

#include "costs.hpp"
#include "pipelines.hpp"
#include "timing.hpp"
#include "verify.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace q4fuse_bench {

/// What became of one series: samples, or the reason why there are none.
struct outcome {
  std::vector<double> samples;  ///< seconds per call
  int calls = 0;                ///< calls per sample
  bool estimated = false;       ///< a forced kernel far from the fastest of its pipeline: its one sample is an estimate
  double product_error = 0.0;   ///< verifier::relative_error
  std::string error;
};

class runner {
 public:
  runner(inputs data, int64_t l2_bytes, double series_seconds);

  /// One outcome per member; a member that is not selected is left out of the measurement and gets an empty one.
  std::vector<outcome> measure(const point& what, const std::vector<bool>& selected);

 private:
  struct contestant;

  slot_counts count_slots(const point& what) const;
  void quantize_slots(const point& what, int slots);
  /// Throws what is wrong with the results of a call, or gives their error; looks only once at each kernel and shape.
  double check_once(const call_spec& call);
  void estimate(contestant& c);
  void prepare(contestant& c, l2_state l2);
  void take_turns(std::vector<contestant>& contestants, l2_state l2);

  int64_t evicting_;
  double series_seconds_;
  stream stream_;
  inputs inputs_;
  rotation_pool pool_;
  cublas_gemm cublas_;
  verifier verifier_;
  timer timer_;
  struct verdict {
    std::string complaint;  ///< empty where it passed
    double error = 0.0;
  };
  std::map<std::string, verdict> verdicts_;  ///< by what was checked
};

}  // namespace q4fuse_bench
