// The functions of NVRTC that the framework calls, for the pretended device: `libnvrtc.so.13`. A program is compiled for the CPU by g++,
// after the words that `framework/kernels/host.h` gives a kernel there.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

// Where host.h lies, unless PRETENDED_PRELUDE says it.
#ifndef PRELUDE
#define PRELUDE ""
#endif

namespace {

constexpr int SUCCESS = 0, COMPILATION = 6;

struct Program {
  std::string source, name, code, log;
};

std::string prelude() {
  const char *given = std::getenv("PRETENDED_PRELUDE");
  return given != nullptr ? given : PRELUDE;
}

std::string content(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Runs a command whose messages go to `log`, without what is set for this process alone; whether it succeeded.
bool succeeds(const std::vector<std::string> &words, const std::filesystem::path &log) {
  std::vector<char *> arguments, variables;
  for (const auto &word : words) arguments.push_back(const_cast<char *>(word.c_str()));
  for (char **variable = environ; *variable != nullptr; variable++) {
    const std::string text = *variable;
    if (text.rfind("LD_", 0) != 0) variables.push_back(*variable);
  }
  arguments.push_back(nullptr);
  variables.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t child = 0;
  int status = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  return status == 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

extern "C" {

// No version of NVRTC, and another one where the prelude has changed: code is cached by it.
int nvrtcVersion(int *major, int *minor) {
  *major = 13;
  *minor = static_cast<int>(1000 + std::hash<std::string>()(content(prelude())) % 1000000);
  return SUCCESS;
}

int nvrtcCreateProgram(Program **program, const char *source, const char *name, int, const char *const *,
                       const char *const *) {
  *program = new Program{source, name, {}, {}};
  return SUCCESS;
}

int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
  std::string pattern = std::filesystem::temp_directory_path() / "kernel-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) return COMPILATION;
  const std::filesystem::path folder = pattern;
  std::ofstream(folder / "kernel.cpp") << program->source;
  std::vector<std::string> words{"c++", "-shared", "-fPIC", "-O2", "-ffp-contract=off", "-w", "-include", prelude()};
  for (int i = 0; i < count; i++) {
    const std::string option = options[i];
    // The other options are for a GPU.
    if (option.rfind("-D", 0) == 0 || option.rfind("--std", 0) == 0) words.push_back(option);
  }
  words.insert(words.end(), {"-o", folder / "code", folder / "kernel.cpp"});
  const bool compiled = succeeds(words, folder / "log");
  program->log = content(folder / "log");
  program->code = content(folder / "code");
  std::filesystem::remove_all(folder);
  return compiled ? SUCCESS : COMPILATION;
}

int nvrtcGetCUBINSize(Program *program, size_t *size) {
  *size = program->code.size();
  return SUCCESS;
}

int nvrtcGetCUBIN(Program *program, char *code) {
  std::memcpy(code, program->code.data(), program->code.size());
  return SUCCESS;
}

// With the zero at the end, as strings of NVRTC.
int nvrtcGetProgramLogSize(Program *program, size_t *size) {
  *size = program->log.size() + 1;
  return SUCCESS;
}

int nvrtcGetProgramLog(Program *program, char *log) {
  std::memcpy(log, program->log.c_str(), program->log.size() + 1);
  return SUCCESS;
}

const char *nvrtcGetErrorString(int status) {
  return status == SUCCESS ? "NVRTC_SUCCESS" : "NVRTC_ERROR_COMPILATION";
}

int nvrtcDestroyProgram(Program **program) {
  delete *program;
  *program = nullptr;
  return SUCCESS;
}
}
