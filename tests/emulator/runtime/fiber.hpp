#pragma once

// One stackful context per CUDA thread, and the slab that their stacks are cut from.

#include <boost/context/fiber.hpp>

#include <cstddef>
#include <vector>

namespace q4fuse_emulator {

/// A context that the scheduler resumes and that suspends itself. Not movable: its body keeps a pointer to it.
class fiber {
 public:
  using entry = void (*)(void* argument);

  fiber() = default;
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;

  void create(void* stack_bottom, size_t stack_bytes, entry run, void* argument);
  /// Runs the fiber until it suspends or its entry returns. Called from the scheduler.
  void resume();
  /// Goes back to the scheduler. Called from inside the fiber.
  void suspend();

 private:
  boost::context::fiber body_;
  boost::context::fiber scheduler_;
  void* stack_bottom_ = nullptr;
  size_t stack_bytes_ = 0;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_stack_bytes_ = 0;
};

class stack_slab {
 public:
  struct stack {
    void* bottom;
    size_t bytes;
  };

  explicit stack_slab(int count);
  ~stack_slab();
  stack_slab(const stack_slab&) = delete;
  stack_slab& operator=(const stack_slab&) = delete;

  stack operator[](int index) const;

 private:
  char* base_;
  size_t bytes_;
};

}  // namespace q4fuse_emulator
