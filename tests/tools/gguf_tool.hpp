#pragma once

// Runs the program q4fuse_gguf, whose path is Q4FUSE_GGUF_TOOL.

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace q4fuse_test {

struct tool_outcome {
  int exit_status;
  std::string output;  ///< standard output and error together

  bool says(const std::string& text) const { return output.find(text) != std::string::npos; }
  int64_t lines() const { return std::count(output.begin(), output.end(), '\n'); }
};

/// `environment` holds assignments for the shell, or nothing.
inline tool_outcome run_gguf_tool(const std::string& environment, const std::string& arguments) {
  const std::string command = environment + " '" Q4FUSE_GGUF_TOOL "' " + arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  std::string output;
  std::array<char, 4096> part;
  while (const size_t count = std::fread(part.data(), 1, part.size(), pipe)) output.append(part.data(), count);
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

}  // namespace q4fuse_test
