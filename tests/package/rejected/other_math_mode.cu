// Asked for one math mode it holds the kernels of another: what --math-mode must catch.

#undef MATH_MODE
#define MATH_MODE direct_fp16
#include "../one_math_mode.cu"
