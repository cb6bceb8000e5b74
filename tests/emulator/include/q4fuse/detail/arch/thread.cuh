#pragma once

#include <q4fuse/detail/arch/target.hpp>

#include <array>
#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

inline constexpr uint32_t kFullWarp = 0xFFFFFFFFu;

/// A shuffle among all lanes; lane i gets the value of lane source(i), or keeps its own when that is no lane.
template <class T, class Source>
T shuffle(const char* name, T value, int argument, const Source& source, const site& where) {
  struct operand {
    T value;
    int argument;
    T result;
  } mine{value, argument, value};
  q4fuse_emulator::device.warp_operation(name, mine, where, [&](const std::array<operand*, 32>& lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      const auto from = static_cast<unsigned>(source(lane, lanes[lane]->argument));
      if (from < 32) lanes[lane]->result = lanes[from]->value;
    }
  });
  return mine.result;
}

inline int thread_index() { return q4fuse_emulator::device.thread_index(); }
inline int lane_index() { return thread_index() & 31; }
inline int fresh_lane_index() { return lane_index(); }
inline int warp_index(site where = site::here()) {
  return shuffle(
      "warp_index", thread_index() >> 5, 0, [](int, int source) { return source; }, where);
}
inline int64_t cta_index() { return q4fuse_emulator::device.cta_index(); }
inline int64_t cta_count() { return q4fuse_emulator::device.cta_count(); }

inline int64_t fresh(int64_t value) { return value; }
inline int keep(int value) { return value; }

inline void sync_cta(site where = site::here()) { q4fuse_emulator::device.sync_cta(where); }
inline void sync_named(int barrier, int threads, site where = site::here()) {
  q4fuse_emulator::device.sync_named(barrier, threads, where);
}
inline void sync_warp(site where = site::here()) { q4fuse_emulator::device.sync_warp(where); }

inline bool any_of_warp(bool value, site where = site::here()) {
  struct operand {
    bool value;
  } mine{value};
  q4fuse_emulator::device.warp_operation("any_of_warp", mine, where, [](const std::array<operand*, 32>& lanes) {
    bool any = false;
    for (const operand* lane : lanes) any = any || lane->value;
    for (operand* lane : lanes) lane->value = any;
  });
  return mine.value;
}
template <int kRequired = 90>
bool elect_one(site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "elect.sync needs sm_90");
  struct operand {
    bool elected;
  } mine{false};
  q4fuse_emulator::device.warp_operation("elect_one", mine, where,
                                         [](const std::array<operand*, 32>& lanes) { lanes[0]->elected = true; });
  return mine.elected;
}
inline uint32_t shuffle_of_four(uint32_t value, int lane, site where = site::here()) {
  return shuffle(
      "shuffle_of_four", value, lane, [](int to, int source) { return to / 4 * 4 + source % 4; }, where);
}
inline float shuffle_of_four(float value, int lane, site where = site::here()) {
  return shuffle(
      "shuffle_of_four", value, lane, [](int to, int source) { return to / 4 * 4 + source % 4; }, where);
}

inline uint32_t shuffle_xor(uint32_t value, int mask, site where = site::here()) {
  return shuffle(
      "shuffle_xor", value, mask, [](int lane, int bits) { return lane ^ bits; }, where);
}
inline int shuffle_xor(int value, int mask, site where = site::here()) {
  return shuffle(
      "shuffle_xor", value, mask, [](int lane, int bits) { return lane ^ bits; }, where);
}
inline float shuffle_xor(float value, int mask, site where = site::here()) {
  return shuffle(
      "shuffle_xor", value, mask, [](int lane, int bits) { return lane ^ bits; }, where);
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
