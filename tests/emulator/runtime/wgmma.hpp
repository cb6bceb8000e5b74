#pragma once

// What a thread has asked of wgmma and not waited for.

#include "emulator/runtime/clock.hpp"
#include "emulator/runtime/fault.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace q4fuse_emulator {

inline constexpr int kWarpgroupSize = 128;

/// One instruction, as all threads of a warpgroup must give it: 64 rows of A times `columns` rows of B, 32 bytes of
/// each. Accumulators are 32 bits wide, whatever the elements.
struct wgmma_product {
  static constexpr int kRows = 64;
  static constexpr int kUnit = 16;  ///< bytes that lie together in a swizzled tile
  static constexpr int kRowBytes = 2 * kUnit;
  enum class elements { halves, signed_bytes };

  elements type;
  int columns;
  bool accumulates;                ///< false sets the accumulators, whatever they hold
  uint64_t b;                      ///< matrix descriptor
  std::optional<uint64_t> a = {};  ///< likewise, unless A lies in registers

  size_t accumulators() const { return static_cast<size_t>(columns) / 2; }  ///< of each thread
  bool operator==(const wgmma_product& other) const {
    return type == other.type && columns == other.columns && accumulates == other.accumulates && b == other.b &&
           a == other.a;
  }
};

/// The arithmetic: rows of 32 bytes in, kRows x columns accumulators changed.
void multiply(const wgmma_product& product, const uint8_t* a, const uint8_t* b, uint32_t* d);

struct wgmma_request {
  wgmma_product product;
  void* d;
  const uint32_t* a;  ///< nullptr when A lies in shared memory
  std::array<uint32_t, 4> a_content;
  site where;
  moment issued;
  past known;  ///< what `issued` points to
};

/// The true content of accumulators in flight; the kernel's own variables hold kPoison meanwhile, so that a result
/// read too early is a NaN, or a number that no product gives, and a value written too early is seen.
struct wgmma_accumulators {
  void* d;
  wgmma_product::elements type;
  std::vector<uint32_t> values;
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
  size_t stride;  ///< from eight rows to the next eight; 0 repeats the first
  bool known;     ///< a layout of this kind, whose rows begin at a multiple of 1024 bytes

  explicit swizzled_operand(uint64_t descriptor)
      : start((descriptor & 0x3FFF) << 4),
        stride((descriptor >> 32 & 0x3FFF) << 4),
        known(descriptor >> 62 == 1 && (descriptor >> 49 & 7) == 0 && (start >> 7 & 7) == 0) {}

  /// Address of 16 bytes: bits 4 to 6 are exchanged for their exclusive or with bits 7 to 9.
  size_t address(int row, int unit) const {
    const size_t linear = start + static_cast<size_t>(row / 8) * stride + static_cast<size_t>(row % 8) * 128 +
                          static_cast<size_t>(unit) * wgmma_product::kUnit;
    return linear ^ (linear >> 7 & 7) << 4;
  }
};

}  // namespace q4fuse_emulator
