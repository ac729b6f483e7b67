#include "memory.h"

#include <c10/util/Exception.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

namespace pretended {
namespace {

// Address space, of which pages are taken as they are touched; more than the capacity, since blocks leave gaps.
constexpr size_t ARENA = size_t{1} << 38;
// Blocks begin and end at multiples of this, as those of CUDA's allocator.
constexpr size_t GRAIN = 512;

size_t rounded(size_t bytes) { return (bytes + GRAIN - 1) / GRAIN * GRAIN; }

// PRETENDED_MEMORY in MiB; without it, that of a large GPU.
size_t capacity_asked_for() {
  const char *asked = std::getenv("PRETENDED_MEMORY");
  return (asked ? std::strtoull(asked, nullptr, 10) : size_t{80} << 10) << 20;
}

// Blocks of the arena by their offset: best fit, split where a block is too large, joined where two are side by side.
class Arena {
 public:
  char *shown, *open;

  Arena() {
    const int file = memfd_create("pretended device", 0);
    TORCH_CHECK(file >= 0 && ftruncate(file, ARENA) == 0, "no memory file for the pretended device");
    shown = map(PROT_NONE, file);
    open = map(PROT_READ | PROT_WRITE, file);
    close(file);
    free_at(0, ARENA);
  }

  size_t take(size_t bytes) {
    std::lock_guard guard(lock_);
    auto found = by_size_.lower_bound({bytes, 0});
    TORCH_CHECK_WITH(OutOfMemoryError, found != by_size_.end(), "CUDA out of memory: the pretended arena is full");
    const auto [size, offset] = *found;
    forget(offset, size);
    if (size > bytes) free_at(offset + bytes, size - bytes);
    taken_[offset] = bytes;
    if (offset + bytes > used_) used_ = offset + bytes;
    return offset;
  }

  void give_back(size_t offset) {
    std::lock_guard guard(lock_);
    auto block = taken_.find(offset);
    TORCH_INTERNAL_ASSERT(block != taken_.end(), "a block of the pretended device is freed twice");
    size_t size = block->second;
    taken_.erase(block);
    auto next = free_.lower_bound(offset);
    if (next != free_.end() && next->first == offset + size) {
      const size_t more = next->second;
      forget(next->first, more);
      size += more;
    }
    auto before = free_.lower_bound(offset);
    if (before != free_.begin() && (--before, before->first + before->second == offset)) {
      const auto [start, length] = *before;
      forget(start, length);
      offset = start;
      size += length;
    }
    free_at(offset, size);
  }

  // All that was ever taken can be touched where tensors show it, or not.
  void enter_kernel() {
    std::lock_guard guard(lock_);
    if (kernels_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void leave_kernel() {
    std::lock_guard guard(lock_);
    if (--kernels_ == 0) protect(PROT_NONE);
  }

 private:
  std::mutex lock_;
  std::map<size_t, size_t> free_, taken_;
  std::set<std::pair<size_t, size_t>> by_size_;
  size_t used_ = 0;
  int kernels_ = 0;

  static char *map(int protection, int file) {
    void *address = mmap(nullptr, ARENA, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
    TORCH_CHECK(address != MAP_FAILED, "no address space for the pretended device");
    return static_cast<char *>(address);
  }
  void protect(int protection) {
    const size_t pages = (used_ + (size_t{1} << 21) - 1) >> 21 << 21;
    TORCH_CHECK(pages == 0 || mprotect(shown, pages, protection) == 0, "mprotect of the pretended device failed");
  }
  void free_at(size_t offset, size_t size) {
    free_[offset] = size;
    by_size_.insert({size, offset});
  }
  void forget(size_t offset, size_t size) {
    free_.erase(offset);
    by_size_.erase({size, offset});
  }
};

// Never destroyed: tensors may outlive the statics of this file.
Arena &arena() {
  static Arena &only = *new Arena;
  return only;
}

struct Host {
  std::mutex lock;
  Usage usage{0, 0, capacity_asked_for()};
  std::map<uintptr_t, size_t> pinned;
};
Host &host() {
  static Host &only = *new Host;
  return only;
}

}  // namespace

void *allocate(size_t bytes) { return bytes == 0 ? nullptr : arena().shown + arena().take(rounded(bytes)); }

void release(void *address) {
  if (address == nullptr) return;
  const char *base = is_open(address) ? arena().open : arena().shown;
  arena().give_back(static_cast<char *>(address) - base);
}

bool is_shown(const void *address) {
  return address >= arena().shown && address < static_cast<void *>(arena().shown + ARENA);
}
bool is_open(const void *address) {
  return address >= arena().open && address < static_cast<void *>(arena().open + ARENA);
}
void *to_open(const void *shown) {
  return shown == nullptr ? nullptr : arena().open + (static_cast<const char *>(shown) - arena().shown);
}
void *to_shown(const void *open) {
  return open == nullptr ? nullptr : arena().shown + (static_cast<const char *>(open) - arena().open);
}

KernelRuns::KernelRuns() { arena().enter_kernel(); }
KernelRuns::~KernelRuns() { arena().leave_kernel(); }

void occupy(size_t bytes) {
  std::lock_guard guard(host().lock);
  auto &usage = host().usage;
  TORCH_CHECK_WITH(OutOfMemoryError, usage.now + rounded(bytes) <= usage.capacity,
                   "CUDA out of memory. Tried to allocate ", bytes, " bytes beside ", usage.now, " of ",
                   usage.capacity);
  usage.now += rounded(bytes);
  usage.peak = std::max(usage.peak, usage.now);
}
void vacate(size_t bytes) {
  std::lock_guard guard(host().lock);
  host().usage.now -= rounded(bytes);
}
Usage usage() {
  std::lock_guard guard(host().lock);
  return host().usage;
}
void reset_peak() {
  std::lock_guard guard(host().lock);
  host().usage.peak = host().usage.now;
}

void *pin(size_t bytes) {
  if (bytes == 0) return nullptr;
  void *address = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  TORCH_CHECK(address != nullptr, "no memory of ", bytes, " bytes to pin");
  std::lock_guard guard(host().lock);
  host().pinned[reinterpret_cast<uintptr_t>(address)] = bytes;
  return address;
}
void unpin(void *address) {
  if (address == nullptr) return;
  {
    std::lock_guard guard(host().lock);
    host().pinned.erase(reinterpret_cast<uintptr_t>(address));
  }
  std::free(address);
}
bool is_pinned(const void *address) {
  std::lock_guard guard(host().lock);
  const auto place = reinterpret_cast<uintptr_t>(address);
  auto after = host().pinned.upper_bound(place);
  return after != host().pinned.begin() && (--after, place < after->first + after->second);
}

}  // namespace pretended
