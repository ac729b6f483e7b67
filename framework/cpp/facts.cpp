// What a GPU and the libraries that compute on it say of themselves, without any CUDA header.
#include <ATen/detail/CUDAHooksInterface.h>
#include <cstdint>
#include <dlfcn.h>

namespace {

constexpr int MULTIPROCESSORS = 16;  // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT

template <typename Function> Function find(void *library, const char *name) {
  return library == nullptr ? nullptr : reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

extern "C" {

// Memory in bytes, multiprocessors, the newest CUDA that the driver knows (13000 is 13.0), the CUDA that libtorch was built with,
// and the cuDNN that it has loaded (91900 is 9.19.0); -1 where nobody says. 0 is success.
int litesnn_gpu_facts(int index, int64_t facts[5]) {
  for (int at = 0; at < 5; ++at) facts[at] = -1;
  if (void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
    const auto init = find<int (*)(unsigned)>(driver, "cuInit");
    const auto get = find<int (*)(int *, int)>(driver, "cuDeviceGet");
    const auto memory = find<int (*)(size_t *, int)>(driver, "cuDeviceTotalMem_v2");
    const auto attribute = find<int (*)(int *, int, int)>(driver, "cuDeviceGetAttribute");
    const auto version = find<int (*)(int *)>(driver, "cuDriverGetVersion");
    int device = 0, number = 0;
    size_t bytes = 0;
    if (init && get && init(0) == 0 && get(&device, index) == 0) {
      if (memory && memory(&bytes, device) == 0) facts[0] = static_cast<int64_t>(bytes);
      if (attribute && attribute(&number, MULTIPROCESSORS, device) == 0) facts[1] = number;
      if (version && version(&number) == 0) facts[2] = number;
    }
  }
  try {
    const auto &hooks = at::detail::getCUDAHooks();
    if (hooks.hasCUDART()) facts[3] = hooks.versionCUDART();
    if (hooks.hasCuDNN()) facts[4] = hooks.versionRuntimeCuDNN();
  } catch (const std::exception &) {
    return 1;
  }
  return 0;
}
}
