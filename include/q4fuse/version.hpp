#pragma once

// The one home of the version: CMake reads these three lines, the inline namespace carries the first two.
#define Q4FUSE_VERSION_MAJOR 0
#define Q4FUSE_VERSION_MINOR 1
#define Q4FUSE_VERSION_PATCH 0
