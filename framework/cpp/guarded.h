// What libtorch throws, as a message for the other side of the interface: no exception may cross it.
#pragma once
#include <cstring>
#include <exception>

// What libtorch said, for the caller to free.
inline char *message_of(const std::exception &error) { return strdup(error.what()); }

// Null is success; else the message of the failure, for the caller to free.
template <class Call> char *guarded(Call call) {
  try {
    call();
    return nullptr;
  } catch (const std::exception &error) {
    return message_of(error);
  }
}
