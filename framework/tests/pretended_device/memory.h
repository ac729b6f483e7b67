// Memory of the pretended device. The same pages are mapped twice: tensors show addresses of a mapping that nobody may touch, and the
// device's own copies and operators use the other one, at a fixed distance. So host code that follows a device pointer dies by SIGSEGV.
#pragma once

#include <cstddef>

namespace pretended {

// The address of a new block, as a tensor shows it; null for no bytes. Throws at::OutOfMemoryError.
void *allocate(size_t bytes);
// Takes either address of a block.
void release(void *address);

// Whether an address lies in the mapping that tensors show, or in the one for the device's own use.
bool is_shown(const void *address);
bool is_open(const void *address);
// From one mapping to the other.
void *to_open(const void *shown);
void *to_shown(const void *open);

// While one of these lives, a kernel runs: it was given the addresses that tensors show, and may touch them.
struct KernelRuns {
  KernelRuns();
  ~KernelRuns();
};

// Bytes that tensors on the device hold: what a caching allocator reports as allocated.
struct Usage {
  size_t now, peak, capacity;
};
void occupy(size_t bytes);
void vacate(size_t bytes);
Usage usage();
void reset_peak();

// Page-locked memory of the host.
void *pin(size_t bytes);
void unpin(void *address);
bool is_pinned(const void *address);

}  // namespace pretended
