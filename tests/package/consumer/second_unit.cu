#include "multiply.cuh"

outcome multiply_in_second_unit() { return multiply(); }
