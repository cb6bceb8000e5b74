#pragma once

// What the emulator reports when a kernel does something that a GPU would let pass, hang on, or answer at random.

#include <cstdint>
#include <stdexcept>
#include <string>

namespace q4fuse_emulator {

enum class fault_kind {
  shared_out_of_bounds,     ///< beyond the dynamic shared memory of the launch
  shared_unwritten_read,    ///< a byte that nothing has written since the CTA began
  shared_race,              ///< two threads, at least one write, no barrier between them
  async_read_before_wait,   ///< destination of a cp.async that its thread has not waited for
  async_overwrite,          ///< a store or a second copy into such a destination
  misaligned_access,        ///< address not a multiple of the access's alignment
  global_out_of_bounds,     ///< not wholly inside one allocation
  global_race,              ///< two threads of one launch, at least one write, no barrier between them
  early_dependent_access,   ///< data of a kernel that may still be running, before wait_for_dependencies
  cluster_memory_gone,      ///< shared memory of a CTA that may have ended
  barrier_divergence,       ///< sync_cta that not every thread reaches, or reached from two places
  mbarrier_invalid,         ///< an operation on what is no mbarrier, or no longer one
  mbarrier_overrun,         ///< an arrival that no order keeps out of the phase before, which has all its arrivals
  mbarrier_ambiguous_wait,  ///< a wait that no order keeps from meaning the phase two before or after
  warp_divergence,          ///< an operation of a warp or warpgroup that not every thread reaches
  register_fence_missing,   ///< the first wgmma of a group without wgmma_fence before it
  proxy_fence_missing,      ///< wgmma reads what its writer has not passed on by fence_proxy_async and a barrier
  wgmma_registers_touched,  ///< accumulators or A registers of a wgmma that has not been waited for
  wgmma_without_wait,       ///< a thread that ends before its last wgmma
  invalid_descriptor,       ///< a matrix descriptor that the emulator cannot follow
};

constexpr const char* to_string(fault_kind kind) {
  switch (kind) {
    case fault_kind::shared_out_of_bounds: return "shared memory out of bounds";
    case fault_kind::shared_unwritten_read: return "read of unwritten shared memory";
    case fault_kind::shared_race: return "race in shared memory";
    case fault_kind::async_read_before_wait: return "read of an asynchronous copy before its wait";
    case fault_kind::async_overwrite: return "asynchronous copy overwritten in flight";
    case fault_kind::misaligned_access: return "misaligned access";
    case fault_kind::global_out_of_bounds: return "global memory out of bounds";
    case fault_kind::global_race: return "race in global memory";
    case fault_kind::early_dependent_access: return "access before wait_for_dependencies";
    case fault_kind::cluster_memory_gone: return "access to shared memory of a CTA that may have ended";
    case fault_kind::barrier_divergence: return "barrier that not all threads reach";
    case fault_kind::mbarrier_invalid: return "operation on what is no mbarrier";
    case fault_kind::mbarrier_overrun: return "more arrivals than an mbarrier counts in a phase";
    case fault_kind::mbarrier_ambiguous_wait: return "wait that may mean either of two phases of an mbarrier";
    case fault_kind::warp_divergence: return "operation of a warp or warpgroup that not all threads reach";
    case fault_kind::register_fence_missing: return "wgmma without a fence of its registers";
    case fault_kind::proxy_fence_missing: return "wgmma reads what no proxy fence has passed on";
    case fault_kind::wgmma_registers_touched: return "registers of a wgmma touched in flight";
    case fault_kind::wgmma_without_wait: return "thread ends before its wgmma";
    case fault_kind::invalid_descriptor: return "matrix descriptor of an unknown layout";
  }
  return "unknown fault";
}

/// A place in the kernel's source. As a default argument `here()` names the caller.
struct site {
  const char* file = "";
  int line = 0;
  const char* function = "";

  static constexpr site here(const char* file = __builtin_FILE(), int line = __builtin_LINE(),
                             const char* function = __builtin_FUNCTION()) {
    return {file, line, function};
  }
};

bool operator==(const site& a, const site& b);
inline bool operator!=(const site& a, const site& b) { return !(a == b); }
std::string to_string(const site& where);

/// Everything known about a fault. Absent numbers are -1, absent texts empty.
struct fault_report {
  fault_kind kind;
  std::string kernel = {};
  int64_t cta = -1;
  int thread = -1;
  site where = {};
  int bytes = -1;           ///< size of the access
  int64_t offset = -1;      ///< from the start of shared memory, or of the allocation; may be negative or past its end
  std::string buffer = {};  ///< allocation, of a global access
  int64_t other_cta = -1;
  int other_thread = -1;  ///< the other side of a race or of a copy in flight
  site other_where = {};
  std::string detail = {};
};

std::string to_string(const fault_report& report);

class fault : public std::runtime_error {
 public:
  explicit fault(fault_report report) : std::runtime_error(to_string(report)), report_(std::move(report)) {}
  const fault_report& report() const { return report_; }

 private:
  fault_report report_;
};

}  // namespace q4fuse_emulator
