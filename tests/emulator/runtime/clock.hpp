#pragma once

// Who accessed a byte, and when: enough to decide exactly whether two accesses of one CTA, or of the CTAs of a cluster,
// are ordered by barriers.

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace q4fuse_emulator {

inline constexpr int kWarpSize = 32;
/// Of a cluster: its CTAs' threads are counted through.
inline constexpr int kMaxWarps = 128;
inline constexpr int kMaxThreads = kMaxWarps * kWarpSize;

/// Number of an interval between barriers (high bits) and who (low 12 bits): a thread index, or two lanes of one warp.
/// Every barrier opens intervals with a new, larger number; numbers go on rising from CTA to CTA, so that an old stamp
/// means "before".
using stamp = uint32_t;

inline constexpr int kWhoBits = 12;
inline constexpr stamp kWhoMask = (1u << kWhoBits) - 1;
inline constexpr stamp kLastInterval = (1u << (32 - kWhoBits)) - 2;
/// Later than every interval: an asynchronous copy that its thread (the low bits) has not waited for.
inline constexpr stamp kInFlight = ~kWhoMask;

constexpr stamp make_stamp(uint32_t interval, int thread) { return interval << kWhoBits | static_cast<stamp>(thread); }
constexpr int thread_of(stamp s) { return static_cast<int>(s & kWhoMask); }
constexpr stamp interval_of(stamp s) { return s & ~kWhoMask; }
constexpr size_t warp_of(stamp s) { return (s & kWhoMask) / kWarpSize; }

/// Warps of a cluster.
using warp_set = std::bitset<kMaxWarps>;
inline warp_set one_warp(int warp) { return warp_set{1} << static_cast<size_t>(warp); }

/// What is known to lie in the past: a vector clock with an entry a warp, whose lanes its barriers bring together, and
/// one for each thread that has arrived at an mbarrier without them.
struct past {
  std::array<stamp, kMaxWarps> warps{};  ///< the first stamp of each warp that is not known to
  stamp oldest = 0;                      ///< the smallest of these
  std::vector<stamp> threads;            ///< by thread: what that thread did before this stamp is known to, as well

  bool contains(stamp other) const {
    return other < warps[warp_of(other)] || (!threads.empty() && contains_of_thread(other));
  }
  void add_thread(stamp until);
  void join(const past& other);
  /// To be called after changes: `count` warps exist.
  void settle(int count);

 private:
  bool contains_of_thread(stamp other) const;
};

/// What each thread knows of the others' progress: the vector clocks of the cluster. Most of it the lanes of a warp
/// have in common; what a thread learns from an mbarrier is its own until the warp's next barrier.
class barrier_clock {
 public:
  void begin_cta(int warps, stamp fresh);
  /// A barrier of the warps in `mask` opens interval `fresh`: each knows what any of their threads knew, and that the
  /// others have arrived. The mask of all warps of a CTA is its barrier, that of one warp the warp's.
  void pass_barrier(const warp_set& mask, stamp fresh);
  /// One thread passes on what it knows and what it has done: the result. What it does next belongs to an interval of
  /// its own, later than that of its warp. Lanes that have arrived equally often share it, and `next_interval` is asked
  /// only by the first: what they do there together stays together.
  template <class NextInterval>
  past arrive(int thread, const NextInterval& next_interval) {
    std::vector<stamp>& opened = opened_[static_cast<size_t>(thread / kWarpSize)];
    auto next = std::upper_bound(opened.begin(), opened.end(), interval(thread));
    if (next == opened.end()) next = opened.insert(next, next_interval());
    past passed_on = known(thread);
    passed_on.add_thread(*next | static_cast<stamp>(thread));
    alone_[static_cast<size_t>(thread)] = *next;
    return passed_on;
  }
  /// One thread takes over what others have passed on.
  void learn(int thread, const past& passed_on);
  /// And a whole warp.
  void learn_warp(int warp, const past& passed_on);
  /// What all lanes of a warp know.
  const past& known_to_warp(int warp) const { return of_warp_[static_cast<size_t>(warp)]; }

  const past& known(int thread) const {
    const auto warp = static_cast<size_t>(thread / kWarpSize);
    return (learned_[warp] >> (thread % kWarpSize) & 1) != 0 ? of_thread_[static_cast<size_t>(thread)] : of_warp_[warp];
  }
  /// When the warp has last passed a barrier.
  stamp warp_interval(int warp) const { return of_warp_[static_cast<size_t>(warp)].warps[static_cast<size_t>(warp)]; }
  stamp interval(int thread) const {
    return std::max(alone_[static_cast<size_t>(thread)], warp_interval(thread / kWarpSize));
  }

 private:
  int warps_ = 0;
  std::array<past, kMaxWarps> of_warp_;
  std::array<uint32_t, kMaxWarps> learned_{};  ///< lanes for which of_thread_ stands instead
  std::vector<past> of_thread_ = std::vector<past>(kMaxThreads);
  std::array<std::vector<stamp>, kMaxWarps> opened_;  ///< intervals of single lanes since the warp's barrier
  std::array<stamp, kMaxThreads> alone_{};            ///< such an interval that a thread is in, unless older than that
};

/// The running thread's view of time.
struct moment {
  int warp;
  stamp lane;
  stamp warp_now;  ///< start of its warp's interval
  stamp now;       ///< its own stamp: its interval, which may be later than its warp's, and its index
  stamp fences;    ///< proxy fences that the thread has passed
  const past* known;
};

/// Whether another access may happen at the same time as what the running thread does now.
inline bool is_concurrent(stamp other, const moment& m) {
  return thread_of(other) == thread_of(m.now) ? other > m.now : !m.known->contains(other);
}

/// One stamp for each byte of an access: vector operations of GCC and Clang, whose comparisons give 0 or all ones.
template <size_t kBytes>
using stamps [[gnu::vector_size(kBytes * sizeof(stamp))]] = stamp;

/// Non-zero wherever is_concurrent is true, and elsewhere only after barriers of some of the cluster's warps or
/// threads: the quick check before the exact one.
template <class Stamps>
[[gnu::always_inline]] inline auto may_be_concurrent(const Stamps& other, const moment& m) {
  const auto same_warp = ((other ^ m.now) & (kWhoMask & ~stamp{kWarpSize - 1})) == 0;
  return (other >= m.known->oldest) & (other != m.now) & ~(same_warp & (other < m.warp_now));
}

}  // namespace q4fuse_emulator
