#pragma once

#include <q4fuse/detail/arch/target.hpp>

#include <array>
#include <cstdint>
#include <cstring>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

template <int kRequired = 80>
void mma_m16n8k32_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int c, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "mma.m16n8k32.s8 needs sm_80");
  struct operand {
    int* d;
    const uint32_t* a;
    const uint32_t* b;
    int c;
  } mine{d, a, b, c};
  q4fuse_emulator::device.warp_operation("mma_m16n8k32_s8", mine, where, [](const std::array<operand*, 32>& lanes) {
    alignas(32) int8_t rows[16][32];
    alignas(32) int8_t columns[8][32];
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4;
      const int k = lane % 4 * 4;
      const operand& from = *lanes[lane];
      std::memcpy(&rows[group][k], &from.a[0], 4);
      std::memcpy(&rows[group + 8][k], &from.a[1], 4);
      std::memcpy(&rows[group][k + 16], &from.a[2], 4);
      std::memcpy(&rows[group + 8][k + 16], &from.a[3], 4);
      std::memcpy(&columns[group][k], &from.b[0], 4);
      std::memcpy(&columns[group][k + 16], &from.b[1], 4);
    }
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const int8_t* row = rows[lane / 4 + i / 2 * 8];
        const int8_t* column = columns[lane % 4 * 2 + i % 2];
        int sum = 0;
        for (int k = 0; k < 32; ++k) sum += row[k] * column[k];
        // Unsigned: the instruction wraps around, and c may be any bit pattern.
        lanes[lane]->d[i] = static_cast<int>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(lanes[lane]->c));
      }
    }
  });
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
