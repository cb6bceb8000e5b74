// The main of every test program: counts the tests that ran kernels, and with Q4FUSE_REQUIRE_GPU=1 fails on a skip.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

/// CTest reports this exit code as "skipped" where SKIP_RETURN_CODE says so: a program that ran nothing did not pass.
constexpr int kSkippedExitCode = 77;

class kernel_test_counter : public ::testing::EmptyTestEventListener {
 public:
  explicit kernel_test_counter(bool skip_is_failure) : skip_is_failure_(skip_is_failure) {}

  void OnTestEnd(const ::testing::TestInfo& info) override {
    const ::testing::TestResult& result = *info.result();
    for (int i = 0; i < result.test_property_count(); ++i) {
      if (std::strcmp(result.GetTestProperty(i).key(), "runs_kernels") == 0) ++with_kernels_;
    }
    if (result.Skipped()) {
      ++skipped_;
      if (skip_is_failure_) ADD_FAILURE() << "skipped, but Q4FUSE_REQUIRE_GPU=1 asks for every test to run";
    } else {
      ++executed_;
    }
  }

  void OnTestProgramEnd(const ::testing::UnitTest&) override {
    std::printf("[  q4fuse  ] %d tests executed, %d of them with kernels; %d skipped\n", executed_, with_kernels_,
                skipped_);
  }

  bool only_skips() const { return executed_ == 0 && skipped_ > 0; }

 private:
  bool skip_is_failure_;
  int executed_ = 0;
  int with_kernels_ = 0;
  int skipped_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const char* require = std::getenv("Q4FUSE_REQUIRE_GPU");
  auto* counter = new kernel_test_counter(require != nullptr && std::strcmp(require, "1") == 0);
  ::testing::UnitTest::GetInstance()->listeners().Append(counter);  // takes ownership, keeps it until exit
  const int failed = RUN_ALL_TESTS();
  return failed == 0 && counter->only_skips() ? kSkippedExitCode : failed;
}
