#pragma once

// A barrier that lies in shared memory, where some threads arrive and others wait (PTX ISA, "mbarrier").

#include "emulator/runtime/clock.hpp"
#include "emulator/runtime/fault.hpp"

#include <cstdint>
#include <vector>

namespace q4fuse_emulator {

/// What its 8 bytes hold: a kernel that writes something else there has destroyed it.
inline constexpr uint64_t kMbarrierContent = 0x6D62617272696572;

struct mbarrier {
  /// One phase, as far as it has come.
  struct phase {
    struct arrival {
      stamp when;
      site where;
    };
    std::vector<arrival> arrivals;
    int64_t expected_bytes = 0;  ///< of tensor copies
    int64_t copied_bytes = 0;
    past passed_on;  ///< what all who have arrived knew and had done
    bool dependencies_done = false;
  };

  int expected = 0;  ///< arrivals of each phase
  int64_t completed = 0;
  phase running;
  phase before;        ///< the last completed one
  phase still_before;  ///< and the one before that
  std::vector<int> waiting;

  /// Whether the phase of that parity has ended. Of two phases in a row one is running: the other has.
  bool has_ended(int parity) const { return (completed & 1) != parity; }
};

}  // namespace q4fuse_emulator
