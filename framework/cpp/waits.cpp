// Counts the operations at which libtorch waits for a CUDA device. `torch.cuda.set_sync_debug_mode("warn")` without Python: the mode is
// a variable of an inline function of c10/cuda/CUDAFunctions.h, which is one for the whole process and has a name in its libraries.
#include <atomic>
#include <c10/util/Exception.h>
#include <cstdint>
#include <cstring>
#include <dlfcn.h>

namespace {

std::atomic<uint64_t> waits{0};

class Counter final : public c10::WarningHandler {
public:
  void process(const c10::Warning &warning) override {
    if (warning.msg().find("synchronizing CUDA operation") != std::string::npos) {
      ++waits;
    } else {
      c10::WarningHandler::process(warning);
    }
  }
};

// c10::cuda::WarningState has one member: 0 is disabled, 1 warns, 2 throws.
int *mode() {
  return static_cast<int *>(dlsym(RTLD_DEFAULT, "_ZZN3c104cuda13warning_stateEvE14warning_state_"));
}

}  // namespace

extern "C" {

// Begins or ends to count on this thread and on those that run its backward passes, whose warnings come to this thread. 0 is success.
int litesnn_watch_waits(int watch) {
  static Counter counter;
  static c10::WarningHandler *before = nullptr;
  int *state = mode();
  if (state == nullptr) return 1;
  auto *current = c10::WarningUtils::get_warning_handler();
  if (watch && current != &counter) {
    before = current;
    c10::WarningUtils::set_warning_handler(&counter);
  } else if (!watch && current == &counter) {
    c10::WarningUtils::set_warning_handler(before);
  }
  *state = watch ? 1 : 0;
  return 0;
}

uint64_t litesnn_waits() { return waits; }
}
