#pragma once

// The emulated GPU: one fiber per CUDA thread, one CTA or cluster after another, on one thread of the host. Threads of
// a cluster are counted through, CTA after CTA; a CTA without one is a cluster alone. A thread runs until an
// instruction makes it wait for others, so that the order of execution is fixed by the kernel and the seed alone.
// Faults are found by order of synchronization, not by order of execution: a race is reported even if it went well.

#include "emulator/runtime/clock.hpp"
#include "emulator/runtime/fault.hpp"
#include "emulator/runtime/fiber.hpp"
#include "emulator/runtime/global_memory.hpp"
#include "emulator/runtime/mbarrier.hpp"
#include "emulator/runtime/shared_memory.hpp"
#include "emulator/runtime/wgmma.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace q4fuse_emulator {

inline constexpr int kMaxCtaThreads = 1024;
inline constexpr int kMaxClusterCtas = 8;

struct device_settings {
  int sm_count = 4;
  int64_t shared_memory_per_block = 227 * 1024;
  /// 0 runs threads in the order of their index; any other value picks the next thread at random. A correct kernel
  /// gives the same bits for all. Starts as Q4FUSE_EMULATOR_SEED of the environment.
  uint64_t schedule_seed = 0;
};

struct counters {
  int64_t launches = 0;
  int64_t ctas = 0;
  int64_t barriers = 0;  ///< of a CTA or of some of its warps, and phases of mbarriers
  int64_t warp_operations = 0;
  int64_t async_bytes = 0;
  int64_t fiber_switches = 0;
};

struct launch_request {
  const void* kernel;
  int64_t ctas;
  int threads;
  int64_t shared_bytes;
  bool programmatic_dependent_launch;
  int cluster_ctas = 1;

  int cluster_threads() const { return threads * cluster_ctas; }
};

class gpu {
 public:
  gpu();
  ~gpu();
  gpu(const gpu&) = delete;
  gpu& operator=(const gpu&) = delete;

  // For the host.
  device_settings settings;
  global_memory global;

  /// Runs a kernel to its end. Throws fault; what the kernel had written by then stays.
  void launch(const launch_request& request, const std::function<void()>& kernel);
  /// Fills `rows` rows of `row_bytes`, `pitch` bytes apart, after all launches so far; false outside an allocation.
  bool fill(void* base, size_t pitch, int value, size_t row_bytes, size_t rows);
  /// Everything launched so far has ended: no later launch can touch its data too early.
  void synchronize() { first_unfinished_launch_ = totals_.launches + 1; }
  const counters& totals() const { return totals_; }
  /// Launches by kernel name.
  std::map<std::string, int64_t> kernels_executed();

  // For the kernel: what detail/arch is made of. `where` is the place that a report names.
  int thread_index() const { return current_->index % request_.threads; }
  int64_t cta_index() const { return cta_ + current_->rank; }
  int64_t cta_count() const { return request_.ctas; }
  uint8_t* shared_base() const { return shared_.base() + cta_offset(current_->rank); }

  template <class T>
  T load_shared(const void* address, const site& where) {
    return load_shared_at<T>(shared_offset<T>(address, where), where);
  }
  /// From the same place in the memory of another CTA of the cluster.
  template <class T>
  T load_cluster(const void* address, int rank, const site& where) {
    const size_t offset = shared_offset<T>(address, where) + cta_offset(rank) - cta_offset(current_->rank);
    note_cluster_access(rank, where);
    return load_shared_at<T>(offset, where);
  }
  template <class T>
  void store_shared(void* address, const T& value, const site& where) {
    store_shared_at(shared_offset<T>(address, where), value, where);
  }
  template <class T>
  void store_cluster(void* address, int rank, const T& value, const site& where) {
    const size_t offset = shared_offset<T>(address, where) + cta_offset(rank) - cta_offset(current_->rank);
    note_cluster_access(rank, where);
    store_shared_at(offset, value, where);
  }
  template <class T>
  T load_global(const void* address, const site& where) {
    return copy_from<T>(global_read(address, sizeof(T), alignof(T), where));
  }
  template <class T>
  void store_global(void* address, const T& value, const site& where) {
    std::memcpy(global_write(address, sizeof(T), alignof(T), where), &value, sizeof(T));
  }

  /// The copy happens as late as it may: when its thread waits for it. `global` is not looked at when not valid.
  template <size_t kBytes>
  void async_copy(void* shared, const void* global, bool valid, const site& where) {
    struct alignas(kBytes) unit {
      uint8_t bytes[kBytes];
    };
    const size_t offset = shared_offset<unit>(shared, where);
    const uint8_t* source = valid ? global_read(global, kBytes, kBytes, where) : nullptr;
    if (!shared_.note_write<kBytes>(offset, now(), kInFlight | static_cast<stamp>(current_->index))) {
      refuse_write(offset, kBytes, where);
    }
    if (watch_.thread == current_->index) watch(offset, kBytes, true, where);
    current_->copies.push_back({offset, kBytes, source, where});
    totals_.async_bytes += valid ? int64_t{kBytes} : 0;
  }
  void async_commit();
  void async_wait(size_t pending_groups);

  void sync_cta(const site& where) { sync(0, request_.threads, where); }
  /// All threads of all CTAs of the cluster.
  void sync_cluster(const site& where) { sync(kClusterBarrier, request_.cluster_threads(), where); }
  /// Orders no accesses; reads of another CTA's memory before it are over after it.
  void sync_cluster_relaxed(const site& where) { sync(kRelaxedClusterBarrier, request_.cluster_threads(), where); }
  /// The halves of a barrier of the cluster, for whole warps. Without `release` the waiting learn nothing of what those
  /// that arrived had done.
  void arrive_cluster(bool release, const site& where);
  /// Has the warp's next arrival there pass on what the thread has done: all of it, not its barriers alone.
  void fence_mbarrier_init();
  void wait_cluster(const site& where);
  /// `barrier` is 1 to 15, `threads` counts whole warps.
  void sync_named(int barrier, int threads, const site& where);
  void sync_warp(const site& where);
  void wait_for_dependencies() { current_->dependencies_done = true; }

  // Barriers that lie in shared memory, as 8 bytes that hold kMbarrierContent.
  void mbarrier_init(void* barrier, int arrivals, const site& where);
  void mbarrier_arrive(void* barrier, const site& where) { mbarrier_arrive_expecting(barrier, 0, where); }
  void mbarrier_arrive_expecting(void* barrier, int64_t bytes, const site& where);
  /// At the barrier in the same place of another CTA of the cluster.
  void mbarrier_arrive_cluster(void* barrier, int rank, const site& where);
  /// That the running thread copies a tile to shared memory, whose bytes count on a barrier.
  void note_tensor_copy(const void* shared, size_t alignment, void* barrier, int64_t bytes, const site& where);
  /// Copies to the same place in the memory of another CTA of the cluster. The bytes count on the barrier in the place
  /// of `barrier` there, and whoever waits for its phase learns of them.
  void copy_to_cluster(const void* shared, int64_t bytes, int rank, const void* barrier, const site& where);
  void mbarrier_wait(void* barrier, int parity, const site& where);

  /// Changes nothing here, but every warp of the warpgroup must ask for the same changes in the same order.
  void set_registers(int registers, bool raised, const site& where);

  // Products of a warpgroup, 128 threads. `a` is four registers, or nullptr.
  void wgmma_fence() { current_->products.fenced = true; }
  void wgmma(const wgmma_product& product, void* d, const uint32_t* a, const site& where);
  void wgmma_commit();
  /// Products happen here, as late as they may.
  void wgmma_wait(size_t pending_groups, const site& where);
  void fence_proxy_async() { current_->proxy_fences.push_back(now().now); }

  /// A warp-wide operation: every lane arrives with its operand and goes on once `combine`, called with an array of 32
  /// pointers, has seen them all. Orders no memory accesses; of the warp-wide operations only sync_warp does.
  template <class Operand, class Combine>
  void warp_operation(const char* name, Operand& mine, const site& where, const Combine& combine) {
    if (arrive(name, &mine, where)) {
      std::array<Operand*, kWarpSize> operands;
      for (size_t lane = 0; lane < operands.size(); ++lane) {
        operands[lane] = static_cast<Operand*>(current_->warp->operands[lane]);
      }
      combine(operands);
      release_warp();
    } else {
      block(name, false, where);
    }
  }

 private:
  /// Thrown into a suspended thread of a CTA that has failed, to unwind its stack.
  struct unwound {};
  struct copy_in_flight {
    size_t offset;
    size_t bytes;
    const uint8_t* source;  ///< nullptr stands for zeros
    site where;
  };
  struct register_change {
    int registers;
    bool raised;
    site where;
  };
  struct warp_state {
    uint32_t runnable = 0;
    uint32_t arrived = 0;
    uint32_t exited = 0;
    const char* operation = "";
    site where;
    int first_lane = 0;
    std::array<void*, kWarpSize> operands{};
    std::vector<register_change> register_changes;
    past fenced;                      // what its next arrival at the cluster's barrier passes on, relaxed or not
    bool arrived_at_cluster = false;  // and not waited yet
    int64_t cluster_waits = 0;
  };
  struct cluster_arrivals {
    int warps = 0;
    int64_t completed = 0;
    past passed_on;  // by those who have arrived
    past learned;    // by those who wait for the last time that all had
    std::vector<int> waiting;
  };
  struct thread_state {
    int index = 0;
    int rank = 0;  // of its CTA
    warp_state* warp = nullptr;
    bool exited = true;
    bool dependencies_done = false;
    bool at_barrier = false;  // what it waits for, if it waits, is one
    const char* waits_for = "";
    site waits_at;
    int64_t mbarrier = -1;               // offset of the one that it waits on
    std::vector<copy_in_flight> copies;  // oldest first
    std::deque<size_t> groups;           // copies of each committed group
    size_t committed = 0;                // copies in all groups together
    std::vector<stamp> proxy_fences;     // when it passed them
    wgmma_queue products;
    fiber execution;
  };
  struct barrier_state {
    int expected = 0;
    std::vector<int> arrived;  // threads, in order of arrival
  };
  struct cluster_access {
    stamp when = 0;
    site where;
  };
  struct watched_byte {
    int thread = -1;
    size_t offset = 0;
    bool write = false;
    site last;
  };

  template <class T>
  static T copy_from(const uint8_t* bytes) {
    static_assert(std::is_trivially_copyable_v<T>, "copied as bytes");
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
  }
  template <class T>
  T load_shared_at(size_t offset, const site& where) {
    if (!shared_.note_read<sizeof(T)>(offset, now())) refuse_read(offset, sizeof(T), where);
    if (watch_.thread == current_->index) watch(offset, sizeof(T), false, where);
    return copy_from<T>(shared_.content(offset));
  }
  template <class T>
  void store_shared_at(size_t offset, const T& value, const site& where) {
    const moment m = now();
    if (!shared_.note_write<sizeof(T)>(offset, m, m.now)) refuse_write(offset, sizeof(T), where);
    if (watch_.thread == current_->index) watch(offset, sizeof(T), true, where);
    std::memcpy(shared_.content(offset), &value, sizeof(T));
  }
  static size_t cta_offset(int rank) { return static_cast<size_t>(rank) * shared_memory::kCtaCapacity; }
  moment now() const {
    const int thread = current_->index;
    return {thread / kWarpSize,
            static_cast<stamp>(thread % kWarpSize),
            clock_.warp_interval(thread / kWarpSize),
            clock_.interval(thread) | static_cast<stamp>(thread),
            static_cast<stamp>(current_->proxy_fences.size()),
            &clock_.known(thread)};
  }
  template <class T>
  size_t shared_offset(const void* address, const site& where) {
    const size_t offset = shared_.offset_of(address);
    if (!shared_.contains(offset, sizeof(T), current_->rank) ||
        reinterpret_cast<uintptr_t>(address) % alignof(T) != 0) {
      refuse_shared_address(address, sizeof(T), alignof(T), where);
    }
    return offset;
  }
  const uint8_t* global_read(const void* address, size_t bytes, size_t alignment, const site& where);
  uint8_t* global_write(void* address, size_t bytes, size_t alignment, const site& where);
  allocation& checked_allocation(const void* address, size_t bytes, size_t alignment, const site& where);
  void check_global_race(const allocation& target, int64_t offset, size_t bytes, const site& where) const;
  void check_dependency(const allocation& target, int64_t other_launch, int64_t offset, size_t bytes,
                        const site& where) const;

  [[noreturn]] void refuse_shared_address(const void* address, size_t bytes, size_t alignment, const site& where) const;
  [[noreturn]] void refuse_read(size_t offset, size_t bytes, const site& where) const;
  [[noreturn]] void refuse_write(size_t offset, size_t bytes, const site& where) const;
  [[noreturn]] void refuse_in_flight(fault_report report, size_t bytes, const site& where) const;
  [[noreturn]] void raise_divergence(fault_kind kind, int other_thread, const site& other_where, const site& where,
                                     std::string detail) const;
  /// Throws `report` as of the running thread.
  [[noreturn]] void raise(fault_report report, const site& where) const;
  void watch(size_t offset, size_t bytes, bool write, const site& where);

  void sync(int barrier, int threads, const site& where);
  void note_cluster_access(int rank, const site& where);
  void check_cluster_accesses();
  bool arrive(const char* name, void* operand, const site& where);
  void release_warp() { current_->warp->arrived = 0, current_->warp->runnable = ~0u; }
  void block(const char* waits_for, bool at_barrier, const site& where);
  stamp next_interval();
  size_t cluster_offset(const void* address, size_t bytes, size_t alignment, int rank, const site& where);
  mbarrier& initialized(size_t offset, const site& where);
  void arrive_at(size_t offset, int64_t bytes, const site& where);
  void end_phase_if_due(size_t offset, const site& where);
  void require_proxy_fences(size_t offset, size_t bytes, const moment& reader, const site& where);
  void require_past(const mbarrier::phase& phase, fault_kind kind, size_t offset, const site& where) const;
  std::string describe_mbarrier(size_t offset) const;
  void check_register_changes();
  void land_copies(size_t count);

  using warpgroup = std::array<thread_state*, kWarpgroupSize>;
  void multiply_oldest(const warpgroup& threads);
  void read_unit(const warpgroup& threads, const site& where, size_t offset, uint8_t* bytes);
  std::vector<uint8_t> read_operand(const warpgroup& threads, const site& where, uint64_t descriptor, int rows);
  std::vector<uint8_t> gather_operand(const warpgroup& threads);
  [[noreturn]] void raise_of(const thread_state& thread, fault_report report, const site& where);

  void reserve_threads(int count);
  static void thread_main(void* thread);
  void run_thread(thread_state& thread);
  void end_thread(thread_state& thread);
  void run_cta(int64_t cta);
  void run_in_order();
  void run_at_random();
  void resume(thread_state& thread);
  void unwind_threads();
  void report_stuck_threads() const;
  std::string kernel_name(const void* kernel);
  [[noreturn]] void rethrow_located(fault_report report, int64_t cta);

  counters totals_;
  std::map<const void*, int64_t> launches_of_;
  std::map<const void*, std::string> names_;
  int64_t first_unfinished_launch_ = 1;

  launch_request request_{};
  const std::function<void()>* kernel_ = nullptr;
  int64_t cta_ = -1;
  uint32_t cta_serial_ = 0;
  uint32_t first_serial_ = 0;  // of the launch

  shared_memory shared_;
  uint32_t interval_ = 0;
  barrier_clock clock_;
  thread_state* current_ = nullptr;
  static constexpr int kCtaBarriers = 16;
  static constexpr int kClusterBarrier = -1;
  static constexpr int kRelaxedClusterBarrier = -2;                         // the same one
  std::array<barrier_state, kMaxClusterCtas * kCtaBarriers + 1> barriers_;  // the last one is the cluster's
  std::array<std::array<cluster_access, kMaxWarps>, kMaxClusterCtas> cluster_accesses_;  // the latest, by rank and warp
  cluster_arrivals arrivals_;
  std::array<int, kMaxClusterCtas> exited_of_;    // threads of each CTA
  std::array<past, kMaxClusterCtas> ended_with_;  // what these knew
  std::map<size_t, mbarrier> mbarriers_;          // by offset in the cluster's shared memory
  int exited_ = 0;
  std::exception_ptr failure_;
  bool unwinding_ = false;
  bool closing_ = false;
  watched_byte watch_;
  std::vector<warp_state> warps_;
  std::vector<std::vector<int>> waiting_for_wgmma_;  // threads of each warpgroup, in order of arrival
  std::unique_ptr<stack_slab> stacks_;
  std::deque<thread_state> threads_;
};

/// The one device of the program.
extern gpu device;

}  // namespace q4fuse_emulator
