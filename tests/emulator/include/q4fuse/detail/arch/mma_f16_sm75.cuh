#pragma once

#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/target.hpp>

#include <array>
#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

/// Products are exact, and summed in double before one rounding: within every bound of the GPU's, whose tensor cores
/// truncate in steps that differ between generations, but not its bits.
template <int kRequired = 75>
void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "mma.m16n8k8.f16 needs sm_75");
  struct operand {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
  } mine{d, a, b};
  q4fuse_emulator::device.warp_operation("mma_m16n8k16_f16", mine, where, [](const std::array<operand*, 32>& lanes) {
    float rows[16][16];
    float columns[8][16];
    const auto unpack = [](float* to, uint32_t halves) {
      const float2 two = half2_to_float2(halves);
      to[0] = two.x;
      to[1] = two.y;
    };
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4;
      const int k = lane % 4 * 2;
      const operand& from = *lanes[lane];
      unpack(&rows[group][k], from.a[0]);
      unpack(&rows[group + 8][k], from.a[1]);
      unpack(&rows[group][k + 8], from.a[2]);
      unpack(&rows[group + 8][k + 8], from.a[3]);
      unpack(&columns[group][k], from.b[0]);
      unpack(&columns[group][k + 8], from.b[1]);
    }
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const float* row = rows[lane / 4 + i / 2 * 8];
        const float* column = columns[lane % 4 * 2 + i % 2];
        double sum = lanes[lane]->d[i];
        for (int k = 0; k < 16; ++k) sum += static_cast<double>(row[k] * column[k]);
        lanes[lane]->d[i] = static_cast<float>(sum);
      }
    }
  });
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
