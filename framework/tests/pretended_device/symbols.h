// Names of the functions of this program, from its table of symbols.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace pretended {

// The offset of an address in the program, unless it lies in a library.
std::optional<uintptr_t> in_program(const void *address);
// Whether a function is the project's own: not one of another crate or of the standard library that the program was linked with.
bool is_own(const std::string &name);

class Symbols {
 public:
  Symbols();
  // The function that an offset in the program belongs to.
  std::string name(uintptr_t offset) const;

 private:
  std::map<uintptr_t, std::string> starts_;
};

}  // namespace pretended
