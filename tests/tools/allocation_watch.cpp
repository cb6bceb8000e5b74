// Replaces operator new for a whole program. A file of its own: inlined into a caller, the pair of malloc and delete
// looks like a mistake to the compiler.

#include "tools/allocation_watch.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<size_t> largest{0};
}

namespace q4fuse_test {
void reset_largest_allocation() { largest = 0; }
size_t largest_allocation() { return largest; }
}  // namespace q4fuse_test

void* operator new(size_t bytes) {
  size_t seen = largest;
  while (bytes > seen && !largest.compare_exchange_weak(seen, bytes)) {
  }
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
