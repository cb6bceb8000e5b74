#pragma once

#include "support/backend.hpp"
#include "support/printers.hpp"

#include <gtest/gtest.h>

namespace q4fuse_test {

/// Base of every test that runs kernels: skips where there is nothing to run them on. The property is what main()
/// counts, so that the number of executed tests is a fact and not an estimate.
template <class Base = ::testing::Test>
class gpu_test_base : public Base {
 protected:
  void SetUp() override {
    if (!device_available()) GTEST_SKIP() << "no CUDA device";
    this->RecordProperty("runs_kernels", 1);
  }
};

using gpu_test = gpu_test_base<>;
template <class Parameter>
using gpu_test_with = gpu_test_base<::testing::TestWithParam<Parameter>>;

}  // namespace q4fuse_test
