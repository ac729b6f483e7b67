#include "symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <vector>

namespace pretended {
namespace {

struct Program {
  uintptr_t base = 0, end = 0;
};

// The program is the first of the loaded objects.
const Program &program() {
  static const Program only = [] {
    Program found;
    dl_iterate_phdr(
        [](dl_phdr_info *info, size_t, void *into) {
          auto &found = *static_cast<Program *>(into);
          found.base = info->dlpi_addr;
          for (int i = 0; i < info->dlpi_phnum; i++) {
            const auto &part = info->dlpi_phdr[i];
            if (part.p_type == PT_LOAD) found.end = found.base + part.p_vaddr + part.p_memsz;
          }
          return 1;
        },
        &found);
    return found;
  }();
  return only;
}

// `_ZN9framework4node7forward17h0123456789abcdefE` as `framework::node::forward`.
std::string demangled(const std::string &symbol) {
  int status = 1;
  char *text = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  std::string name = status == 0 ? text : symbol;
  std::free(text);
  static const std::regex hash("::h[0-9a-f]{16}$"), less("\\$LT\\$"), greater("\\$GT\\$"), space("\\$u20\\$"),
      reference("\\$RF\\$"), comma("\\$C\\$"), open("\\$u7b\\$"), shut("\\$u7d\\$"), path("\\.\\.");
  for (const auto &[pattern, by] : {std::pair{&hash, ""}, {&less, "<"}, {&greater, ">"}, {&space, " "}, {&reference, "&"},
                                    {&comma, ","}, {&open, "{"}, {&shut, "}"}, {&path, "::"}}) {
    name = std::regex_replace(name, *pattern, by);
  }
  return name;
}

}  // namespace

std::optional<uintptr_t> in_program(const void *address) {
  const auto place = reinterpret_cast<uintptr_t>(address);
  if (place < program().base || place >= program().end) return std::nullopt;
  return place - program().base;
}

bool is_own(const std::string &name) {
  // A test is a crate of its own, with the name of its file: `/.../pretended_device-0123456789abcdef`.
  static const std::string test = [] {
    const auto file = std::filesystem::read_symlink("/proc/self/exe").filename().string();
    return file.substr(0, file.rfind('-'));
  }();
  const auto start = name.find_first_not_of("_<&");
  if (start == std::string::npos) return false;
  return name.compare(start, 7, "litesnn") == 0 || name.compare(start, test.size(), test) == 0;
}

Symbols::Symbols() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < sizeof(ElfW(Ehdr))) return;
  const auto *header = reinterpret_cast<const ElfW(Ehdr) *>(bytes.data());
  const auto *sections = reinterpret_cast<const ElfW(Shdr) *>(bytes.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; i++) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto *symbols = reinterpret_cast<const ElfW(Sym) *>(bytes.data() + sections[i].sh_offset);
    const char *names = bytes.data() + sections[sections[i].sh_link].sh_offset;
    for (size_t k = 0; k < sections[i].sh_size / sizeof(ElfW(Sym)); k++) {
      if ((symbols[k].st_info & 0xf) == STT_FUNC) starts_[symbols[k].st_value] = names + symbols[k].st_name;
    }
  }
}

std::string Symbols::name(uintptr_t offset) const {
  auto after = starts_.upper_bound(offset);
  if (after == starts_.begin()) {
    std::ostringstream text;
    text << "0x" << std::hex << offset;
    return text.str();
  }
  return demangled((--after)->second);
}

}  // namespace pretended
