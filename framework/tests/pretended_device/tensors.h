// Tensors of the device as the CPU sees them, and back.
#pragma once

#include <ATen/core/Tensor.h>

namespace pretended {

// Refuses every device but the first.
void require(at::Device device);

// A block that counts as held by a tensor on the device.
c10::DataPtr new_block(size_t bytes);
at::Allocator *device_allocator();
const at::Generator &device_generator();

// While one of these lives, this thread works for the device: what it allocates lies in the device's memory.
struct OnDevice {
  OnDevice();
  ~OnDevice();
};
bool on_device();

// The same memory as a CPU tensor, which keeps the device's alive; other tensors as they are.
at::Tensor as_host(const at::Tensor &tensor);
// A result of the CPU as a tensor of the device: of the same memory where that lies in the device's, else of a copy.
at::Tensor as_device(const at::Tensor &tensor);
// An operator has written into `host`, made by `as_host(device)`: the device's tensor follows where it has another memory or shape now.
void follow(const at::Tensor &device, const at::Tensor &host);

}  // namespace pretended
