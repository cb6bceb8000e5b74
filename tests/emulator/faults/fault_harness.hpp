#pragma once

// Runs a small kernel, written like the library's against detail/arch, and gives the fault that it ends with. A kernel
// marks the access at fault, and the other side's, by calling planted() and planted_other() on the same line.

#include <q4fuse/detail/arch/cluster_sm90.cuh>
#include <q4fuse/detail/arch/cp_async_sm80.cuh>
#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/mma_sm80.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/launch/launch.cuh>

#include "support/backend.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

namespace q4fuse_emulator {

namespace arch = q4fuse::detail::arch;

inline site planted_at;
inline site planted_other_at;
inline void planted(site where = site::here()) { planted_at = where; }
inline void planted_other(site where = site::here()) { planted_other_at = where; }

struct grid {
  int threads = 32;
  int64_t shared_bytes = 0;
  int64_t ctas = 1;
  bool programmatic_dependent_launch = false;
  int cluster_ctas = 1;
};

template <class T>
struct identity {
  using type = T;
};

/// Launches a kernel; the fault it ends with, or nothing.
template <class... Parameters>
std::optional<fault_report> run(void (*kernel)(Parameters...), const grid& g,
                                const typename identity<Parameters>::type&... arguments) {
  planted_at = planted_other_at = {};
  try {
    const q4fuse::status launched = q4fuse::detail::launch<Parameters...>(
        kernel, {g.ctas, g.threads, g.shared_bytes, g.programmatic_dependent_launch, nullptr, g.cluster_ctas},
        arguments...);
    EXPECT_TRUE(launched.ok()) << to_string(launched);
    return std::nullopt;
  } catch (const fault& found) {
    EXPECT_STREQ(found.what(), to_string(found.report()).c_str());
    return found.report();
  }
}

/// Kind and place, and that the report names kernel and place in words.
inline void expect_fault(const std::optional<fault_report>& found, fault_kind kind, int64_t offset = -1) {
  ASSERT_TRUE(found.has_value()) << "not reported: " << to_string(kind);
  const std::string text = to_string(*found);
  EXPECT_EQ(found->kind, kind) << text;
  EXPECT_EQ(found->offset, offset) << text;
  EXPECT_EQ(found->where, planted_at) << text << "\nplanted at " << to_string(planted_at);
  EXPECT_EQ(found->other_where, planted_other_at) << text << "\nother side at " << to_string(planted_other_at);
  EXPECT_NE(text.find("kernel"), std::string::npos) << text;
  EXPECT_NE(found->kernel.find("q4fuse_emulator"), std::string::npos) << "no name: " << found->kernel;
}

inline void expect_clean(const std::optional<fault_report>& found) {
  EXPECT_FALSE(found.has_value()) << to_string(*found);
}

/// Runs the test once in the order of threads and three times at random: what is reported must not depend on it.
class emulator_faults : public ::testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override {
    device.settings.schedule_seed = GetParam();
    RecordProperty("runs_kernels", 1);
  }
  void TearDown() override { device.settings = initial_; }

 private:
  device_settings initial_ = device.settings;
};

}  // namespace q4fuse_emulator

#define Q4FUSE_FOR_EVERY_SCHEDULE(suite) \
  INSTANTIATE_TEST_SUITE_P(schedule, suite, ::testing::Values(uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3}))
