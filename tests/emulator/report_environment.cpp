// Prints what a test program ran here, and adds it to the file that Q4FUSE_EMULATOR_LOG names, for a sum over programs.

#include "emulator/runtime/gpu.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace {

class report_environment : public ::testing::Environment {
 public:
  void TearDown() override {
    const q4fuse_emulator::counters& t = q4fuse_emulator::device.totals();
    const auto count = [](int64_t value) { return static_cast<long long>(value); };
    std::printf("[ emulator ] kernels executed: %lld (%lld CTAs, %lld barriers, %lld warp-wide operations)\n",
                count(t.launches), count(t.ctas), count(t.barriers), count(t.warp_operations));
    const char* path = std::getenv("Q4FUSE_EMULATOR_LOG");
    if (path == nullptr) return;
    std::FILE* log = std::fopen(path, "a");
    ASSERT_NE(log, nullptr) << path;
    std::fprintf(log, "%lld\n", count(t.launches));
    std::fclose(log);
  }
};

[[maybe_unused]] ::testing::Environment* const registered =
    ::testing::AddGlobalTestEnvironment(new report_environment);  // GoogleTest takes ownership

}  // namespace
