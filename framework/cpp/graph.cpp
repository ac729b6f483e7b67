// Graphs of a CUDA device: work that is recorded once on a stream and launched again as a whole.
#include "guarded.h"
#include <c10/core/impl/VirtualGuardImpl.h>
#include <memory>
#include <torch/version.h>
#include <utility>

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 13)
#define LITESNN_ACCELERATOR_GRAPH
#include <ATen/accelerator/Graph.h>
#else
#include <dlfcn.h>
#include <stdexcept>
#include <string>
#endif

namespace {

#ifdef LITESNN_ACCELERATOR_GRAPH

using Graph = at::accelerator::Graph;

bool is_possible() { return at::has_graph_impl(c10::DeviceType::CUDA); }

#else

// at::cuda::CUDAGraph of an older libtorch. Its header wants CUDA's headers, which nothing else here needs: so its members are
// found by their names in the part of libtorch that has been loaded.
class Graph {
 public:
  Graph() { call<void (*)(void *, bool)>("C1Eb")(memory_, false); }
  ~Graph() { call<void (*)(void *)>("D1Ev")(memory_); }
  Graph(const Graph &) = delete;

  void capture_begin() {
    using Pool = std::pair<unsigned long long, unsigned long long>;
    constexpr int global_mode = 0;  // cudaStreamCaptureModeGlobal, the default there
    call<void (*)(void *, Pool, int)>("13capture_beginESt4pairIyyE21cudaStreamCaptureMode")(memory_, {0, 0}, global_mode);
  }
  void capture_end() { call<void (*)(void *)>("11capture_endEv")(memory_); }
  void replay() { call<void (*)(void *)>("6replayEv")(memory_); }

  static void *member(const char *name) {
    return dlsym(RTLD_DEFAULT, (std::string("_ZN2at4cuda9CUDAGraph") + name).c_str());
  }

 private:
  template <class Member>
  static Member call(const char *name) {
    void *found = member(name);
    if (found == nullptr) throw std::runtime_error(std::string("this libtorch has no CUDAGraph::") + name);
    return reinterpret_cast<Member>(found);
  }
  // Several times what any version takes.
  alignas(64) unsigned char memory_[2048] = {};
};

bool is_possible() { return Graph::member("C1Eb") != nullptr; }

#endif

c10::impl::VirtualGuardImpl guard() { return c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA); }

}  // namespace

extern "C" {

// Whether work on a CUDA device can be recorded.
int litesnn_graph_possible() {
  return c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA) && is_possible() ? 1 : 0;
}

// Makes a stream of its own the current one of this thread: the default stream cannot be recorded. Null is success, here and below;
// else the message of the failure, for the caller to free.
char *litesnn_graph_stream(int index) {
  return guarded([&] {
    const c10::Device device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
    auto implementation = guard();
    const auto current = implementation.getStream(device);
    if (current != implementation.getDefaultStream(device)) return;
    // What was put on the default stream is done before anything that is put on the new one.
    implementation.synchronizeStream(current);
    implementation.exchangeStream(implementation.getStreamFromGlobalPool(device));
  });
}

// Begins to record what this thread, and the engine's thread for it, put on the current stream.
char *litesnn_graph_begin(void **graph) {
  return guarded([&] {
    auto made = std::make_unique<Graph>();
    made->capture_begin();
    *graph = made.release();
  });
}

char *litesnn_graph_end(void *graph) {
  return guarded([&] { static_cast<Graph *>(graph)->capture_end(); });
}

char *litesnn_graph_replay(void *graph) {
  return guarded([&] { static_cast<Graph *>(graph)->replay(); });
}

char *litesnn_graph_free(void *graph) {
  return guarded([&] { delete static_cast<Graph *>(graph); });
}
}
