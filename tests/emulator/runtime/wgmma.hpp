#pragma once

// What a thread has asked of wgmma and not waited for.

#include "emulator/runtime/clock.hpp"
#include "emulator/runtime/fault.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace q4fuse_emulator {

inline constexpr int kWarpgroupSize = 128;

struct wgmma_request {
  float* d;
  int columns;
  const uint32_t* a;
  std::array<uint32_t, 4> a_content;
  uint64_t descriptor;
  site where;
  moment issued;
  horizon known;  ///< what `issued` points to
};

/// The true content of accumulators in flight; the kernel's own variables hold kPoison meanwhile, so that a result
/// read too early is a NaN and a value written too early is seen.
struct wgmma_accumulators {
  float* d;
  std::vector<float> values;
  int requests;  ///< that have not happened yet
};

struct wgmma_queue {
  static constexpr uint32_t kPoison = 0x7FBADBAD;

  bool fenced = false;                 ///< since the last group
  std::deque<wgmma_request> requests;  ///< oldest first
  std::deque<size_t> groups;           ///< requests of each committed group
  size_t committed = 0;                ///< requests in all groups together
  std::vector<wgmma_accumulators> accumulators;
};

/// The part of a matrix descriptor that says where a K-major operand with 128-byte swizzle lies (PTX ISA, "Matrix
/// Descriptor Format").
struct swizzled_operand {
  size_t start;
  size_t stride;  ///< from eight rows to the next eight
  bool known;     ///< a layout of this kind, whose rows begin at a multiple of 1024 bytes

  explicit swizzled_operand(uint64_t descriptor)
      : start((descriptor & 0x3FFF) << 4),
        stride((descriptor >> 32 & 0x3FFF) << 4),
        known(descriptor >> 62 == 1 && (descriptor >> 49 & 7) == 0 && (start >> 7 & 7) == 0) {}

  /// Address of 16 bytes: bits 4 to 6 are exchanged for their exclusive or with bits 7 to 9.
  size_t address(int row, int unit) const {
    const size_t linear = start + static_cast<size_t>(row / 8) * stride + static_cast<size_t>(row % 8) * 128 +
                          static_cast<size_t>(unit) * 16;
    return linear ^ (linear >> 7 & 7) << 4;
  }
};

}  // namespace q4fuse_emulator
