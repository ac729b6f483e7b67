// What kernels are written in, for a GPU. `host.h` defines the same words for a CPU; it comes first there, and this file is empty then.
//
//     KERNEL(add_one, (float *x, long count)) {
//         THREADS {
//             const long at = first_thread() + threadIdx.x;
//             if (at >= count) continue;
//             x[at] += 1.0f;
//         }
//     }
//
// - The body of a kernel is a row of phases, `THREADS { ... }`, with `BARRIER` between them. `continue` ends a thread's phase.
//   What lives across a barrier is declared before the first phase: `SHARED` memory, an array of constant size, or
//   `PRIVATE(type, name, count)`, an array for each thread, whose own is `OWN(name)`.
// - A kernel is launched with BLOCK threads a block, 256 where the launch does not define another number.
// - A compile-time constant has a long name in capitals (STEPS for T): it is one in NVRTC's own headers, too.
// - No function of a warp, no atomics on floats: a sum has one order. Products and sums are rounded apart (--fmad=false);
//   `fmaf` rounds once.
#ifndef THREADS

#ifndef BLOCK
#define BLOCK 256
#endif

// Blocks that a multiprocessor has at once, at least: 65,536 registers over them are the most that a thread gets. Without a number
// the compiler spills a few of them for one block more.
#ifndef RESIDENT
#define RESIDENT 2
#endif

#define KERNEL(name, parameters) extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT) name parameters
#define DEVICE __device__ __forceinline__
#define THREADS for (bool running = true; running; running = false)
#define BARRIER __syncthreads();
#define SHARED __shared__
#define PRIVATE(type, name, count) type name##_private[count]
#define OWN(name) name##_private
// For a structure that is handed over by value and indexed at run time.
#define GRID_CONSTANT const __grid_constant__
#define UNROLL _Pragma("unroll")
// A value that no thread of the launch writes: it may be asked for before what stands above it is written.
#define READ_ONLY(pointer) __ldg(pointer)
// A count that all threads add to; the order does not matter to an integer.
#define ADD_TO_COUNT(at, value) atomicAdd(at, value)

// To a few units in the last place; what is smaller than 2^-126 is 0, which saves half of the instructions. `below` lies in
// [1, 2^126].
DEVICE float exp_of(float value) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value * 1.442695041f));
    return result;
}
DEVICE float quotient(float above, float below) {
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(below));
    return above * inverse;
}

// Bits of a number, and back.
DEVICE unsigned bits_of(float value) { return __float_as_uint(value); }
DEVICE float float_of(unsigned bits) { return __uint_as_float(bits); }

#endif

// The number of the block's first thread, along x.
DEVICE long first_thread() { return (long)blockIdx.x * BLOCK; }

// The number of a thread in a block of two axes, threads that share `threadIdx.y` beside each other.
DEVICE int thread_number() { return (int)(threadIdx.y * blockDim.x + threadIdx.x); }

// bfloat16 is the upper half of a float.
DEVICE float float_of_bfloat16(unsigned short value) { return float_of((unsigned)value << 16); }

// Rounded to nearest, ties to even; a NaN stays one.
DEVICE unsigned short bfloat16_of(float value) {
    const unsigned bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (unsigned short)((bits >> 16) | 0x40u);
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// What a convolution hands on: bfloat16 where X_BF16 is defined, else f32.
#ifdef X_BF16
typedef unsigned short Value;
DEVICE float value_of(Value value) { return float_of_bfloat16(value); }
DEVICE Value rounded(float value) { return bfloat16_of(value); }
#else
typedef float Value;
DEVICE float value_of(Value value) { return value; }
DEVICE Value rounded(float value) { return value; }
#endif
