#pragma once

// Shared memory of the running cluster, CTA after CTA, with a shadow that tells for each byte who wrote it last, after
// how many proxy fences, and of each warp which one or two lanes read it in the warp's latest interval that did. More
// is not needed: a later write that races with any reader of a warp races with one of two lanes, and an earlier
// interval of a warp is past wherever a later one is. Only where several lanes of a warp arrive at mbarriers, each for
// itself, may a further reader be forgotten, in some orders of threads.

#include "emulator/runtime/clock.hpp"
#include "emulator/runtime/fault.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace q4fuse_emulator {

class shared_memory {
 public:
  static constexpr size_t kCtaCapacity = 228 * 1024;
  static constexpr size_t kCapacity = 8 * kCtaCapacity;

  shared_memory();
  ~shared_memory();
  shared_memory(const shared_memory&) = delete;
  shared_memory& operator=(const shared_memory&) = delete;

  /// Address that kernels see. Nothing can be accessed there: what bypasses detail/arch stops the program.
  uint8_t* base() const { return base_; }

  /// Forgets all writes older than `first`.
  void begin_cta(int64_t bytes, int warps, stamp first) {
    bytes_ = static_cast<size_t>(bytes);
    warps_ = warps;
    first_ = first;
  }
  void clear_shadow();

  /// Whether an access stays inside the memory of the CTA of a rank.
  bool contains(size_t offset, size_t bytes, int rank = 0) const {
    const size_t within = offset - static_cast<size_t>(rank) * kCtaCapacity;
    return within <= bytes_ && bytes <= bytes_ - within;
  }
  size_t offset_of(const void* address) const {
    return reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(base_);
  }
  size_t bytes() const { return bytes_; }  ///< of a CTA
  uint8_t* content(size_t offset) { return content_ + offset; }

  /// Checks and records a read; false when explain_read has something to say.
  template <size_t kBytes>
  bool note_read(size_t offset, const moment& m) {
    if constexpr (kBytes > kWidest) {
      return note_read<kWidest>(offset, m) && note_read<kBytes - kWidest>(offset + kWidest, m);
    } else {
      using vector = stamps<kBytes>;
      const auto writer = load<vector>(writer_ + offset);
      if (any((writer < first_) | may_be_concurrent(writer, m)) && !explain_read(offset, kBytes, m, nullptr))
        return false;
      const auto old = load<vector>(readers(m.warp) + offset);
      store(readers(m.warp) + offset, old < m.warp_now ? vector{} + sole_reader(m) : with_reader(old, m));
      return true;
    }
  }
  /// Checks and records a write; `as` is the thread's own stamp, or in flight. False when explain_write has to speak.
  template <size_t kBytes>
  bool note_write(size_t offset, const moment& m, stamp as) {
    if constexpr (kBytes > kWidest) {
      return note_write<kWidest>(offset, m, as) && note_write<kBytes - kWidest>(offset + kWidest, m, as);
    } else {
      using vector = stamps<kBytes>;
      auto bad = may_be_concurrent(load<vector>(writer_ + offset), m);
      for (int warp = 0; warp < warps_; ++warp) {
        const auto reader = load<vector>(readers(warp) + offset);
        const stamp own = warp == m.warp ? sole_reader(m) : 0;
        bad |= (reader >= m.known->warps[static_cast<size_t>(warp)]) & (reader != own);
      }
      if (any(bad) && !explain_write(offset, kBytes, m, nullptr)) return false;
      store(writer_ + offset, vector{} + as);
      store(fences_ + offset, vector{} + m.fences);
      return true;
    }
  }
  /// The end of an asynchronous copy: its bytes are written now, by the thread that waited.
  void land(size_t offset, size_t bytes, const moment& m);
  /// The end of an asynchronous read on behalf of one thread.
  void note_async_read(size_t offset, size_t bytes, const moment& m);
  stamp writer(size_t offset) const { return writer_[offset]; }
  stamp fences_before_write(size_t offset) const { return fences_[offset]; }

  /// The exact check: true when there is no fault. Otherwise kind, offset and other thread go to `report`, if given.
  bool explain_read(size_t offset, size_t bytes, const moment& m, fault_report* report) const;
  bool explain_write(size_t offset, size_t bytes, const moment& m, fault_report* report) const;

 private:
  static constexpr size_t kWidest = 8;  // stamps of as many bytes fill one AVX2 register

  /// The stamp of a reader that is the only one of its warp: both lanes are the same.
  static stamp sole_reader(const moment& m) { return interval_of(m.now) | m.lane << 5 | m.lane; }
  /// `old`, of the warp's interval, with the running thread as second reader unless it is the first. Both count as of
  /// the later time: a lane that has moved on from its warp's interval drags another one along, which is on the safe
  /// side.
  template <class Stamps>
  static Stamps with_reader(const Stamps& old, const moment& m) {
    const Stamps moved = interval_of(m.now) | (old & kWhoMask);
    const Stamps later = moved > old ? moved : old;
    return ((old >> 5) & 31u) == m.lane ? later : (later & ~31u) | m.lane;
  }
  stamp* readers(int warp) const { return readers_ + static_cast<size_t>(warp) * kCapacity; }

  template <class Stamps>
  static Stamps load(const stamp* from) {
    Stamps values;
    std::memcpy(&values, from, sizeof(values));
    return values;
  }
  template <class Stamps>
  static void store(stamp* to, const Stamps& values) {
    std::memcpy(to, &values, sizeof(values));
  }
  template <class Flags>
  static bool any(const Flags& flags) {
    int all = 0;
    for (size_t i = 0; i < sizeof(Flags) / sizeof(flags[0]); ++i) all |= flags[i];
    return all != 0;
  }

  size_t bytes_ = 0;
  int warps_ = 0;
  stamp first_ = 0;
  uint8_t* base_;
  uint8_t* content_;
  stamp* writer_;
  stamp* fences_;
  stamp* readers_;  // kMaxWarps rows of kCapacity
};

}  // namespace q4fuse_emulator
