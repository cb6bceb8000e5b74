// Launching and scheduling: CTAs, warps, fibers.

#include "emulator/runtime/gpu.hpp"

#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace q4fuse_emulator {

gpu device;

namespace {

uint64_t next_random(uint64_t& state) {  // xorshift64 (Marsaglia 2003)
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/// "0-3, 7" for the indices that a predicate picks out of 0..count-1.
template <class Predicate>
std::string ranges(int count, const Predicate& picked) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    if (!picked(i)) continue;
    int last = i;
    while (last + 1 < count && picked(last + 1)) ++last;
    text += (text.empty() ? "" : ", ") + std::to_string(i) + (last > i ? "-" + std::to_string(last) : "");
    i = last;
  }
  return text;
}

}  // namespace

gpu::gpu() {
  if (const char* seed = std::getenv("Q4FUSE_EMULATOR_SEED")) settings.schedule_seed = std::strtoull(seed, nullptr, 10);
}

gpu::~gpu() {
  closing_ = true;
  for (thread_state& thread : threads_) thread.execution.resume();
}

void gpu::launch(const launch_request& request, const std::function<void()>& kernel) {
  if (request.threads < 1 || request.cluster_threads() > kMaxThreads || request.threads % kWarpSize != 0) {
    throw std::invalid_argument("launch of " + std::to_string(request.cluster_threads()) +
                                " threads: need whole warps");
  }
  ++totals_.launches;
  ++launches_of_[request.kernel];
  if (!request.programmatic_dependent_launch) first_unfinished_launch_ = totals_.launches;
  request_ = request;
  kernel_ = &kernel;
  first_serial_ = cta_serial_ + 1;
  reserve_threads(request.cluster_threads());
  for (int64_t cta = 0; cta < request.ctas; cta += request.cluster_ctas) {
    ++cta_serial_;
    try {
      run_cta(cta);
    } catch (const fault& found) {
      rethrow_located(found.report(), cta);
    }
  }
  totals_.ctas += request.ctas;
}

/// Names the kernel and, of a race, the other side's place: the CTA runs a second time, in the same order, and is
/// watched. Keeping a place for every byte at all times would cost more than all other checks together.
void gpu::rethrow_located(fault_report report, int64_t cta) {
  if (report.kind == fault_kind::shared_race || report.kind == fault_kind::proxy_fence_missing) {
    watch_.thread = report.other_thread;
    watch_.offset = static_cast<size_t>(report.offset);
    watch_.write = report.detail.find("wrote") != std::string::npos;
    watch_.last = {};
    try {
      run_cta(cta);
    } catch (const fault&) {
      report.other_where = watch_.last;
    }
    watch_.thread = -1;
  }
  if (report.thread >= 0) {
    report.cta += report.thread / request_.threads;
    report.thread %= request_.threads;
  }
  if (report.other_thread >= 0) {
    report.other_cta += report.other_thread / request_.threads;
    report.other_thread %= request_.threads;
  }
  report.kernel = kernel_name(request_.kernel);
  throw fault(std::move(report));
}

void gpu::watch(size_t offset, size_t bytes, bool write, const site& where) {
  if (write == watch_.write && watch_.offset - offset < bytes) watch_.last = where;
}

void gpu::reserve_threads(int count) {
  if (!stacks_) stacks_ = std::make_unique<stack_slab>(kMaxThreads);
  while (static_cast<int>(threads_.size()) < count) {
    const auto index = static_cast<int>(threads_.size());
    thread_state& thread = threads_.emplace_back();
    thread.index = index;
    const stack_slab::stack stack = (*stacks_)[index];
    thread.execution.create(stack.bottom, stack.bytes, &gpu::thread_main, &thread);
  }
}

/// A fiber runs one thread of CTA after CTA, so that contexts and stacks are made once.
void gpu::thread_main(void* thread) {
  auto& self = *static_cast<thread_state*>(thread);
  while (!device.closing_) {
    if (!device.unwinding_) device.run_thread(self);
    self.exited = true;
    self.execution.suspend();
  }
}

void gpu::run_thread(thread_state& thread) {
  try {
    (*kernel_)();
    end_thread(thread);
  } catch (const unwound&) {
    return;
  } catch (...) {
    if (!failure_) failure_ = std::current_exception();
  }
}

void gpu::end_thread(thread_state& thread) {
  ++exited_of_[static_cast<size_t>(thread.rank)];
  check_cluster_accesses();
  land_copies(thread.copies.size());  // the hardware completes what nobody waited for
  thread.groups.clear();
  thread.committed = 0;
  if (!thread.products.requests.empty()) {
    raise(fault_report{fault_kind::wgmma_without_wait}, thread.products.requests.front().where);
  }
  warp_state& warp = *thread.warp;
  const uint32_t bit = 1u << (thread.index % kWarpSize);
  warp.runnable &= ~bit;
  warp.exited |= bit;
  ++exited_;
  if (warp.arrived != 0) {
    raise_divergence(fault_kind::warp_divergence, thread.index / kWarpSize * kWarpSize + warp.first_lane, warp.where,
                     {}, "the thread ended while other lanes wait in " + std::string(warp.operation));
  }
}

void gpu::run_cta(int64_t cta) {
  if (interval_ > kLastInterval / 2) {
    shared_.clear_shadow();
    interval_ = 0;
  }
  cta_ = cta;
  const int threads = request_.cluster_threads();
  const int warps = threads / kWarpSize;
  const stamp first = next_interval();
  clock_.begin_cta(warps, first);
  shared_.begin_cta(request_.shared_bytes, warps, first);
  for (barrier_state& barrier : barriers_) barrier.arrived.clear();
  mbarriers_.clear();
  exited_ = 0;
  exited_of_ = {};
  ended_with_ = {};
  cluster_accesses_ = {};
  arrivals_ = {};
  warps_.assign(static_cast<size_t>(warps), warp_state{});
  for (warp_state& warp : warps_) warp.runnable = ~0u;
  waiting_for_wgmma_.assign(static_cast<size_t>(warps) / (kWarpgroupSize / kWarpSize), {});
  for (int i = 0; i < threads; ++i) {
    thread_state& thread = threads_[static_cast<size_t>(i)];
    thread.rank = i / request_.threads;
    thread.warp = &warps_[static_cast<size_t>(i / kWarpSize)];
    thread.exited = false;
    thread.mbarrier = -1;
    thread.proxy_fences.clear();
    thread.products = {};
    thread.dependencies_done = !request_.programmatic_dependent_launch;
  }
  try {
    settings.schedule_seed == 0 ? run_in_order() : run_at_random();
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    if (exited_ != threads) report_stuck_threads();
    check_register_changes();
  } catch (...) {
    unwind_threads();
    throw;
  }
}

void gpu::resume(thread_state& thread) {
  ++totals_.fiber_switches;
  current_ = &thread;
  thread.execution.resume();
}

void gpu::run_in_order() {
  for (bool progress = true; progress;) {
    progress = false;
    for (size_t w = 0; w < warps_.size(); ++w) {
      while (uint32_t lanes = warps_[w].runnable) {
        progress = true;
        for (; lanes != 0; lanes &= lanes - 1) {
          resume(threads_[w * kWarpSize + static_cast<size_t>(__builtin_ctz(lanes))]);
          if (failure_) return;
        }
      }
    }
  }
}

void gpu::run_at_random() {
  uint64_t random = settings.schedule_seed * 0x9E3779B97F4A7C15u ^ static_cast<uint64_t>(cta_ + 1);
  if (random == 0) random = 1;
  for (;;) {
    const size_t first = next_random(random) % warps_.size();
    size_t tried = 0;
    while (tried < warps_.size() && warps_[(first + tried) % warps_.size()].runnable == 0) ++tried;
    if (tried == warps_.size()) return;
    const size_t w = (first + tried) % warps_.size();
    uint32_t lanes = warps_[w].runnable;
    for (uint64_t skip = next_random(random) % static_cast<unsigned>(__builtin_popcount(lanes)); skip > 0; --skip) {
      lanes &= lanes - 1;
    }
    resume(threads_[w * kWarpSize + static_cast<size_t>(__builtin_ctz(lanes))]);
    if (failure_) return;
  }
}

void gpu::unwind_threads() {
  unwinding_ = true;
  for (int i = 0; i < request_.cluster_threads(); ++i) {
    thread_state& thread = threads_[static_cast<size_t>(i)];
    if (!thread.exited) resume(thread);
    thread.copies.clear();
    thread.groups.clear();
    thread.committed = 0;
  }
  unwinding_ = false;
  failure_ = nullptr;
  shared_.clear_shadow();  // no mark of a copy in flight may outlive its CTA
}

void gpu::report_stuck_threads() const {
  fault_report report{fault_kind::warp_divergence};
  report.cta = cta_;
  const auto waits = [this](int i) { return !threads_[static_cast<size_t>(i)].exited; };
  std::string text;
  const int threads = request_.cluster_threads();
  std::vector<bool> told(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) {
    const thread_state& thread = threads_[static_cast<size_t>(i)];
    if (!waits(i) || told[static_cast<size_t>(i)]) continue;
    if (thread.at_barrier) report.kind = fault_kind::barrier_divergence;
    if (report.thread < 0) report.thread = i, report.where = thread.waits_at;
    const auto alike = [&](int j) {
      const thread_state& other = threads_[static_cast<size_t>(j)];
      return waits(j) && other.waits_at == thread.waits_at && other.mbarrier == thread.mbarrier;
    };
    for (int j = i; j < threads; ++j) told[static_cast<size_t>(j)] = told[static_cast<size_t>(j)] || alike(j);
    text +=
        "threads " + ranges(threads, alike) + " wait in " + thread.waits_for + " (" + to_string(thread.waits_at) + ")";
    if (thread.mbarrier >= 0) text += " " + describe_mbarrier(static_cast<size_t>(thread.mbarrier));
    text += ", ";
  }
  const std::string ended = ranges(threads, [&](int i) { return !waits(i); });
  report.detail = text + (ended.empty() ? "none has ended" : "threads " + ended + " have ended");
  throw fault(std::move(report));
}

}  // namespace q4fuse_emulator
