#include "tools/gguf_bytes.hpp"

#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>

namespace q4fuse_test {

gguf_bytes& gguf_bytes::number(uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) data_ += static_cast<char>(value >> (8 * i) & 0xFF);
  return *this;
}

gguf_bytes& gguf_bytes::pad(size_t alignment) {
  data_.resize((data_.size() + alignment - 1) / alignment * alignment, '\0');
  return *this;
}

std::string make_gguf(const std::vector<tensor_entry>& tensors, size_t data_bytes, const gguf_bytes& metadata,
                      uint64_t metadata_count, uint32_t version, size_t alignment) {
  gguf_bytes file;
  file.raw("GGUF").u32(version).u64(tensors.size()).u64(metadata_count).raw(metadata.data());
  for (const tensor_entry& tensor : tensors) {
    file.text(tensor.name).u32(static_cast<uint32_t>(tensor.dims.size()));
    for (const uint64_t dim : tensor.dims) file.u64(dim);
    file.u32(tensor.type).u64(tensor.offset);
  }
  file.pad(alignment);
  for (size_t i = 0; i < data_bytes; ++i) file.raw(std::string(1, static_cast<char>(i % 251)));
  return file.data();
}

q4fuse_tools::gguf_file parse(const std::string& bytes) {
  return q4fuse_tools::gguf_file(std::make_unique<std::istringstream>(bytes), "test.gguf");
}

std::string read_whole_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error(path + ": cannot be opened");
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string parse_error(const std::string& bytes) {
  try {
    (void)parse(bytes);
    return "";
  } catch (const q4fuse_tools::gguf_error& error) {
    return error.what();
  }
}

}  // namespace q4fuse_test
