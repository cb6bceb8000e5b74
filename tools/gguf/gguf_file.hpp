#pragma once

// Reads the tensors of a GGUF file (versions 2 and 3, little-endian) without trusting it: every count, length, offset
// and product is checked against the bytes that are there before anything is allocated or read.
// Source of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

#include <cstdint>
#include <istream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace q4fuse_tools {

/// What is wrong with a file, in one line: "FILE: WHAT (WHERE)".
class gguf_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// How a type of tensor stores its elements.
struct gguf_type {
  uint32_t id;
  const char* name;
  uint32_t block_elements;
  uint32_t block_bytes;
};

inline constexpr uint32_t kTypeQ4_0 = 2;

struct gguf_tensor {
  std::string name;
  const gguf_type* type = nullptr;
  std::vector<uint64_t> dims;  ///< as stored: the fastest first, so that dims[0] is k of a weight
  uint64_t offset = 0;         ///< of the first byte in the file
  uint64_t bytes = 0;

  bool is_q4_0() const { return type->id == kTypeQ4_0; }
  int64_t k() const { return static_cast<int64_t>(dims[0]); }
  /// Rows of k elements; a stack of matrices counts the rows of all of them.
  int64_t n() const;
};

/// The name in quotes, other bytes than printable ASCII as \xNN: a hostile name must not reach a terminal as it is.
std::string in_quotes(std::string_view name);

class gguf_file {
 public:
  /// Opens a file and reads all but the tensors' data.
  explicit gguf_file(const std::string& path);
  /// The same from any seekable stream; `path` is for messages only.
  gguf_file(std::unique_ptr<std::istream> stream, std::string path);

  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }
  const std::vector<gguf_tensor>& tensors() const { return tensors_; }
  /// The tensor of this name; an error when there is none or it is not Q4_0.
  const gguf_tensor& find_q4_0(const std::string& name) const;
  /// The tensor's bytes.
  std::vector<uint8_t> read(const gguf_tensor& tensor);

 private:
  void read_header();
  void place_tensors(uint64_t data_begin, uint64_t alignment);
  [[noreturn]] void fail(const std::string& message) const;

  std::unique_ptr<std::istream> stream_;
  std::string path_;
  uint64_t size_ = 0;
  uint32_t version_ = 0;
  std::vector<gguf_tensor> tensors_;
};

}  // namespace q4fuse_tools
