// All GEMM tests as one translation unit: each one that includes the library compiles every kernel of it.

#include "gemm/automatic_test.cpp"
#include "gemm/errors_test.cpp"
#include "gemm/layout_test.cpp"
#include "gemm/shapes_test.cpp"
#include "gemm/values_test.cpp"

// These need CUDA's graphs, streams and memory; the ones above also run on the emulator.
#include "gemm/graph_test.cu"
#include "gemm/kernel_identity_test.cu"
#include "gemm/large_test.cu"
#include "gemm/stream_test.cu"
