#pragma once

// Who accessed a byte, and when: enough to decide exactly whether two accesses of one CTA are ordered by barriers.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace q4fuse_emulator {

inline constexpr int kWarpSize = 32;
inline constexpr int kMaxWarps = 32;

/// Number of an interval between barriers (high bits) and who (low 10 bits): a thread index, or two lanes of one warp.
/// Every barrier opens intervals with a new, larger number; numbers go on rising from CTA to CTA, so that an old stamp
/// means "before".
using stamp = uint32_t;

inline constexpr int kWhoBits = 10;
inline constexpr stamp kWhoMask = (1u << kWhoBits) - 1;
inline constexpr stamp kLastInterval = (1u << (32 - kWhoBits)) - 2;
/// Later than every interval: an asynchronous copy that its thread (the low bits) has not waited for.
inline constexpr stamp kInFlight = ~kWhoMask;

constexpr stamp make_stamp(uint32_t interval, int thread) { return interval << kWhoBits | static_cast<stamp>(thread); }
constexpr int thread_of(stamp s) { return static_cast<int>(s & kWhoMask); }

/// For each warp the first stamp that is not yet known to lie in the past.
using horizon = std::array<stamp, kMaxWarps>;

/// What each warp knows of the others' progress: the vector clocks of the CTA.
class barrier_clock {
 public:
  /// A barrier of the warps in `mask` opens interval `fresh`: each knows what any of them knew, and that the others
  /// have arrived. The mask of all warps is the CTA's barrier, that of one warp the warp's.
  void pass_barrier(uint32_t mask, stamp fresh) {
    horizon merged{};
    for (int w = 0; w < warps_; ++w) {
      if ((mask >> w & 1) == 0) continue;
      for (int u = 0; u < warps_; ++u) merged[u] = std::max(merged[u], known_[w][u]);
    }
    for (int w = 0; w < warps_; ++w) {
      if (mask >> w & 1) merged[w] = fresh;
    }
    for (int w = 0; w < warps_; ++w) {
      if ((mask >> w & 1) == 0) continue;
      known_[w] = merged;
      oldest_[w] = *std::min_element(merged.begin(), merged.begin() + warps_);
    }
  }
  void begin_cta(int warps, stamp fresh) {
    warps_ = warps;
    pass_barrier(~0u, fresh);
  }
  const horizon& known(int warp) const { return known_[static_cast<size_t>(warp)]; }
  stamp interval(int warp) const { return known(warp)[static_cast<size_t>(warp)]; }
  stamp oldest(int warp) const { return oldest_[static_cast<size_t>(warp)]; }

 private:
  int warps_ = 0;
  std::array<horizon, kMaxWarps> known_{};
  horizon oldest_{};
};

/// The running thread's view of time.
struct moment {
  int warp;
  stamp lane;
  stamp warp_now;  ///< start of its warp's interval
  stamp now;       ///< its own stamp: warp_now and its index
  stamp oldest;    ///< no access before this one is concurrent
  stamp fences;    ///< proxy fences that the thread has passed
  const horizon* known;
};

/// Whether another access may happen at the same time as what the running thread does now.
inline bool is_concurrent(stamp other, const moment& m) {
  return other != m.now && other >= (*m.known)[static_cast<size_t>(thread_of(other)) / kWarpSize];
}

/// One stamp for each byte of an access: vector operations of GCC and Clang, whose comparisons give 0 or all ones.
template <size_t kBytes>
using stamps [[gnu::vector_size(kBytes * sizeof(stamp))]] = stamp;

/// Non-zero wherever is_concurrent is true, and elsewhere only after barriers of some of the CTA's warps: the quick
/// check before the exact one.
template <class Stamps>
[[gnu::always_inline]] inline auto may_be_concurrent(const Stamps& other, const moment& m) {
  const auto same_warp = ((other ^ m.now) & (kWhoMask & ~stamp{kWarpSize - 1})) == 0;
  return (other >= m.oldest) & (other != m.now) & ~(same_warp & (other < m.warp_now));
}

}  // namespace q4fuse_emulator
