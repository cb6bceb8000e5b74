// Two shared libraries, with code for sm_75 (which newer GPUs can run) and for sm_90a, in one process: each must run
// its own kernels. Arguments: the two libraries.

#include "outcome.hpp"

#include <dlfcn.h>

static outcome run(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  void* function = library != nullptr ? dlsym(library, "multiply_in_library") : nullptr;
  if (function == nullptr) {
    std::printf("%s\n", dlerror());
    std::exit(1);
  }
  return reinterpret_cast<outcome (*)()>(function)();
}

int main(int, char** argv) {
  const outcome older = run(argv[1]);
  const outcome newer = run(argv[2]);
  if (older.no_gpu && newer.no_gpu) return skip();
  std::printf("code for %d: y = %.9g; code for %d: y = %.9g\n", older.code_arch, older.y, newer.code_arch, newer.y);
  if (!right(older) || older.code_arch != 75 || older.has_wgmma) return 1;
  if (newer.no_kernel) return 0;  // this GPU is no Hopper, and the library said so
  return right(newer) && newer.code_arch == 90 && newer.has_wgmma && newer.y == older.y ? 0 : 1;
}
