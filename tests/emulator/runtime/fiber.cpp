#include "emulator/runtime/fiber.hpp"

#include <sys/mman.h>

#include <new>
#include <utility>

// AddressSanitizer keeps the bounds of the stack that runs; every switch has to tell it.
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace q4fuse_emulator {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 512 * 1024;  // red zones make frames many times larger
void begin_switch(void** fake_stack, const void* bottom, size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, bottom, bytes);
}
void end_switch(void* fake_stack, const void** bottom, size_t* bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, bottom, bytes);
}
#else
constexpr size_t kStackBytes = 64 * 1024;
void begin_switch(void**, const void*, size_t) {}
void end_switch(void*, const void**, size_t*) {}
#endif

constexpr size_t kPage = 4096;
constexpr size_t kStride = kStackBytes + kPage;  // the lowest page stays inaccessible: an overflow stops at once

/// The stacks are the slab's; nothing to free when a fiber ends.
struct borrowed_stack {
  boost::context::stack_context allocate() { throw std::bad_alloc(); }
  void deallocate(boost::context::stack_context&) noexcept {}
};

}  // namespace

void fiber::create(void* stack_bottom, size_t stack_bytes, entry run, void* argument) {
  stack_bottom_ = stack_bottom;
  stack_bytes_ = stack_bytes;
  void* top = static_cast<char*>(stack_bottom) + stack_bytes;
  boost::context::stack_context context;
  context.sp = top;
  context.size = stack_bytes;
  body_ = boost::context::fiber(std::allocator_arg, boost::context::preallocated(top, stack_bytes, context),
                                borrowed_stack{}, [this, run, argument](boost::context::fiber&& scheduler) {
                                  end_switch(nullptr, &scheduler_stack_, &scheduler_stack_bytes_);
                                  scheduler_ = std::move(scheduler);
                                  run(argument);
                                  begin_switch(nullptr, scheduler_stack_, scheduler_stack_bytes_);
                                  return std::move(scheduler_);
                                });
}

void fiber::resume() {
  void* fake_stack = nullptr;
  begin_switch(&fake_stack, stack_bottom_, stack_bytes_);
  body_ = std::move(body_).resume();
  end_switch(fake_stack, nullptr, nullptr);
}

void fiber::suspend() {
  void* fake_stack = nullptr;
  begin_switch(&fake_stack, scheduler_stack_, scheduler_stack_bytes_);
  scheduler_ = std::move(scheduler_).resume();
  end_switch(fake_stack, &scheduler_stack_, &scheduler_stack_bytes_);
}

stack_slab::stack_slab(int count) : bytes_(static_cast<size_t>(count) * kStride) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<char*>(memory);
  for (int i = 0; i < count; ++i) {
    if (mprotect(base_ + static_cast<size_t>(i) * kStride, kPage, PROT_NONE) != 0) throw std::bad_alloc();
  }
}

stack_slab::~stack_slab() { munmap(base_, bytes_); }

stack_slab::stack stack_slab::operator[](int index) const {
  // Equal strides would put the live tops of all stacks into the same few cache sets.
  const size_t colour = static_cast<size_t>(index % 16) * 256;
  return {base_ + static_cast<size_t>(index) * kStride + kPage, kStackBytes - colour};
}

}  // namespace q4fuse_emulator
