// All quantizer tests as one translation unit: each one that includes the library compiles every kernel of it.

#include "device/quantize_layout_test.cpp"
#include "device/quantize_values_test.cpp"
