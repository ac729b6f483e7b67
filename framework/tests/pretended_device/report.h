// What the device was asked for: operators by name, what the host waited for, by the place in the program that asked.
//
// PRETENDED_REPORT names the file, written at the end of the process and by `pretended_report`; a process that never used the device
// writes none. PRETENDED_PLACES=1 tells the places of all operators; without it, of waits and of operators that vary.
#pragma once

#include <cstddef>
#include <string>

namespace pretended {

// Work for the device: an operator, or a launch of a kernel. `launches` is how many operations the device sees.
void operated(const std::string &name, size_t launches = 1);
// An operator whose result need not be the same twice.
void varies(const std::string &name);
// The host stands still until the device has done all before: a copy from memory that is not pinned, the reading of a value.
void waited(const std::string &why);
// A copy that nobody waits for.
void copied(const std::string &name);
// The program asked to wait. What comes before and after is counted apart.
void synchronised();

}  // namespace pretended

extern "C" {

// Writes the report now.
void pretended_report(const char *file);

// Counts the launch of a kernel and runs it, for the pretended driver.
void pretended_launch(const char *name, void (*run)(const unsigned *, const unsigned *, void **), const unsigned *grid,
                      const unsigned *block, void **arguments);
}
