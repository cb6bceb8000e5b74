// Barriers in shared memory. Arrivals release and waits acquire, each for its own thread.

#include "emulator/runtime/gpu.hpp"

#include <utility>

namespace q4fuse_emulator {
namespace {

fault_report report_of(fault_kind kind, size_t offset, std::string detail) {
  fault_report report{kind};
  report.offset = static_cast<int64_t>(offset);
  report.bytes = sizeof(kMbarrierContent);
  report.detail = std::move(detail);
  return report;
}

}  // namespace

void gpu::mbarrier_init(void* barrier, int arrivals, const site& where) {
  constexpr int kMostArrivals = (1 << 20) - 1;
  const size_t offset = shared_offset<uint64_t>(barrier, where);
  if (arrivals < 1 || arrivals > kMostArrivals) {
    raise(report_of(fault_kind::mbarrier_invalid, offset, "it cannot count " + std::to_string(arrivals) + " arrivals"),
          where);
  }
  if (mbarriers_.count(offset) != 0) {
    raise(report_of(fault_kind::mbarrier_invalid, offset, "it has been initialized before"), where);
  }
  store_shared(barrier, kMbarrierContent, where);
  mbarriers_[offset].expected = arrivals;
}

/// Where an address of the running thread's CTA is in another one of the cluster, which the thread accesses there.
size_t gpu::cluster_offset(const void* address, size_t bytes, size_t alignment, int rank, const site& where) {
  const size_t offset = shared_.offset_of(address);
  if (!shared_.contains(offset, bytes, current_->rank) || reinterpret_cast<uintptr_t>(address) % alignment != 0) {
    refuse_shared_address(address, bytes, alignment, where);
  }
  note_cluster_access(rank, where);
  return offset + cta_offset(rank) - cta_offset(current_->rank);
}

/// Reads the barrier, so that its initialization, or an ordinary store there, is a race unless ordered.
mbarrier& gpu::initialized(size_t offset, const site& where) {
  const auto found = mbarriers_.find(offset);
  if (found == mbarriers_.end()) {
    raise(report_of(fault_kind::mbarrier_invalid, offset, "nothing has initialized it"), where);
  }
  if (load_shared_at<uint64_t>(offset, where) != kMbarrierContent) {
    fault_report report = report_of(fault_kind::mbarrier_invalid, offset, "the other side has overwritten it");
    size_t newest = offset;
    for (size_t byte = offset; byte < offset + sizeof(kMbarrierContent); ++byte) {
      if (shared_.writer(byte) > shared_.writer(newest)) newest = byte;
    }
    report.offset = static_cast<int64_t>(newest);
    report.other_thread = thread_of(shared_.writer(newest));
    raise(std::move(report), where);
  }
  return found->second;
}

/// Raises a fault unless all of a phase lies in the running thread's past, whatever the order in which threads run.
void gpu::require_past(const mbarrier::phase& phase, fault_kind kind, size_t offset, const site& where) const {
  const moment m = now();
  for (const mbarrier::phase::arrival& other : phase.arrivals) {
    if (!is_concurrent(other.when, m)) continue;
    fault_report report = report_of(kind, offset, "nothing orders it behind the phase of the other side's arrival");
    report.other_thread = thread_of(other.when);
    report.other_where = other.where;
    raise(std::move(report), where);
  }
}

/// The arrival that completes a phase begins the next. One that is counted there although it might have come before
/// that is one too many for its phase.
void gpu::arrive_at(size_t offset, int64_t bytes, const site& where) {
  mbarrier& target = initialized(offset, where);
  require_past(target.before, fault_kind::mbarrier_overrun, offset, where);
  const moment m = now();
  target.running.arrivals.push_back({m.now, where});
  target.running.passed_on.join(clock_.arrive(current_->index, [this] { return next_interval(); }));
  target.running.dependencies_done |= current_->dependencies_done;
  target.running.expected_bytes += bytes;
  end_phase_if_due(offset, where);
}

void gpu::mbarrier_arrive_expecting(void* barrier, int64_t bytes, const site& where) {
  arrive_at(shared_offset<uint64_t>(barrier, where), bytes, where);
}

void gpu::mbarrier_arrive_cluster(void* barrier, int rank, const site& where) {
  arrive_at(cluster_offset(barrier, sizeof(uint64_t), alignof(uint64_t), rank, where), 0, where);
}

/// Once all have arrived, and all copies that they expect: those from other CTAs may come last.
void gpu::end_phase_if_due(size_t offset, const site& where) {
  mbarrier& target = mbarriers_.at(offset);
  if (static_cast<int>(target.running.arrivals.size()) < target.expected) return;
  if (target.running.copied_bytes < target.running.expected_bytes) return;
  if (target.running.copied_bytes > target.running.expected_bytes) {
    raise(report_of(fault_kind::mbarrier_invalid, offset,
                    "its phase expects " + std::to_string(target.running.expected_bytes) + " bytes of copies, and " +
                        std::to_string(target.running.copied_bytes) + " were asked for"),
          where);
  }

  ++totals_.barriers;
  ++target.completed;
  target.still_before = std::exchange(target.before, std::exchange(target.running, {}));
  for (const int index : std::exchange(target.waiting, {})) {
    thread_state& thread = threads_[static_cast<size_t>(index)];
    clock_.learn(index, target.before.passed_on);
    thread.dependencies_done |= target.before.dependencies_done;
    thread.mbarrier = -1;
    thread.warp->runnable |= 1u << (index % kWarpSize);
  }
}

void gpu::note_tensor_copy(const void* shared, size_t alignment, void* barrier, int64_t bytes, const site& where) {
  const size_t offset = shared_.offset_of(shared);
  if ((offset - cta_offset(current_->rank)) % alignment != 0) refuse_shared_address(shared, 1, alignment, where);
  initialized(shared_offset<uint64_t>(barrier, where), where).running.copied_bytes += bytes;
}

void gpu::copy_to_cluster(const void* shared, int64_t bytes, int rank, const void* barrier, const site& where) {
  struct alignas(16) unit {
    uint8_t bytes[16];
  };
  const size_t source = shared_offset<unit>(shared, where);
  if (bytes % static_cast<int64_t>(sizeof(unit)) != 0) {
    refuse_shared_address(static_cast<const uint8_t*>(shared) + bytes, 1, sizeof(unit), where);
  }
  const size_t target = cluster_offset(shared, static_cast<size_t>(bytes), alignof(unit), rank, where);
  const size_t place = cluster_offset(barrier, sizeof(uint64_t), alignof(uint64_t), rank, where);
  mbarrier& counted = initialized(place, where);
  require_past(counted.before, fault_kind::mbarrier_overrun, place, where);
  for (size_t i = 0; i < static_cast<size_t>(bytes); i += sizeof(unit)) {
    const auto content = load_shared_at<unit>(source + i, where);
    require_proxy_fences(source + i, sizeof(unit), now(), where);
    store_shared_at(target + i, content, where);
  }
  fence_proxy_async();  // it stores as products read
  counted.running.copied_bytes += bytes;
  counted.running.passed_on.join(clock_.arrive(current_->index, [this] { return next_interval(); }));
  counted.running.dependencies_done |= current_->dependencies_done;
  end_phase_if_due(place, where);
}

/// A parity stands for every other phase. Which one is meant is certain for a thread that knows the phase before to
/// have ended: had it not, the wait would end at once, and two phases early; had one more ended, it would last too
/// long.
void gpu::mbarrier_wait(void* barrier, int parity, const site& where) {
  const size_t offset = shared_offset<uint64_t>(barrier, where);
  mbarrier& target = initialized(offset, where);
  if (parity != 0 && parity != 1) {
    raise(report_of(fault_kind::mbarrier_invalid, offset, std::to_string(parity) + " is no parity"), where);
  }
  const bool ended = target.has_ended(parity);
  require_past(ended ? target.still_before : target.before, fault_kind::mbarrier_ambiguous_wait, offset, where);
  if (ended) {
    clock_.learn(current_->index, target.before.passed_on);
    current_->dependencies_done |= target.before.dependencies_done;
    return;
  }
  target.waiting.push_back(current_->index);
  current_->mbarrier = static_cast<int64_t>(offset);
  block("mbarrier_wait", true, where);
}

std::string gpu::describe_mbarrier(size_t offset) const {
  const mbarrier& barrier = mbarriers_.at(offset);
  std::string text = "for phase " + std::to_string(barrier.completed) + " of the mbarrier at byte " +
                     std::to_string(offset) + ", with " + std::to_string(barrier.running.arrivals.size()) + " of " +
                     std::to_string(barrier.expected) + " arrivals";
  if (barrier.running.copied_bytes != barrier.running.expected_bytes) {
    text += " and " + std::to_string(barrier.running.copied_bytes) + " of " +
            std::to_string(barrier.running.expected_bytes) + " bytes of copies";
  }
  const char* separator = ": of threads ";
  for (const mbarrier::phase::arrival& arrival : barrier.running.arrivals) {
    text += separator + std::to_string(thread_of(arrival.when));
    separator = ", ";
  }
  return text;
}

}  // namespace q4fuse_emulator
