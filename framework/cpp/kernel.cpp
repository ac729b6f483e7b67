// Kernels of our own on a CUDA device: source to code by NVRTC, code to the stream that libtorch works on by the driver. Both
// libraries are looked for when the first kernel is wanted, so that neither a CUDA header nor a CUDA library takes part in a build.
#include <c10/core/Allocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>

namespace {

// The parts of cuda.h and nvrtc.h that are used here. Their interface is stable: symbols and numbers do not change.
using Status = int;
using Handle = void *;
constexpr int CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76;

struct Libraries {
  std::string missing;  // why there are no kernels; empty where there are

  Status (*nvrtcVersion)(int *, int *);
  Status (*nvrtcCreateProgram)(Handle *, const char *, const char *, int, const char *const *, const char *const *);
  Status (*nvrtcCompileProgram)(Handle, int, const char *const *);
  Status (*nvrtcGetCUBINSize)(Handle, size_t *);
  Status (*nvrtcGetCUBIN)(Handle, char *);
  Status (*nvrtcGetProgramLogSize)(Handle, size_t *);
  Status (*nvrtcGetProgramLog)(Handle, char *);
  const char *(*nvrtcGetErrorString)(Status);
  Status (*nvrtcDestroyProgram)(Handle *);
  Status (*cuInit)(unsigned);
  Status (*cuCtxGetCurrent)(Handle *);
  Status (*cuDeviceGet)(int *, int);
  Status (*cuDeviceGetAttribute)(int *, int, int);
  Status (*cuModuleLoadData)(Handle *, const void *);
  Status (*cuModuleGetFunction)(Handle *, Handle, const char *);
  Status (*cuLaunchKernel)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void **,
                           void **);
  Status (*cuGetErrorString)(Status, const char **);

  Libraries() {
    const Handle driver = open({"libcuda.so.1"}, "the NVIDIA driver");
    const Handle compiler = open({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}, "NVRTC");
    if (!missing.empty()) return;
#define FIND(library, name) find(library, #name, name)
    FIND(compiler, nvrtcVersion);
    FIND(compiler, nvrtcCreateProgram);
    FIND(compiler, nvrtcCompileProgram);
    FIND(compiler, nvrtcGetCUBINSize);
    FIND(compiler, nvrtcGetCUBIN);
    FIND(compiler, nvrtcGetProgramLogSize);
    FIND(compiler, nvrtcGetProgramLog);
    FIND(compiler, nvrtcGetErrorString);
    FIND(compiler, nvrtcDestroyProgram);
    FIND(driver, cuInit);
    FIND(driver, cuCtxGetCurrent);
    FIND(driver, cuDeviceGet);
    FIND(driver, cuDeviceGetAttribute);
    FIND(driver, cuModuleLoadData);
    FIND(driver, cuModuleGetFunction);
    FIND(driver, cuLaunchKernel);
    FIND(driver, cuGetErrorString);
#undef FIND
    if (missing.empty() && cuInit(0) != 0) missing = of_driver(cuInit(0));
  }

  // The first of `names` that can be opened: by the loader's own search, or where libtorch's wheels keep it.
  Handle open(std::initializer_list<const char *> names, const char *what) {
    for (const char *name : names) {
      if (const Handle library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
    }
    Dl_info torch;
    if (dladdr(reinterpret_cast<void *>(&c10::GetAllocator), &torch) != 0) {
      const std::string file = torch.dli_fname, lib = file.substr(0, file.rfind('/'));
      for (const char *folder : {"/", "/../../nvidia/cu13/lib/", "/../../nvidia/cuda_nvrtc/lib/"}) {
        for (const char *name : names) {
          if (const Handle library = dlopen((lib + folder + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
        }
      }
    }
    if (missing.empty()) missing = std::string(what) + " was not found (" + *names.begin() + ")";
    return nullptr;
  }

  template <typename Function>
  void find(Handle library, const char *name, Function &function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr && missing.empty()) missing = std::string("there is no ") + name + " in the library loaded";
  }

  std::string of_driver(Status status) const {
    const char *text = nullptr;
    if (cuGetErrorString(status, &text) != 0 || text == nullptr) text = "unknown error";
    return std::string("the NVIDIA driver: ") + text + " (" + std::to_string(status) + ")";
  }
};

const Libraries &libraries() {
  static const Libraries found;
  return found;
}

// For the caller to free.
char *message(const std::string &text) { return strdup(text.c_str()); }

c10::Device cuda(int index) { return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)); }

// The stream that libtorch works on now. Afterwards the device's context is that of this thread: the backward pass runs on
// threads on which nothing may have touched the device yet.
Handle current_stream(int index) {
  c10::impl::VirtualGuardImpl device(c10::DeviceType::CUDA);
  const c10::Stream stream = device.getStream(cuda(index));
  Handle context = nullptr;
  if (libraries().cuCtxGetCurrent(&context) != 0 || context == nullptr) device.queryStream(stream);
  return stream.native_handle();
}

}  // namespace

extern "C" {

// Null where kernels can be compiled and launched, else what is missing.
const char *litesnn_kernels_missing() {
  return libraries().missing.empty() ? nullptr : libraries().missing.c_str();
}

// Version of NVRTC and compute capability of the device. Null is success; else the message, for the caller to free.
char *litesnn_kernel_target(int index, int version[2], int capability[2]) {
  const Libraries &lib = libraries();
  if (lib.nvrtcVersion(&version[0], &version[1]) != 0) return message("NVRTC does not tell its version");
  int device = 0;
  Status status = lib.cuDeviceGet(&device, index);
  if (status == 0) status = lib.cuDeviceGetAttribute(&capability[0], CAPABILITY_MAJOR, device);
  if (status == 0) status = lib.cuDeviceGetAttribute(&capability[1], CAPABILITY_MINOR, device);
  return status == 0 ? nullptr : message(lib.of_driver(status));
}

// Compiles a source; `code` gets `size` bytes, for the caller to free. Null is success; else the message with the compiler's log.
char *litesnn_kernel_compile(const char *source, const char *name, const char *const *options, int option_count,
                             char **code, size_t *size) {
  const Libraries &lib = libraries();
  Handle program = nullptr;
  Status status = lib.nvrtcCreateProgram(&program, source, name, 0, nullptr, nullptr);
  if (status != 0) return message(lib.nvrtcGetErrorString(status));
  std::string failure;
  status = lib.nvrtcCompileProgram(program, option_count, options);
  if (status != 0) {
    failure = lib.nvrtcGetErrorString(status);
    size_t length = 0;
    if (lib.nvrtcGetProgramLogSize(program, &length) == 0 && length > 1) {
      std::string log(length, '\0');
      lib.nvrtcGetProgramLog(program, log.data());
      failure += "\n" + std::string(log.c_str());
    }
  } else {
    status = lib.nvrtcGetCUBINSize(program, size);
    if (status == 0) {
      *code = static_cast<char *>(malloc(*size));
      status = lib.nvrtcGetCUBIN(program, *code);
    }
    if (status != 0) failure = lib.nvrtcGetErrorString(status);
  }
  lib.nvrtcDestroyProgram(&program);
  return failure.empty() ? nullptr : message(failure);
}

// Loads compiled code and finds a kernel in it. It stays loaded. Null is success; else the message, for the caller to free.
char *litesnn_kernel_load(int index, const char *code, const char *entry, Handle *function) {
  try {
    const Libraries &lib = libraries();
    const c10::DeviceGuard guard(cuda(index));
    current_stream(index);
    Handle module = nullptr;
    Status status = lib.cuModuleLoadData(&module, code);
    if (status == 0) status = lib.cuModuleGetFunction(function, module, entry);
    return status == 0 ? nullptr : message(lib.of_driver(status));
  } catch (const std::exception &error) {
    return message(error.what());
  }
}

// Puts a kernel on the current stream of the device. Null is success; else the message, for the caller to free.
char *litesnn_kernel_launch(int index, Handle function, const unsigned grid[3], const unsigned block[3],
                            void **arguments) {
  try {
    const Libraries &lib = libraries();
    const c10::DeviceGuard guard(cuda(index));
    const Handle stream = current_stream(index);
    const Status status = lib.cuLaunchKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2], 0, stream,
                                             arguments, nullptr);
    return status == 0 ? nullptr : message(lib.of_driver(status));
  } catch (const std::exception &error) {
    return message(error.what());
  }
}
}
