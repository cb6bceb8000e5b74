#include "gguf/load_problem.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace q4fuse_tools {
namespace {

constexpr uint16_t kHalfExponent = 0x7C00;

bool is_finite(__half value) { return (q4fuse_test::half_bits(value) & kHalfExponent) != kHalfExponent; }

std::string file_of(const activation_source& source, const gguf_tensor& tensor) {
  if (!std::filesystem::is_directory(source.path)) return source.path;
  // The name comes from the file: as a path it must stay in the folder.
  if (tensor.name.find('/') != std::string::npos) {
    throw std::runtime_error("tensor " + in_quotes(tensor.name) + ": no file name, give its activations as one file");
  }
  return (std::filesystem::path(source.path) / (tensor.name + ".f16")).string();
}

std::vector<__half> read_rows(const std::string& path, int64_t k, int64_t rows) {
  if (!std::filesystem::is_regular_file(path)) throw std::runtime_error(path + ": no such file");
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  const int64_t row_bytes = k * static_cast<int64_t>(sizeof(__half));
  if (bytes == 0 || bytes % row_bytes != 0) {
    throw std::runtime_error(path + ": " + std::to_string(bytes) +
                             " bytes are not whole rows of k = " + std::to_string(k) + " halves");
  }
  if (rows > bytes / row_bytes) {
    throw std::runtime_error(path + ": has " + std::to_string(bytes / row_bytes) +
                             " rows, m = " + std::to_string(rows) + " asks for more");
  }
  std::vector<__half> x(static_cast<size_t>((rows == 0 ? bytes / row_bytes : rows) * k));
  std::ifstream stream(path, std::ios::binary);
  if (!stream.read(reinterpret_cast<char*>(x.data()), static_cast<std::streamsize>(x.size() * sizeof(__half)))) {
    throw std::runtime_error(path + ": cannot be read");
  }
  for (size_t i = 0; i < x.size(); ++i) {
    if (is_finite(x[i])) continue;
    const auto index = static_cast<int64_t>(i);
    throw std::runtime_error(path + ": row " + std::to_string(index / k) + ", column " + std::to_string(index % k) +
                             " is not finite");
  }
  return x;
}

}  // namespace

std::vector<q4fuse::block_q4_0> load_weights(gguf_file& file, const gguf_tensor& tensor) {
  const std::vector<uint8_t> bytes = file.read(tensor);
  std::vector<q4fuse::block_q4_0> blocks(bytes.size() / sizeof(q4fuse::block_q4_0));
  std::memcpy(static_cast<void*>(blocks.data()), bytes.data(), bytes.size());
  const int64_t blocks_per_row = tensor.k() / q4fuse::kBlockSize;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (is_finite(blocks[i].d)) continue;
    const auto index = static_cast<int64_t>(i);
    throw gguf_error(file.path() + ": tensor " + in_quotes(tensor.name) + ": the scale of row " +
                     std::to_string(index / blocks_per_row) + ", block " + std::to_string(index % blocks_per_row) +
                     " is not finite");
  }
  return blocks;
}

std::vector<__half> load_activations(const activation_source& source, const gguf_tensor& tensor, int64_t rows) {
  if (!source.path.empty()) return read_rows(file_of(source, tensor), tensor.k(), rows);
  return q4fuse_test::make_activations(source.kind, rows, tensor.k(), source.seed);
}

}  // namespace q4fuse_tools
