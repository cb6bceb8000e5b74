#pragma once

#include <q4fuse/detail/arch/target.hpp>

#include <array>
#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

/// Rows go round the warp, then each lane reads its words, checked as any other access.
template <int kRequired = 75>
void load_matrix_x4(uint32_t (&d)[4], const void* row, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "ldmatrix needs sm_75");
  struct operand {
    const uint8_t* row;
    const uint8_t* rows[4];
  } mine{static_cast<const uint8_t*>(row), {}};
  q4fuse_emulator::device.warp_operation("load_matrix_x4", mine, where, [](const std::array<operand*, 32>& lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) lanes[lane]->rows[i] = lanes[8 * i + lane / 4]->row;
    }
  });
  const int word = q4fuse_emulator::device.thread_index() % 4;
  for (int i = 0; i < 4; ++i) {
    // The whole row, because its alignment is the instruction's.
    const uint4 four = q4fuse_emulator::device.load_shared<uint4>(mine.rows[i], where);
    d[i] = std::array<uint32_t, 4>{four.x, four.y, four.z, four.w}[static_cast<size_t>(word)];
  }
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
