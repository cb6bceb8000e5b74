#include "emulator/runtime/fault.hpp"

#include <cstring>

namespace q4fuse_emulator {

bool operator==(const site& a, const site& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

std::string to_string(const site& where) {
  const char* slash = std::strrchr(where.file, '/');
  return std::string(slash != nullptr ? slash + 1 : where.file) + ":" + std::to_string(where.line) + " in " +
         where.function;
}

std::string to_string(const fault_report& r) {
  std::string text = to_string(r.kind);
  if (r.bytes >= 0) {
    text += ": byte " + std::to_string(r.offset) + " of " + (r.buffer.empty() ? "shared memory" : r.buffer) +
            ", in an access of " + std::to_string(r.bytes);
  }
  if (r.thread >= 0) text += ", thread " + std::to_string(r.thread) + " of CTA " + std::to_string(r.cta);
  if (r.where.line > 0) text += ", " + to_string(r.where);
  if (r.other_thread >= 0) {
    text += "; other side: thread " + std::to_string(r.other_thread);
    if (r.other_cta != r.cta) text += " of CTA " + std::to_string(r.other_cta);
    if (r.other_where.line > 0) text += ", " + to_string(r.other_where);
  }
  if (!r.detail.empty()) text += "; " + r.detail;
  if (!r.kernel.empty()) text += "; kernel " + r.kernel;
  return text;
}

}  // namespace q4fuse_emulator
