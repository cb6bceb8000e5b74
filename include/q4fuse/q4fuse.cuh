#pragma once

// q4fuse: FP16 activations x Q4_0 weights -> FP32, with Q8_1 quantization as its own kernel or inside the GEMM.

#include <q4fuse/formats.hpp>
#include <q4fuse/gemm.cuh>
#include <q4fuse/kernel_config.hpp>
#include <q4fuse/kernel_traits.hpp>
#include <q4fuse/options.hpp>
#include <q4fuse/plan.hpp>
#include <q4fuse/quantize.cuh>
#include <q4fuse/shape.hpp>
#include <q4fuse/status.hpp>
#include <q4fuse/version.hpp>
