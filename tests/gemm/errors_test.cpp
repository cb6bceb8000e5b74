// Every status of the GEMMs: the cause, the argument at fault, and that nothing was written.

#include "gemm/gemm_harness.hpp"

#include <functional>

namespace q4fuse_test {
namespace {

using q4fuse::gemm_options;
using q4fuse::status;

/// The arguments of a good call, for a test to spoil. The buffers are larger than any shape used here.
struct call_arguments {
  const q4fuse::block_q4_0* w;
  const __half* x;
  const q4fuse::block_q8_1* blocks;
  float* y;
  gemm_shape shape{4, 24, 64};
  void* workspace;
  size_t workspace_bytes;
  gemm_options options = {};
};

template <class T>
T* shifted(T* pointer, uintptr_t bytes) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(pointer) + bytes);
}

gemm_options strides(int64_t ldx, int64_t ldy) {
  gemm_options options;
  options.ldx = ldx;
  options.ldy = ldy;
  return options;
}

gemm_options force(const kernel_config& config, pipeline source = pipeline::fused, math_mode math = math_mode::exact) {
  gemm_options options;
  options.plan.emplace();
  options.plan->config = config;
  options.plan->math = math;
  options.plan->source = source;
  return options;
}

/// A kernel that runs on every device of the library.
kernel_config portable_config(math_mode math = math_mode::exact) {
  const auto* found = std::find_if(std::begin(q4fuse::kKernelConfigs), std::end(q4fuse::kKernelConfigs),
                                   [&](const kernel_config& c) { return required_arch(c) == 75 && serves(c, math); });
  EXPECT_NE(found, std::end(q4fuse::kKernelConfigs));
  return *found;
}

class errors : public gpu_test {
 protected:
  enum entry { kFused = 1, kSeparate = 2, kAutomatic = 4, kAll = 7 };

  void expect(int entries, status_code wanted, const std::string& argument,
              const std::function<void(call_arguments&)>& spoil) {
    for (const math_mode math : kMathModes) expect_in(math, entries, wanted, argument, spoil);
  }

  void expect_in(math_mode math, int entries, status_code wanted, const std::string& argument,
                 const std::function<void(call_arguments&)>& spoil) {
    call_arguments a{w_.data(),   x_.data(),         blocks_.data(),    y_.data(),
                     {4, 24, 64}, workspace_.data(), workspace_.size(), {}};
    spoil(a);
    const std::string mode = std::string(to_string(math)) + ", ";
    if (entries & kFused) {
      expect_refusal(gemm_fused(math, a.w, a.x, a.y, a.shape, a.options, nullptr), wanted, argument, mode + "fused");
    }
    if ((entries & kSeparate) && has_separate_pipeline(math)) {
      expect_refusal(gemm_separate(math, a.w, a.blocks, a.y, a.shape, a.options, nullptr), wanted, argument,
                     mode + "separate");
    }
    if (entries & kAutomatic) {
      expect_refusal(gemm_automatic(math, a.w, a.x, a.y, a.shape, a.workspace, a.workspace_bytes, a.options, nullptr),
                     wanted, argument, mode + "automatic");
    }
  }

  /// Calls `test` with every mode that can be forced to quantize beforehand.
  template <class Test>
  static void for_separate(const Test& test) {
    for (const math_mode math : kMathModes) {
      if (has_separate_pipeline(math)) test(math);
    }
  }

  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(synchronize(), cudaSuccess);
    EXPECT_TRUE(y_.guards_intact() && workspace_.guards_intact());
    expect_untouched(y_.download(), "y after refused calls");
    for (const uint8_t byte : workspace_.download()) ASSERT_EQ(byte, 0xFF) << "workspace after refused calls";
  }

 private:
  static void expect_refusal(const status& actual, status_code wanted, const std::string& argument,
                             const std::string& name) {
    EXPECT_EQ(actual.code(), wanted) << name << ": " << to_string(actual);
    EXPECT_EQ(actual.argument(), argument) << name;
  }

  // Made only where a device is: a fixture is constructed before its test can be skipped.
  template <class T>
  class lazy {
   public:
    explicit lazy(size_t count) : count_(count) {}
    T* data() { return get().data(); }
    size_t size() const { return count_; }
    bool guards_intact() { return get().guards_intact(); }
    std::vector<T> download() { return get().download(); }

   private:
    guarded_buffer<T>& get() {
      if (!buffer_.has_value()) buffer_.emplace(count_);
      return *buffer_;
    }
    size_t count_;
    std::optional<guarded_buffer<T>> buffer_;
  };
  lazy<q4fuse::block_q4_0> w_{4096};
  lazy<__half> x_{4096};
  lazy<q4fuse::block_q8_1> blocks_{4096};
  lazy<float> y_{4096};
  lazy<uint8_t> workspace_{4096};
};

TEST_F(errors, invalid_dimension) {
  expect(kAll, status_code::invalid_dimension, "shape.m", [](auto& a) { a.shape.m = -1; });
  expect(kAll, status_code::invalid_dimension, "shape.n", [](auto& a) { a.shape.n = -1; });
  expect(kAll, status_code::invalid_dimension, "shape.k", [](auto& a) { a.shape.k = -32; });
}

TEST_F(errors, invalid_k) {
  for (const int64_t k : {1, 16, 31, 33, 65}) {
    expect(kAll, status_code::invalid_k, "shape.k", [&](auto& a) { a.shape.k = k; });
  }
}

TEST_F(errors, invalid_stride) {
  expect(kAll, status_code::invalid_stride, "options.ldx", [](auto& a) { a.options = strides(32, 0); });
  expect(kAll, status_code::invalid_stride, "options.ldx", [](auto& a) { a.options = strides(-64, 0); });
  expect(kAll, status_code::invalid_stride, "options.ldy", [](auto& a) { a.options = strides(0, 23); });
  expect(kAll, status_code::invalid_stride, "options.ldy", [](auto& a) { a.options = strides(0, -24); });
  expect(kSeparate, status_code::invalid_stride, "options.ldx", [](auto& a) { a.options = strides(80, 0); });
}

TEST_F(errors, null_pointer) {
  expect(kAll, status_code::null_pointer, "w", [](auto& a) { a.w = nullptr; });
  expect(kFused | kAutomatic, status_code::null_pointer, "x", [](auto& a) { a.x = nullptr; });
  expect(kSeparate, status_code::null_pointer, "x", [](auto& a) { a.blocks = nullptr; });
  expect(kAll, status_code::null_pointer, "y", [](auto& a) { a.y = nullptr; });
  expect(kAll, status_code::null_pointer, "y", [](auto& a) {
    a.shape.k = 0;
    a.w = nullptr;  // not read for k = 0
    a.y = nullptr;
  });
  for_separate([&](math_mode math) {
    expect_in(math, kAutomatic, status_code::null_pointer, "workspace", [&](auto& a) {
      a.options = force(portable_config(math), pipeline::separate, math);
      a.workspace = nullptr;
    });
  });
}

TEST_F(errors, misaligned_pointer) {
  expect(kAll, status_code::misaligned_pointer, "w", [](auto& a) { a.w = shifted(a.w, 1); });
  expect(kFused | kAutomatic, status_code::misaligned_pointer, "x", [](auto& a) { a.x = shifted(a.x, 1); });
  expect(kSeparate, status_code::misaligned_pointer, "x", [](auto& a) { a.blocks = shifted(a.blocks, 1); });
  for (const uintptr_t bytes : {1, 2, 3}) {
    expect(kAll, status_code::misaligned_pointer, "y", [&](auto& a) { a.y = shifted(a.y, bytes); });
  }
  for_separate([&](math_mode math) {
    for (const uintptr_t bytes : {1, 2, 4, 8}) {
      expect_in(math, kAutomatic, status_code::misaligned_pointer, "workspace", [&](auto& a) {
        a.options = force(portable_config(math), pipeline::separate, math);
        a.workspace = shifted(static_cast<uint8_t*>(a.workspace), bytes);
        a.workspace_bytes -= bytes;
      });
    }
  });
}

TEST_F(errors, workspace_too_small) {
  for_separate([&](math_mode math) {
    size_t needed = 0;
    const gemm_options options = force(portable_config(math), pipeline::separate, math);
    ASSERT_TRUE(workspace_size(math, {4, 24, 64}, options, &needed).ok());
    ASSERT_GT(needed, 0u);
    for (const size_t bytes : {size_t{0}, needed - 1}) {
      expect_in(math, kAutomatic, status_code::workspace_too_small, "workspace_bytes", [&](auto& a) {
        a.options = options;
        a.workspace_bytes = bytes;
      });
    }
  });
}

// A plan for one mode in a call of another, and a kernel that does not serve the mode.
TEST_F(errors, invalid_plan_for_the_math) {
  for (const math_mode called : kMathModes) {
    for (const math_mode planned : kMathModes) {
      for (const math_mode served : kMathModes) {
        if (called == planned && serves(portable_config(served), called)) continue;
        expect_in(called, kAll, status_code::invalid_plan, "options.plan",
                  [&](auto& a) { a.options = force(portable_config(served), pipeline::fused, planned); });
      }
    }
  }
}

TEST_F(errors, direct_fp16_has_no_separate_pipeline) {
  expect_in(math_mode::direct_fp16, kAutomatic, status_code::invalid_plan, "options.plan", [](auto& a) {
    a.options = force(portable_config(math_mode::direct_fp16), pipeline::separate, math_mode::direct_fp16);
  });
}

TEST_F(errors, invalid_plan) {
  kernel_config unknown = portable_config();
  unknown.tile_n += 1;
  expect(kAll, status_code::invalid_plan, "options.plan", [&](auto& a) { a.options = force(unknown); });
  unknown = portable_config();
  unknown.stages += 1;
  expect(kAll, status_code::invalid_plan, "options.plan",
         [&](auto& a) { a.options = force(unknown, pipeline::separate); });
  expect(kAll, status_code::invalid_plan, "options.plan", [&](auto& a) { a.options = force(kernel_config{}); });
}

TEST_F(errors, invalid_plan_for_the_last_tokens) {
  for (const math_mode math : kMathModes) {
    const auto refuse = [&](int64_t tokens, const kernel_config& tail) {
      expect_in(math, kAll, status_code::invalid_plan, "options.plan", [&](auto& a) {
        a.options = force(portable_config(math), pipeline::fused, math);
        a.options.plan->tail_tokens = tokens;
        a.options.plan->tail = tail;
      });
    };
    refuse(-1, portable_config(math));
    refuse(4, portable_config(math));  // of four: none would be left
    refuse(5, portable_config(math));
    kernel_config unknown = portable_config(math);
    unknown.tile_n += 1;
    refuse(2, unknown);
    for (const math_mode other : kMathModes) {
      if (!serves(portable_config(other), math)) refuse(2, portable_config(other));
    }
  }
}

// A known kernel that would need more shared memory than any device has.
TEST_F(errors, invalid_plan_for_the_shape) {
  for (const kernel_config& config : q4fuse::kKernelConfigs) {
    const gemm_shape shape{1, 1, 32 << 14};
    q4fuse::device_info device;
    ASSERT_TRUE(query(&device).ok());
    if (!has_instruction(device, config) || can_run(config, shape, device)) continue;
    for (const math_mode math : kMathModes) {
      expect_in(math, kAll, status_code::invalid_plan, "options.plan", [&](auto& a) {
        a.options = force(config, pipeline::fused, math);
        a.shape = shape;
      });
    }
  }
}

TEST_F(errors, size_query) {
  size_t bytes = 123;
  EXPECT_EQ(q4fuse::gemm_q4_0_fp16_workspace_size({4, 24, 64}, {}, nullptr), status_code::null_pointer);
  EXPECT_EQ(q4fuse::gemm_q4_0_fp16_workspace_size({-1, 24, 64}, {}, &bytes), status_code::invalid_dimension);
  EXPECT_EQ(q4fuse::gemm_q4_0_fp16_workspace_size({4, 24, 65}, {}, &bytes), status_code::invalid_k);
  EXPECT_EQ(q4fuse::gemm_q4_0_fp16_workspace_size({4, 24, 64}, strides(32, 0), &bytes), status_code::invalid_stride);
  EXPECT_EQ(q4fuse::gemm_q4_0_fp16_workspace_size({4, 24, 64}, force(kernel_config{}), &bytes),
            status_code::invalid_plan);
  EXPECT_EQ(bytes, 123u) << "a refused query writes nothing";
  EXPECT_EQ(q4fuse::query_device(nullptr), status_code::null_pointer);
}

}  // namespace
}  // namespace q4fuse_test
