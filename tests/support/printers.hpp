#pragma once

// How GoogleTest prints the library's types in a failure.

#include <q4fuse/plan.hpp>
#include <q4fuse/status.hpp>

#include <ostream>

namespace q4fuse {

inline void PrintTo(status_code code, std::ostream* stream) { *stream << '"' << to_string(code) << '"'; }
inline void PrintTo(const status& value, std::ostream* stream) { *stream << '"' << to_string(value) << '"'; }
inline void PrintTo(const kernel_config& config, std::ostream* stream) { *stream << to_string(config); }

}  // namespace q4fuse
