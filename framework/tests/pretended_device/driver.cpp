// The functions of the NVIDIA driver that the framework calls, for the pretended device: `libcuda.so.1`. Compiled code is a shared
// object that g++ made (`compiler.cpp`), and a launch runs its blocks and threads one after another on the CPU.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

namespace {

// The numbers of cuda.h.
constexpr int SUCCESS = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500, UNKNOWN = 999;
constexpr int CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76;
constexpr unsigned LARGEST_BLOCK = 1024, LARGEST_GRID = 65535;

// What `NAME_run` of `framework/kernels/host.h` is.
using Run = void (*)(const unsigned grid[3], const unsigned block[3], void **arguments);
struct Function {
  std::string name;
  Run run;
};

// Bytes of a shared object: its table of sections comes last.
size_t size_of(const void *image) {
  const auto *header = static_cast<const ElfW(Ehdr) *>(image);
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return 0;
  return header->e_shoff + size_t{header->e_shnum} * header->e_shentsize;
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return SUCCESS; }

int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGetName(char *name, int length, int) {
  std::strncpy(name, "pretended CUDA device", static_cast<size_t>(length));
  return SUCCESS;
}

// As an H100.
int cuDeviceGetAttribute(int *value, int attribute, int) {
  if (attribute != CAPABILITY_MAJOR && attribute != CAPABILITY_MINOR) return INVALID_VALUE;
  *value = attribute == CAPABILITY_MAJOR ? 9 : 0;
  return SUCCESS;
}

int cuCtxGetCurrent(void **context) {
  static char only;
  *context = &only;
  return SUCCESS;
}

int cuModuleLoadData(void **module, const void *image) {
  const size_t size = size_of(image);
  if (size == 0) return INVALID_IMAGE;
  const int file = memfd_create("kernel", 0);
  if (file < 0 || write(file, image, size) != static_cast<ssize_t>(size)) return UNKNOWN;
  // Open as long as the module is: a second file by its number would be taken for this one.
  *module = dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
  return *module != nullptr ? SUCCESS : INVALID_IMAGE;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
  const auto run = reinterpret_cast<Run>(dlsym(module, (std::string(name) + "_run").c_str()));
  if (run == nullptr) return NOT_FOUND;
  *function = new Function{name, run};
  return SUCCESS;
}

int cuFuncSetAttribute(void *, int, int) { return SUCCESS; }

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned, void *, void **arguments, void **) {
  const unsigned grid[] = {grid_x, grid_y, grid_z}, block[] = {block_x, block_y, block_z};
  for (const unsigned size : {grid_x, grid_y, grid_z, block_x, block_y, block_z}) {
    if (size == 0) return INVALID_VALUE;
  }
  if (block_x * block_y * block_z > LARGEST_BLOCK || block_z > 64) return INVALID_VALUE;
  if (grid_x > 0x7fffffff || grid_y > LARGEST_GRID || grid_z > LARGEST_GRID) return INVALID_VALUE;
  // Counts the launch, and lets the kernel touch the device's memory.
  using Launch = void (*)(const char *, Run, const unsigned *, const unsigned *, void **);
  static const auto launch = reinterpret_cast<Launch>(dlsym(RTLD_DEFAULT, "pretended_launch"));
  if (launch == nullptr) return UNKNOWN;
  const auto *kernel = static_cast<Function *>(function);
  launch(kernel->name.c_str(), kernel->run, grid, block, arguments);
  return SUCCESS;
}

int cuGetErrorString(int status, const char **text) {
  switch (status) {
    case SUCCESS: *text = "no error"; break;
    case INVALID_VALUE: *text = "invalid argument"; break;
    case INVALID_IMAGE: *text = "device kernel image is invalid"; break;
    case NOT_FOUND: *text = "named symbol not found"; break;
    default: *text = "unknown error"; break;
  }
  return SUCCESS;
}
}
