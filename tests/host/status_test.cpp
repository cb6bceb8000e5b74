#include <q4fuse/status.hpp>

#include "support/printers.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace q4fuse_test {
namespace {

using q4fuse::status;
using q4fuse::status_code;

constexpr status_code kCodes[] = {
    status_code::success,
    status_code::null_pointer,
    status_code::invalid_dimension,
    status_code::invalid_k,
    status_code::invalid_stride,
    status_code::misaligned_pointer,
    status_code::workspace_too_small,
    status_code::invalid_plan,
    status_code::no_kernel_for_device,
    status_code::cuda_error,
};

TEST(status, default_is_success) {
  constexpr status s;
  static_assert(s.ok() && s.code() == status_code::success && s.cuda_error() == cudaSuccess);
  EXPECT_EQ(s, status_code::success);
  EXPECT_EQ(to_string(s), "success");
}

TEST(status, each_code_has_its_own_text) {
  std::set<std::string> texts;
  for (const status_code code : kCodes) texts.insert(q4fuse::to_string(code));
  EXPECT_EQ(texts.size(), std::size(kCodes));
  EXPECT_EQ(texts.count("unknown status code"), 0u);
  EXPECT_STREQ(q4fuse::to_string(static_cast<status_code>(99)), "unknown status code");
}

TEST(status, text_names_the_argument) {
  const status s(status_code::invalid_k, "shape.k");
  EXPECT_FALSE(s.ok());
  EXPECT_STREQ(s.argument(), "shape.k");
  EXPECT_EQ(to_string(s), "k must be a multiple of 32 (argument: shape.k)");
}

TEST(status, keeps_the_error_of_cuda) {
  const status s(cudaErrorInvalidValue);
  EXPECT_EQ(s.code(), status_code::cuda_error);
  EXPECT_EQ(s.cuda_error(), cudaErrorInvalidValue);
  const std::string text = to_string(s);
  EXPECT_NE(text.find(cudaGetErrorString(cudaErrorInvalidValue)), std::string::npos) << text;
  EXPECT_NE(text.find(std::to_string(static_cast<int>(cudaErrorInvalidValue))), std::string::npos) << text;
  EXPECT_TRUE(status(cudaSuccess).ok());
}

TEST(status, equality_compares_cause_and_cuda_error) {
  EXPECT_EQ(status(status_code::null_pointer, "w"), status(status_code::null_pointer, "x"));
  EXPECT_NE(status(status_code::null_pointer, "w"), status(status_code::invalid_k, "w"));
  EXPECT_NE(status(cudaErrorInvalidValue), status(cudaErrorMemoryAllocation));
  EXPECT_NE(status(cudaErrorInvalidValue), status());
  EXPECT_EQ(status(cudaErrorInvalidValue), status_code::cuda_error);
  EXPECT_NE(status(cudaErrorInvalidValue), status_code::success);
}

}  // namespace
}  // namespace q4fuse_test
