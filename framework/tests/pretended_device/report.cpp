#include "report.h"

#include <execinfo.h>
#include <torch/csrc/autograd/function.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <vector>

#include "memory.h"
#include "symbols.h"

// libtorch's "sync debug mode", under the name that its CUDA part has for it: 1 warns at every wait.
namespace c10::cuda {
struct WarningState {
  int sync_debug_mode = 0;
};
inline WarningState &warning_state() {
  static WarningState warning_state_;
  return warning_state_;
}
}  // namespace c10::cuda

namespace pretended {
namespace {

// Synchronisations at the end of a run of which the counts between them are kept.
constexpr size_t INTERVALS = 16;
// Functions of the program that are told for a place, the innermost first.
constexpr size_t FRAMES = 8;

// Addresses in the program, or a node of the autograd graph where libtorch alone asked.
struct Place {
  std::string what;
  std::string node;
  std::vector<uintptr_t> frames;
  auto operator<=>(const Place &) const = default;
};

struct Counts {
  size_t operations = 0, waits = 0;
  std::map<std::string, size_t> operators, waited_for, copies, varying;
  std::map<Place, size_t> places;

  void add(const Counts &other) {
    operations += other.operations;
    waits += other.waits;
    const auto merge = [](auto &into, const auto &from) {
      for (const auto &[key, count] : from) into[key] += count;
    };
    merge(operators, other.operators);
    merge(waited_for, other.waited_for);
    merge(copies, other.copies);
    merge(varying, other.varying);
    merge(places, other.places);
  }
};

struct Record {
  std::mutex lock;
  // Since the last synchronisation; before the intervals; between the last synchronisations.
  Counts now, before;
  std::deque<Counts> intervals;
  size_t synchronisations = 0;
};
// Never destroyed: the report is written at the very end.
Record &record() {
  static Record &only = *new Record;
  return only;
}

// Where the calling thread is.
Place here(const std::string &what) {
  Place place{what, {}, {}};
  void *frames[128];
  const int count = backtrace(frames, 128);
  for (int i = 0; i < count && place.frames.size() < FRAMES; i++) {
    if (const auto offset = in_program(frames[i])) place.frames.push_back(*offset);
  }
  if (const auto node = torch::autograd::get_current_node()) place.node = node->name();
  return place;
}

bool all_places() {
  static const bool all = std::getenv("PRETENDED_PLACES") != nullptr;
  return all;
}

std::string quoted(const std::string &text) {
  std::string result = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    result += letter;
  }
  return result + '"';
}

void write(std::ostream &out, const std::map<std::string, size_t> &counts) {
  const char *comma = "";
  out << '{';
  for (const auto &[name, count] : counts) {
    out << comma << quoted(name) << ": " << count;
    comma = ", ";
  }
  out << '}';
}

void write(std::ostream &out, const Counts &counts, Symbols &symbols) {
  out << "{\"operations\": " << counts.operations << ", \"waits\": " << counts.waits << ", \"operators\": ";
  write(out, counts.operators);
  out << ", \"waited_for\": ";
  write(out, counts.waited_for);
  out << ", \"copies\": ";
  write(out, counts.copies);
  out << ", \"varying\": ";
  write(out, counts.varying);
  // By name: one function can be many addresses.
  std::map<std::vector<std::string>, size_t> named;
  for (const auto &[place, count] : counts.places) {
    std::vector<std::string> words{place.what};
    for (const auto frame : place.frames) {
      auto name = symbols.name(frame);
      if (is_own(name) && words.back() != name) words.push_back(std::move(name));
    }
    if (!place.node.empty()) words.push_back("in the backward pass of " + place.node);
    named[words] += count;
  }
  out << ", \"places\": [";
  const char *comma = "";
  for (const auto &[words, count] : named) {
    out << comma << "\n{\"what\": " << quoted(words[0]) << ", \"count\": " << count << ", \"at\": [";
    for (size_t i = 1; i < words.size(); i++) out << (i > 1 ? ", " : "") << quoted(words[i]);
    out << "]}";
    comma = ",";
  }
  out << "]}";
}

void write_report(const std::string &file) {
  std::lock_guard guard(record().lock);
  Symbols symbols;
  Counts all = record().before;
  for (const auto &interval : record().intervals) all.add(interval);
  all.add(record().now);
  if (all.operations == 0 && all.waits == 0) return;
  const auto beside = file + "." + std::to_string(getpid());
  {
    std::ofstream out(beside);
    out << "{\"synchronisations\": " << record().synchronisations << ",\n\"peak_bytes\": " << usage().peak
        << ",\n\"all\": ";
    write(out, all, symbols);
    out << ",\n\"intervals\": [";
    for (size_t i = 0; i < record().intervals.size(); i++) {
      if (i > 0) out << ",\n";
      write(out, record().intervals[i], symbols);
    }
    out << "]}\n";
  }
  std::rename(beside.c_str(), file.c_str());
}

struct AtEnd {
  ~AtEnd() {
    if (const char *file = std::getenv("PRETENDED_REPORT")) write_report(file);
  }
};
AtEnd at_end;

}  // namespace

// The command ends by `_exit`, which calls no destructor.
extern "C" void _exit(int status) {
  at_end.~AtEnd();
  syscall(SYS_exit_group, status);
  __builtin_unreachable();
}

void operated(const std::string &name, size_t launches) {
  std::lock_guard guard(record().lock);
  auto &now = record().now;
  now.operations += launches;
  now.operators[name] += launches;
  if (all_places()) now.places[here(name)] += launches;
}

void varies(const std::string &name) {
  std::lock_guard guard(record().lock);
  record().now.varying[name]++;
  record().now.places[here("varies: " + name)]++;
}

void waited(const std::string &why) {
  if (c10::cuda::warning_state().sync_debug_mode == 1) TORCH_WARN("called a synchronizing CUDA operation: ", why);
  std::lock_guard guard(record().lock);
  auto &now = record().now;
  now.waits++;
  now.waited_for[why]++;
  now.places[here("wait: " + why)]++;
}

void copied(const std::string &name) {
  std::lock_guard guard(record().lock);
  record().now.copies[name]++;
}

void synchronised() {
  std::lock_guard guard(record().lock);
  auto &all = record();
  all.synchronisations++;
  all.intervals.push_back(std::move(all.now));
  all.now = {};
  if (all.intervals.size() > INTERVALS) {
    all.before.add(all.intervals.front());
    all.intervals.pop_front();
  }
}

}  // namespace pretended

extern "C" {

void pretended_report(const char *file) { pretended::write_report(file); }

void pretended_launch(const char *name, void (*run)(const unsigned *, const unsigned *, void **), const unsigned *grid,
                      const unsigned *block, void **arguments) {
  pretended::operated(std::string("kernel ") + name);
  const pretended::KernelRuns runs;
  run(grid, block, arguments);
}
}
