// Two translation units with every kernel in both: they must link, and both must run.

#include "multiply.cuh"

outcome multiply_in_second_unit();

int main() {
  const outcome first = multiply();
  const outcome second = multiply_in_second_unit();
  if (first.no_gpu && second.no_gpu) return skip();
  std::printf("y = %.9g and %.9g\n", first.y, second.y);
  return right(first) && right(second) && first.y == second.y ? 0 : 1;
}
