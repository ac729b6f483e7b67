// What the headers of a newer libstdc++ ask for and that of glibc 2.28's time (RHEL 8: GLIBCXX_3.4.25, CXXABI_1.3.11) does not have.
// A wheel is linked with these few definitions, and with the user's libstdc++.so for everything else: an exception that libtorch
// throws needs one libstdc++ in the process. They are hidden, so that libtorch keeps its own.
#include <exception>
#include <new>
#include <sstream>

#define HIDDEN __attribute__((visibility("hidden")))
#define NAMED(symbol) __asm__(symbol) HIDDEN

extern "C" {

// glibc 2.32: false where threads may run, as they do here.
HIDDEN char __libc_single_threaded = 0;

// GLIBCXX_3.4.26: std::ostringstream(), by the constructor that takes a mode.
void default_ostringstream(std::ostringstream *self) NAMED("_ZNSt7__cxx1119basic_ostringstreamIcSt11char_traitsIcESaIcEEC1Ev");
void default_ostringstream(std::ostringstream *self) { new (self) std::ostringstream(std::ios_base::out); }

// GLIBCXX_3.4.29: std::__throw_bad_array_new_length().
void throw_bad_array_new_length() NAMED("_ZSt28__throw_bad_array_new_lengthv");
void throw_bad_array_new_length() { throw std::bad_array_new_length(); }

// CXXABI_1.3.13: the count of std::exception_ptr, by its copy constructor and its destructor, which were functions of the library.
void copied(void *copy, const void *from) __asm__("_ZNSt15__exception_ptr13exception_ptrC1ERKS0_");
void destroyed(void *self) __asm__("_ZNSt15__exception_ptr13exception_ptrD1Ev");

void add_reference(void *self) NAMED("_ZNSt15__exception_ptr13exception_ptr9_M_addrefEv");
void add_reference(void *self) {
  alignas(std::exception_ptr) char copy[sizeof(std::exception_ptr)];
  copied(copy, self); // It is never destroyed.
}

void release(void *self) NAMED("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");
void release(void *self) { destroyed(self); }
}
