// What libtorch asks of a device beside its operators: guard, streams and events, allocators, hooks. They are registered under the key of
// CUDA, which is free in a libtorch without CUDA and in one whose CUDA part is not loaded.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/version.h>
// An older libtorch has no such interface: its graphs are CUDA's own.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 13)
#include <ATen/core/GraphImplInterface.h>
#define HAS_GRAPHS
#endif

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "memory.h"
#include "report.h"
#include "tensors.h"

namespace pretended {
namespace {

const at::Device DEVICE(at::kCUDA, 0);
const c10::Stream STREAM(c10::Stream::DEFAULT, DEVICE);

// What the device was asked for is done when the call comes back, so that an event is a time.
using Event = std::chrono::steady_clock::time_point;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return at::kCUDA; }
  at::Device exchangeDevice(at::Device device) const override { return require(device), DEVICE; }
  at::Device getDevice() const override { return DEVICE; }
  void setDevice(at::Device device) const override { require(device); }
  void uncheckedSetDevice(at::Device) const noexcept override {}
  at::DeviceIndex deviceCount() const noexcept override { return 1; }

  c10::Stream getStream(at::Device) const override { return STREAM; }
  c10::Stream getDefaultStream(at::Device) const override { return STREAM; }
  c10::Stream getStreamFromGlobalPool(at::Device, bool) const override { return STREAM; }
  c10::Stream getNewStream(at::Device, int) const override { return STREAM; }
  c10::Stream exchangeStream(c10::Stream) const override { return STREAM; }
  // The driver's default stream.
  void *getStreamNativeHandle(const c10::Stream) const override { return nullptr; }
  bool queryStream(const c10::Stream &) const override { return true; }
  void synchronizeStream(const c10::Stream &) const override { synchronised(); }
  void synchronizeDevice(const at::DeviceIndex) const override { synchronised(); }

  void record(void **event, const c10::Stream &, const at::DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) *event = new Event;
    *static_cast<Event *>(*event) = std::chrono::steady_clock::now();
  }
  void block(void *, const c10::Stream &) const override {}
  bool queryEvent(void *) const override { return true; }
  void synchronizeEvent(void *) const override { waited("wait for an event"); }
  void destroyEvent(void *event, const at::DeviceIndex) const noexcept override { delete static_cast<Event *>(event); }
  double elapsedTime(void *from, void *to, const at::DeviceIndex) const override {
    return std::chrono::duration<double, std::milli>(*static_cast<Event *>(to) - *static_cast<Event *>(from)).count();
  }
  void recordDataPtrOnStream(const c10::DataPtr &, const c10::Stream &) const override {}
};

struct DeviceAllocator final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override { return new_block(bytes); }
  // `raw_alloc` is for other frameworks.
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void *to, const void *from, size_t bytes) const override {
    std::memcpy(to_open(to), to_open(from), bytes);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr &, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(at::DeviceIndex) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    const auto [now, peak, capacity] = usage();
    for (auto *statistic : {&stats.allocated_bytes, &stats.active_bytes, &stats.reserved_bytes}) {
      auto &all = (*statistic)[static_cast<size_t>(c10::CachingDeviceAllocator::StatType::AGGREGATE)];
      all.current = static_cast<int64_t>(now);
      all.peak = static_cast<int64_t>(peak);
    }
    return stats;
  }
  void resetAccumulatedStats(at::DeviceIndex) override {}
  void resetPeakStats(at::DeviceIndex) override { reset_peak(); }
  std::pair<size_t, size_t> getMemoryInfo(at::DeviceIndex) override {
    const auto [now, peak, capacity] = usage();
    return {capacity - now, capacity};
  }
};

struct PinnedAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void *address = pin(bytes);
    return {address, address, &unpin, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &unpin; }
  void copy_data(void *to, const void *from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

// What an operator computes on the device lies in the device's memory from the start.
struct HostAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    if (!on_device() || bytes == 0) return c10::GetDefaultCPUAllocator()->allocate(bytes);
    void *address = to_open(pretended::allocate(bytes));
    return {address, address, &release, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &drop; }
  void copy_data(void *to, const void *from, size_t bytes) const override { std::memcpy(to, from, bytes); }
  static void drop(void *address) {
    if (is_open(address)) {
      release(address);
    } else {
      c10::GetDefaultCPUAllocator()->raw_deleter()(address);
    }
  }
};

#ifdef HAS_GRAPHS
// A graph that records nothing: PRETENDED_GRAPH.
struct RefusedGraph final : at::GraphImplInterface {
  void capture_begin(at::MempoolId_t, at::GraphCaptureMode) override {
    TORCH_CHECK(false, "CUDA error: operation not supported on a pretended device");
  }
  void capture_end() override {}
  void instantiate() override {}
  void replay() override {}
  void reset() override {}
  at::MempoolId_t pool() const override { return {0, 0}; }
  void enable_debug_mode() override {}
  void debug_dump(const std::string &) override {}
};
#endif

void offer_graphs() {
#ifdef HAS_GRAPHS
  const auto create = [](at::GraphImplArgs) { return std::unique_ptr<at::GraphImplInterface>(new RefusedGraph); };
  at::GraphImplRegistry()->Register("CUDA", create);
#endif
}

}  // namespace

void offer_graphs_if_asked() {
  if (std::getenv("PRETENDED_GRAPH") != nullptr) offer_graphs();
}

void require(at::Device device) {
  TORCH_CHECK(device.type() == at::kCUDA && device.index() <= 0, "CUDA error: invalid device ordinal ", device);
}

at::Allocator *device_allocator() {
  static auto &allocator = *new DeviceAllocator;
  return &allocator;
}

const at::Generator &device_generator() {
  static auto &generator = *new at::Generator(at::detail::createCPUGenerator());
  return generator;
}

}  // namespace pretended

C10_REGISTER_GUARD_IMPL(CUDA, pretended::Guard)

// The registry looks for this name.
struct CUDAHooks : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return 1; }
  at::DeviceIndex deviceCount() const override { return 1; }
  at::DeviceIndex current_device() const override { return 0; }
  at::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(at::DeviceIndex index) const override { pretended::require(at::Device(at::kCUDA, index)); }
  at::DeviceIndex exchangeDevice(at::DeviceIndex) const override { return 0; }
  at::DeviceIndex maybeExchangeDevice(at::DeviceIndex) const override { return 0; }
  void deviceSynchronize(at::DeviceIndex) const override { pretended::synchronised(); }
  const at::Generator &getDefaultGenerator(at::DeviceIndex) const override { return pretended::device_generator(); }
  at::Generator getNewGenerator(at::DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  at::Allocator *getCUDADeviceAllocator() const override { return pretended::device_allocator(); }
  at::Allocator *getPinnedMemoryAllocator() const override {
    static auto &allocator = *new pretended::PinnedAllocator;
    return &allocator;
  }
  bool isPinnedPtr(const void *address) const override { return pretended::is_pinned(address); }
  at::Device getDeviceFromPtr(void *address) const override {
    TORCH_CHECK(pretended::is_shown(address), "CUDA error: no memory of the pretended device");
    return pretended::DEVICE;
  }
  std::string showConfig() const override { return "pretended CUDA device"; }
};

namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks)
}

namespace {
// Before `main`, and after libtorch's own statics: this library needs libtorch's.
struct AtLoad {
  AtLoad() {
    c10::SetAllocator(at::kCUDA, pretended::device_allocator(), 10);
    c10::SetCPUAllocator(new pretended::HostAllocator, 10);
    pretended::offer_graphs_if_asked();
  }
} at_load;
}  // namespace
