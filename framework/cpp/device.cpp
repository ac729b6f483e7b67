// What libtorch knows of a device, and how it computes there. No CUDA header: everything goes by libtorch_cpu.
#include "guarded.h"
#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Version.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <cstdint>
#include <cstring>

namespace {

// Convolutions round f32 to TF32 while it lives. The flag is the process', and read when a kernel is chosen, on the thread that
// asks for it: the forward pass and the engine's device thread take turns, and never convolve at once.
class Tf32 {
public:
  explicit Tf32(bool wanted) : wanted(wanted) {
    if (wanted) at::globalContext().setAllowTF32CuDNN(true);
  }
  ~Tf32() {
    if (wanted) at::globalContext().setAllowTF32CuDNN(false);
  }
  Tf32(const Tf32 &) = delete;
  Tf32 &operator=(const Tf32 &) = delete;

private:
  const bool wanted;
};

const c10::CachingDeviceAllocator::DeviceStats statistics(int index) {
  return at::getDeviceAllocator(at::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(index));
}

constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

}  // namespace

extern "C" {

// Whether something computes for CUDA devices in this process. Unlike a question to libtorch's hooks, it does not settle the answer.
int litesnn_has_cuda() { return c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA) ? 1 : 0; }

// f32 is f32 (24 bits), sums have one order, and algorithms are not chosen by a race.
void litesnn_exact_numerics() {
  auto &context = at::globalContext();
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
  context.setAllowBF16ReductionCuBLAS(false);
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
}

// Bits: TF32 in convolutions, TF32 in products, deterministic convolutions, algorithms chosen by a race.
int litesnn_numerics() {
  auto &context = at::globalContext();
  return (context.allowTF32CuDNN() ? 1 : 0) | (context.allowTF32CuBLAS() ? 2 : 0) |
         (context.deterministicCuDNN() ? 4 : 0) | (context.benchmarkCuDNN() ? 8 : 0);
}

// A convolution, with f32 rounded to TF32 where `tf32` asks for it. Null is success; else the message of the failure, for the caller
// to free.
char *litesnn_convolution(at::Tensor *input, at::Tensor *weight, int64_t stride, int64_t padding, int64_t groups,
                          int tf32, at::Tensor **result) {
  try {
    const Tf32 guard(tf32 != 0);
    *result = new at::Tensor(at::convolution(*input, *weight, c10::nullopt, {stride, stride}, {padding, padding}, {1, 1}, false,
                                             {0, 0}, groups));
    return nullptr;
  } catch (const std::exception &error) {
    return message_of(error);
  }
}

// Its gradients to the input and the weight, where `needed` asks for them.
char *litesnn_convolution_gradients(at::Tensor *output, at::Tensor *input, at::Tensor *weight, int64_t stride,
                                    int64_t padding, int64_t groups, int tf32, const int *needed,
                                    at::Tensor **results) {
  try {
    const Tf32 guard(tf32 != 0);
    const auto [to_input, to_weight, to_bias] =
        at::convolution_backward(*output, *input, *weight, c10::nullopt, {stride, stride}, {padding, padding}, {1, 1},
                                 false, {0, 0}, groups, {needed[0] != 0, needed[1] != 0, false});
    if (needed[0]) results[0] = new at::Tensor(to_input);
    if (needed[1]) results[1] = new at::Tensor(to_weight);
    return nullptr;
  } catch (const std::exception &error) {
    return message_of(error);
  }
}

// The tensor in memory that a device reads without the processor's help, for the caller to delete; null where none can be had.
// Without a device: naming one is deprecated, and libtorch says so on every call.
at::Tensor *litesnn_pinned(at::Tensor *tensor) {
  try {
    return new at::Tensor(tensor->pin_memory());
  } catch (const std::exception &) {
    return nullptr;
  }
}

// Free memory of an accelerator in bytes; 0 is success.
int litesnn_free_memory(int index, uint64_t *free) {
  try {
    *free = at::accelerator::getMemoryInfo(static_cast<c10::DeviceIndex>(index)).first;
    return 0;
  } catch (const std::exception &) {
    return 1;
  }
}

// Bytes that this process holds of a CUDA device's memory, now and at most so far; 0 is success.
int litesnn_held_memory(int index, uint64_t *now, uint64_t *most) {
  try {
    const auto held = statistics(index).reserved_bytes[all];
    *now = held.current;
    *most = held.peak;
    return 0;
  } catch (const std::exception &) {
    return 1;
  }
}

// How the libtorch that was loaded was built, in words, for the caller to free; null where it does not say.
char *litesnn_configuration() {
  try {
    return strdup(at::show_config().c_str());
  } catch (const std::exception &) {
    return nullptr;
  }
}
}
