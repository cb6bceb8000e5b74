// The GPU's side of the comparison, apart because a source has one language in a folder.
#include "emulator/bits/bits.cpp"
