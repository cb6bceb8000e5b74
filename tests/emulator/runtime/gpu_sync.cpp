// Where threads wait for each other: barriers and warp-wide operations.

#include "emulator/runtime/gpu.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace q4fuse_emulator {

void gpu::raise_divergence(fault_kind kind, int other_thread, const site& other_where, const site& where,
                           std::string detail) const {
  fault_report report{kind};
  report.other_thread = other_thread;
  report.other_where = other_where;
  report.detail = std::move(detail);
  raise(std::move(report), where);
}

stamp gpu::next_interval() {
  if (interval_ >= kLastInterval) throw std::overflow_error("too many barriers in one CTA for the emulator");
  return make_stamp(++interval_, 0);
}

void gpu::block(const char* waits_for, bool at_barrier, const site& where) {
  thread_state& self = *current_;
  self.at_barrier = at_barrier;
  self.waits_for = waits_for;
  self.waits_at = where;
  self.warp->runnable &= ~(1u << (self.index % kWarpSize));
  self.execution.suspend();
  if (unwinding_) throw unwound{};
}

void gpu::sync_named(int barrier, int threads, const site& where) {
  if (barrier < 1 || barrier >= kCtaBarriers || threads < kWarpSize || threads % kWarpSize != 0) {
    raise_divergence(fault_kind::barrier_divergence, -1, {}, where,
                     "barrier " + std::to_string(barrier) + " of " + std::to_string(threads) + " threads cannot exist");
  }
  sync(barrier, threads, where);
}

void gpu::sync(int barrier, int threads, const site& where) {
  const bool whole = barrier <= 0;  // all threads of the CTA or cluster, from one place
  if (barrier < 0 && current_->warp->arrived_at_cluster) {
    raise_divergence(fault_kind::barrier_divergence, -1, {}, where, "the warp has arrived at it and not waited");
  }
  barrier_state& state =
      barrier < 0 ? barriers_.back() : barriers_[static_cast<size_t>(current_->rank * kCtaBarriers + barrier)];
  state.arrived.push_back(current_->index);
  if (state.arrived.size() == 1) {
    state.expected = threads;
  } else if (const thread_state& first = threads_[static_cast<size_t>(state.arrived[0])];
             state.expected != threads || (whole && first.waits_at != where)) {
    raise_divergence(fault_kind::barrier_divergence, first.index, first.waits_at, where,
                     "two threads stand at different barriers");
  }
  if (static_cast<int>(state.arrived.size()) < threads) {
    block(barrier == 0 ? "sync_cta" : whole ? "sync_cluster" : "sync_named", true, where);
    return;
  }

  ++totals_.barriers;
  warp_set warps;
  bool dependencies_done = false;
  for (const int index : state.arrived) {
    warps |= one_warp(index / kWarpSize);
    dependencies_done |= threads_[static_cast<size_t>(index)].dependencies_done;
  }
  if (static_cast<int>(warps.count()) * kWarpSize != threads) {
    raise_divergence(fault_kind::barrier_divergence, -1, {}, where, "it is full, but not with whole warps");
  }
  for (const int index : state.arrived) {
    thread_state& thread = threads_[static_cast<size_t>(index)];
    thread.dependencies_done = dependencies_done;
    thread.warp->runnable |= 1u << (index % kWarpSize);
  }
  if (barrier == kRelaxedClusterBarrier) {
    cluster_accesses_ = {};
  } else {
    clock_.pass_barrier(warps, next_interval());
  }
  state.arrived.clear();
}

bool gpu::arrive(const char* name, void* operand, const site& where) {
  warp_state& warp = *current_->warp;
  const int first_thread = current_->index / kWarpSize * kWarpSize;
  const int lane = current_->index % kWarpSize;
  if (warp.exited != 0) {
    raise_divergence(fault_kind::warp_divergence, first_thread + __builtin_ctz(warp.exited), {}, where,
                     "the other side has ended and cannot take part in " + std::string(name));
  }
  if (warp.arrived == 0) {
    warp.operation = name;
    warp.where = where;
    warp.first_lane = lane;
  } else if (warp.where != where || std::strcmp(warp.operation, name) != 0) {
    raise_divergence(fault_kind::warp_divergence, first_thread + warp.first_lane, warp.where, where,
                     std::string(name) + " here, " + warp.operation + " there");
  }
  warp.operands[static_cast<size_t>(lane)] = operand;
  warp.arrived |= 1u << lane;
  if (warp.arrived != ~0u) return false;
  ++totals_.warp_operations;
  return true;
}

void gpu::sync_warp(const site& where) {
  warp_operation("sync_warp", *current_, where, [this](const std::array<thread_state*, kWarpSize>& lanes) {
    bool dependencies_done = false;
    for (const thread_state* lane : lanes) dependencies_done |= lane->dependencies_done;
    for (thread_state* lane : lanes) lane->dependencies_done = dependencies_done;
    clock_.pass_barrier(one_warp(current_->index / kWarpSize), next_interval());
  });
}

void gpu::set_registers(int registers, bool raised, const site& where) {
  const register_change change{registers, raised, where};
  warp_operation(raised ? "raise_registers" : "lower_registers", *current_, where, [&](const auto&) {
    std::vector<register_change>& mine = current_->warp->register_changes;
    if (!mine.empty() && (raised ? registers < mine.back().registers : registers > mine.back().registers)) {
      raise_divergence(fault_kind::warp_divergence, current_->index, mine.back().where, where,
                       "it has " + std::to_string(mine.back().registers) + " registers, and asks for " +
                           std::to_string(registers) + (raised ? " as more" : " as fewer"));
    }
    mine.push_back(change);
  });
}

/// At the end of the CTAs, because nothing brings the warps of a warpgroup together there.
void gpu::check_register_changes() {
  constexpr size_t kWarps = kWarpgroupSize / kWarpSize;
  const auto warps_of_cta = static_cast<size_t>(request_.threads / kWarpSize);
  for (size_t w = 0; w < warps_.size(); ++w) {
    const size_t in_cta = w % warps_of_cta / kWarps * kWarps;
    const size_t first = w / warps_of_cta * warps_of_cta + in_cta;
    const std::vector<register_change>& expected = warps_[first].register_changes;
    const std::vector<register_change>& changes = warps_[w].register_changes;
    for (size_t i = 0; i < std::max(expected.size(), changes.size()); ++i) {
      const bool whole = in_cta + kWarps <= warps_of_cta;
      if (whole && i < expected.size() && i < changes.size() && expected[i].registers == changes[i].registers &&
          expected[i].raised == changes[i].raised) {
        continue;
      }
      current_ = &threads_[w * kWarpSize];
      raise_divergence(fault_kind::warp_divergence, static_cast<int>(first) * kWarpSize,
                       i < expected.size() ? expected[i].where : site{}, i < changes.size() ? changes[i].where : site{},
                       "the warps of a warpgroup ask for different registers");
    }
  }
}

void gpu::arrive_cluster(bool release, const site& where) {
  warp_operation("arrive_cluster", *current_, where, [&](const std::array<thread_state*, kWarpSize>&) {
    if (current_->warp->arrived_at_cluster) {
      raise_divergence(fault_kind::barrier_divergence, -1, {}, where, "the warp has arrived at it and not waited");
    }
    current_->warp->arrived_at_cluster = true;
    arrivals_.passed_on.join(std::exchange(current_->warp->fenced, {}));
    if (release) {
      const int warp = current_->index / kWarpSize;
      clock_.pass_barrier(one_warp(warp), next_interval());
      arrivals_.passed_on.join(clock_.known_to_warp(warp));
    }
    if (++arrivals_.warps < request_.cluster_threads() / kWarpSize) return;
    ++totals_.barriers;
    arrivals_.warps = 0;
    ++arrivals_.completed;
    arrivals_.learned = std::exchange(arrivals_.passed_on, {});
    for (const int index : std::exchange(arrivals_.waiting, {})) {
      threads_[static_cast<size_t>(index)].warp->runnable |= 1u << (index % kWarpSize);
    }
  });
}

void gpu::fence_mbarrier_init() {
  current_->warp->fenced.join(clock_.arrive(current_->index, [this] { return next_interval(); }));
}

void gpu::wait_cluster(const site& where) {
  warp_state& warp = *current_->warp;
  if (!warp.arrived_at_cluster) {
    raise_divergence(fault_kind::barrier_divergence, -1, {}, where, "the warp has not arrived at it");
  }
  if (warp.cluster_waits == arrivals_.completed) {
    arrivals_.waiting.push_back(current_->index);
    block("wait_cluster", true, where);
  }
  warp_operation("wait_cluster", *current_, where, [&](const std::array<thread_state*, kWarpSize>&) {
    warp.arrived_at_cluster = false;
    ++warp.cluster_waits;
    clock_.learn_warp(current_->index / kWarpSize, arrivals_.learned);
  });
}

void gpu::note_cluster_access(int rank, const site& where) {
  fault_report report{fault_kind::cluster_memory_gone};
  if (rank < 0 || rank >= request_.cluster_ctas) {
    report.detail = "rank " + std::to_string(rank) + " of a cluster of " + std::to_string(request_.cluster_ctas);
    raise(std::move(report), where);
  }
  if (exited_of_[static_cast<size_t>(rank)] == request_.threads) {
    report.detail = "the CTA of rank " + std::to_string(rank) + " has ended";
    raise(std::move(report), where);
  }
  cluster_accesses_[static_cast<size_t>(rank)][static_cast<size_t>(current_->index / kWarpSize)] = {now().now, where};
}

/// When the last thread of a CTA ends, all accesses of others to its memory must lie in the past of one of its threads:
/// it ends when all of them have ended, in whatever order.
void gpu::check_cluster_accesses() {
  const auto rank = static_cast<size_t>(current_->rank);
  if (request_.cluster_ctas == 1) return;
  ended_with_[rank].join(*now().known);
  if (exited_of_[rank] < request_.threads) return;
  for (const cluster_access& access : cluster_accesses_[rank]) {
    if (access.when == 0 || thread_of(access.when) / request_.threads == current_->rank ||
        ended_with_[rank].contains(access.when)) {
      continue;
    }
    fault_report report{fault_kind::cluster_memory_gone};
    report.other_thread = thread_of(access.when);
    report.other_where = access.where;
    report.detail = "the CTA ends while the other side may still access its shared memory";
    raise(std::move(report), {});
  }
}

}  // namespace q4fuse_emulator
