#pragma once

// Global memory: allocations of exact size, at addresses where nothing is mapped, with counters and, for what kernels
// write, a shadow of the last writer of every byte.

#include "emulator/runtime/clock.hpp"
#include "emulator/runtime/fault.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace q4fuse_emulator {

/// Bytes that kernels moved.
struct traffic {
  int64_t read = 0;  ///< as asked for by threads: a byte read twice counts twice
  int64_t written = 0;
  /// In units of kSectorBytes, each counted once a launch: what reaches memory through a cache that forgets nothing
  /// while a kernel runs, and everything between two kernels.
  int64_t sector_bytes_read = 0;
  int64_t sector_bytes_written = 0;
};

inline constexpr size_t kSectorBytes = 32;

struct allocation {
  uint8_t* base = nullptr;  ///< what kernels see
  size_t bytes = 0;
  std::string label;
  std::vector<uint8_t> content;
  traffic moved;
  int64_t last_read_launch = 0;
  int64_t last_write_launch = 0;
  std::vector<int64_t> sector_read_launch;  // last launch that read a sector
  std::vector<int64_t> sector_write_launch;
  /// Last writer of each byte: serial number of its CTA (high half) and its stamp. Empty until a kernel writes.
  std::vector<uint64_t> writers;

  /// Offset of an address, negative below the base.
  int64_t offset_of(const void* address) const {
    return static_cast<int64_t>(reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(base));
  }
  bool contains(const void* address, size_t size) const {
    const auto offset = static_cast<size_t>(offset_of(address));
    return offset <= bytes && size <= bytes - offset;
  }
};

/// Adds an access to the sectors of one launch; returns the bytes of those that it is the first to touch.
inline int64_t touch_sectors(std::vector<int64_t>& last_launch, int64_t launch, int64_t offset, size_t bytes) {
  int64_t fresh = 0;
  const auto end = (static_cast<size_t>(offset) + bytes + kSectorBytes - 1) / kSectorBytes;
  for (size_t sector = static_cast<size_t>(offset) / kSectorBytes; sector < end; ++sector) {
    if (last_launch[sector] != launch) fresh += kSectorBytes;
    last_launch[sector] = launch;
  }
  return fresh;
}

class global_memory {
 public:
  /// Reserves `bytes` at an address aligned to 256 bytes plus the misalignment. Content starts as 0xFF bytes.
  allocation& allocate(size_t bytes, size_t misalignment, std::string label);
  void release(const void* base);

  /// The allocation that holds all of an access, or nullptr.
  allocation* find(const void* address, size_t bytes) {
    for (allocation* recent : recent_) {
      if (recent != nullptr && recent->contains(address, bytes)) return recent;
    }
    return find_slowly(address, bytes);
  }
  /// The allocation nearest to an address, for a report; nullptr when there is none at all.
  const allocation* nearest(const void* address) const;
  /// The allocation that begins at an address; throws std::invalid_argument when none does.
  allocation& at(const void* base);

 private:
  allocation* find_slowly(const void* address, size_t bytes);

  std::map<uintptr_t, std::unique_ptr<allocation>> allocations_;  // by base
  std::array<allocation*, 4> recent_{};                           // kernels alternate between few buffers
  size_t next_recent_ = 0;
  int64_t allocated_ = 0;
};

}  // namespace q4fuse_emulator
