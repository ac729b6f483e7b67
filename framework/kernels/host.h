// The words of `device.h` for a CPU: the tests compile a kernel with g++ and this file before it (`-include host.h`), by
// `-std=c++17 -ffp-contract=off`. The body of a kernel runs once a block, and each of its phases is a loop over the block's threads.
//
// Beside a kernel NAME stands `NAME_run(grid, block, arguments)`, which runs all blocks and takes pointers to the arguments, as
// the driver's cuLaunchKernel does. `kernel_order` chooses the order of blocks and threads: no result may depend on it.
#pragma once

#include <math.h>
#include <numeric>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tuple>
#include <utility>

#ifndef BLOCK
#define BLOCK 256
#endif

struct Index {
    unsigned x, y, z;
};

// Each thread of the host runs blocks of its own.
static thread_local Index threadIdx, blockIdx, blockDim, gridDim;

// 0: from the first to the last, 1: from the last to the first, 2: shuffled.
extern "C" {
int kernel_order = 0;
}

// The place of the `index`-th of `count` in the order.
static inline unsigned host_place(unsigned index, unsigned count) {
    if (kernel_order == 1) return count - 1 - index;
    if (kernel_order != 2) return index;
    // A step that shares no factor with the count comes to every place once.
    unsigned step = count * 5 / 8 | 1;
    while (std::gcd(step, count) != 1) step += 2;
    return (unsigned)(((unsigned long)index * step + count / 3) % count);
}

// Sets the index of the `number`-th thread of the block, or of the `number`-th block.
static inline bool host_place_of(Index &index, const Index &of, unsigned number) {
    const unsigned count = of.x * of.y * of.z;
    if (number >= count) return false;
    const unsigned place = host_place(number, count);
    index = Index{place % of.x, place / of.x % of.y, place / of.x / of.y};
    return true;
}

template <typename... Parameters, size_t... Each>
static void host_run(void (*body)(Parameters...), const unsigned grid[3], const unsigned block[3], void **arguments,
                     std::index_sequence<Each...>) {
    // BLOCK bounds what a GPU gives registers for: it refuses a larger block.
    if (block[0] * block[1] * block[2] > BLOCK) {
        fprintf(stderr, "a block of %u threads was launched, of BLOCK = %d\n", block[0] * block[1] * block[2], BLOCK);
        abort();
    }
    std::tuple<Parameters...> values;
    (memcpy((void *)&std::get<Each>(values), arguments[Each], sizeof(Parameters)), ...);
    gridDim = Index{grid[0], grid[1], grid[2]};
    blockDim = Index{block[0], block[1], block[2]};
    for (unsigned number = 0; host_place_of(blockIdx, gridDim, number); number++) body(std::get<Each>(values)...);
}

template <typename... Parameters>
static void host_launch(void (*body)(Parameters...), const unsigned grid[3], const unsigned block[3],
                        void **arguments) {
    host_run(body, grid, block, arguments, std::index_sequence_for<Parameters...>());
}

#define KERNEL(name, parameters)                                                                               \
    static void name parameters;                                                                               \
    extern "C" void name##_run(const unsigned grid[3], const unsigned block[3], void **arguments) {            \
        host_launch(name, grid, block, arguments);                                                             \
    }                                                                                                          \
    static void name parameters

#define DEVICE static inline
#define THREADS for (unsigned running = 0; host_place_of(threadIdx, blockDim, running); running++)
#define BARRIER
#define SHARED
#define PRIVATE(type, name, count) type name##_private[BLOCK][count]
#define OWN(name) name##_private[(threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x]
#define GRID_CONSTANT
#define UNROLL
#define READ_ONLY(pointer) (*(pointer))
#define ADD_TO_COUNT(at, value) __atomic_fetch_add(at, value, __ATOMIC_RELAXED)

DEVICE float exp_of(float value) { return expf(value); }
DEVICE float quotient(float above, float below) { return above / below; }

DEVICE unsigned bits_of(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

DEVICE float float_of(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
