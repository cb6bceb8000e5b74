#include "runner.hpp"

#include <algorithm>
#include <exception>
#include <optional>
#include <stdexcept>
#include <utility>

namespace q4fuse_bench {

/// A series on its way through a measurement.
struct runner::contestant {
  call_spec call;
  int slots;
  outcome* result;
  call_function enqueue_call{};
  double estimate = 0.0;
  repetition repeat{};
  std::unique_ptr<repeated_calls> calls{};
};

namespace {

/// A kernel this many times slower than the fastest is not worth exact times; a sweep would spend most of them on it.
constexpr double kHopeless = 4.0;

}  // namespace

runner::runner(inputs data, int64_t l2_bytes, double series_seconds)
    : evicting_(eviction_bytes(l2_bytes)),
      series_seconds_(series_seconds),
      inputs_(std::move(data)),
      pool_(inputs_, stream_.get()),
      cublas_(stream_.get()),
      verifier_(inputs_, pool_, cublas_, stream_),
      timer_(stream_, evicting_) {}

slot_counts runner::count_slots(const point& what) const {
  slot_counts counts;
  for (const series& member : what.members) {
    const int slots = rotation_slots(what.l2, moved_bytes(member.kind, what.shape), evicting_);
    counts.activations = std::max(counts.activations, slots);
    if (operations(member.kind, what.shape) > 0.0) counts.products = std::max(counts.products, slots);
    if (member.kind == pipeline_kind::cublas) counts.cublas = slots;
  }
  return counts;
}

void runner::quantize_slots(const point& what, int slots) {
  const call_spec quantize{pipeline_kind::quantize, what.shape, what.math, std::nullopt, launch_mode::graph};
  enqueue(quantize, pool_.reference(), pool_.reference(), cublas_, stream_.get());
  for (int i = 0; i < slots; ++i) enqueue(quantize, pool_.timed(i), pool_.reference(), cublas_, stream_.get());
}

double runner::check_once(const call_spec& call) {
  const bool cublas = call.kind == pipeline_kind::cublas;
  const q4fuse::gemm_shape& s = call.shape;
  const std::string what = cublas ? "cublas" : call.plan.has_value() ? kernel_names(*call.plan) : "";
  const std::string key = std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k) +
                          (cublas ? "" : to_string(call.math)) + what;
  const auto [entry, unknown] = verdicts_.try_emplace(key);
  verdict& result = entry->second;
  if (unknown) {
    try {
      cublas ? verifier_.check_cublas(call) : verifier_.check_pipelines(call);
      result.error = verifier_.relative_error(call);
    } catch (const std::exception& error) {
      result.complaint = error.what();
    }
  }
  if (!result.complaint.empty()) throw std::runtime_error(result.complaint);
  return result.error;
}

void runner::estimate(contestant& c) {
  c.result->product_error = check_once(c.call);
  c.enqueue_call = [this, spec = c.call, slots = c.slots](int index, cudaStream_t stream) {
    enqueue(spec, pool_.timed(index % slots), pool_.reference(), cublas_, stream);
  };
  c.estimate = timer_.estimate(c.enqueue_call);
}

void runner::prepare(contestant& c, l2_state l2) {
  c.repeat = choose_repetition(c.estimate, series_seconds_);
  c.calls =
      std::make_unique<repeated_calls>(c.enqueue_call, c.repeat.calls, c.call.mode != launch_mode::stream, stream_);
  if (c.call.mode == launch_mode::chain) pool_.poison_activations();
  c.calls->run();
  verifier_.check_replay(c.call, (c.repeat.calls - 1) % c.slots);
  c.result->calls = c.repeat.calls;
  // The first sample after a change of shape or kernel is not like the others.
  (void)timer_.sample(*c.calls, l2);
}

void runner::take_turns(std::vector<contestant>& contestants, l2_state l2) {
  int rounds = 0;
  for (const contestant& c : contestants) rounds = std::max(rounds, c.repeat.replays);
  for (int round = 0; round < rounds; ++round) {
    for (contestant& c : contestants) {
      if (c.calls == nullptr || !c.result->error.empty() || round >= c.repeat.replays) continue;
      c.result->samples.push_back(timer_.sample(*c.calls, l2));
    }
  }
}

std::vector<outcome> runner::measure(const point& what, const std::vector<bool>& selected) {
  std::vector<outcome> outcomes(what.members.size());
  const auto fail_all = [&](const char* reason) {
    for (outcome& o : outcomes) {
      if (o.error.empty()) o.error = reason;
    }
  };
  try {
    const slot_counts counts = count_slots(what);
    pool_.prepare(what.shape, counts);
    quantize_slots(what, counts.activations);
    stream_.synchronize();
  } catch (const std::exception& error) {
    fail_all(error.what());
    return outcomes;
  }

  std::vector<contestant> contestants;
  const auto for_each_contestant = [&](auto step) {
    for (contestant& c : contestants) {
      try {
        if (c.result->error.empty()) step(c);
      } catch (const std::exception& error) {
        c.result->error = error.what();
      }
    }
  };
  for (size_t i = 0; i < what.members.size(); ++i) {
    if (!selected[i]) continue;
    const series& member = what.members[i];
    const int slots = rotation_slots(what.l2, moved_bytes(member.kind, what.shape), evicting_);
    std::optional<q4fuse::gemm_plan> forced;
    if (member.config.has_value()) {
      forced.emplace();
      forced->config = *member.config;
      forced->math = what.math;
    }
    contestants.push_back({{member.kind, what.shape, what.math, forced, what.mode}, slots, &outcomes[i]});
  }
  std::map<pipeline_kind, double> fastest;
  for_each_contestant([&](contestant& c) {
    estimate(c);
    const auto [entry, first] = fastest.emplace(c.call.kind, c.estimate);
    if (!first) entry->second = std::min(entry->second, c.estimate);
  });
  for_each_contestant([&](contestant& c) {
    c.result->estimated = c.estimate > kHopeless * fastest.at(c.call.kind);
    if (!c.result->estimated) return prepare(c, what.l2);
    c.result->samples = {c.estimate};
    c.result->calls = 1;
  });

  try {
    take_turns(contestants, what.l2);
  } catch (const std::exception& error) {
    fail_all(error.what());
  }
  return outcomes;
}

}  // namespace q4fuse_bench
