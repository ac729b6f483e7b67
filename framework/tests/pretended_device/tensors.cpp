#include "tensors.h"

#include <ATen/core/Tensor.h>
#include <c10/core/CPUAllocator.h>

#include <cstring>

#include "memory.h"

namespace pretended {
namespace {

const at::Device DEVICE(at::kCUDA, 0);

thread_local int depth = 0;

// A block of its own, or a storage of the CPU that lies in the device's memory.
struct Held {
  size_t bytes;
  void *block;
  c10::Storage host;
};

void drop(void *context) {
  auto *held = static_cast<Held *>(context);
  vacate(held->bytes);
  if (held->block != nullptr) release(held->block);
  delete held;
}

// The context of the CPU's view of a storage.
void let_go(void *context) { delete static_cast<c10::Storage *>(context); }

c10::DataPtr block_of(const c10::Storage &host) {
  const size_t bytes = host.nbytes();
  if (bytes == 0) return {nullptr, DEVICE};
  if (is_open(host.data())) {
    // A view of a tensor on the device counts once.
    const bool counts = host.data_ptr().get_deleter() != &let_go;
    if (counts) occupy(bytes);
    return {to_shown(host.data()), new Held{counts ? bytes : 0, nullptr, host}, &drop, DEVICE};
  }
  auto block = new_block(bytes);
  std::memcpy(to_open(block.get()), host.data(), bytes);
  return block;
}

}  // namespace

OnDevice::OnDevice() { depth++; }
OnDevice::~OnDevice() { depth--; }
bool on_device() { return depth > 0; }

c10::DataPtr new_block(size_t bytes) {
  if (bytes == 0) return {nullptr, DEVICE};
  occupy(bytes);
  void *address = allocate(bytes);
  return {address, new Held{bytes, address, {}}, &drop, DEVICE};
}

at::Tensor as_host(const at::Tensor &tensor) {
  if (!tensor.defined() || !tensor.is_cuda()) return tensor;
  const auto &storage = tensor.storage();
  c10::DataPtr data(to_open(storage.data()), new c10::Storage(storage), &let_go, at::Device(at::kCPU));
  c10::Storage host(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(data), c10::GetCPUAllocator(), true);
  auto view = at::detail::make_tensor<at::TensorImpl>(std::move(host), at::DispatchKeySet(at::DispatchKey::CPU),
                                                      tensor.dtype());
  view.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) view.unsafeGetTensorImpl()->set_wrapped_number(true);
  return view;
}

at::Tensor as_device(const at::Tensor &tensor) {
  if (!tensor.defined() || !tensor.is_cpu()) return tensor;
  c10::Storage storage(c10::Storage::use_byte_size_t(), tensor.storage().nbytes(), block_of(tensor.storage()),
                       device_allocator(), true);
  auto result = at::detail::make_tensor<at::TensorImpl>(std::move(storage), at::DispatchKeySet(at::DispatchKey::CUDA),
                                                        tensor.dtype());
  result.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  return result;
}

void follow(const at::Tensor &device, const at::Tensor &host) {
  if (!device.defined() || !device.is_cuda()) return;
  auto *storage = device.storage().unsafeGetStorageImpl();
  if (to_open(storage->data()) != host.storage().data()) {
    storage->set_data_ptr_noswap(block_of(host.storage()));
    storage->set_nbytes(host.storage().nbytes());
  }
  if (device.sizes() != host.sizes() || device.strides() != host.strides()) {
    device.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
  }
}

}  // namespace pretended
