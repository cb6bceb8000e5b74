#pragma once

#include <cstddef>

namespace q4fuse_test {

/// Forgets what was seen.
void reset_largest_allocation();

/// Bytes of the largest single operator new since then, in a program that is linked with allocation_watch.cpp.
size_t largest_allocation();

}  // namespace q4fuse_test
