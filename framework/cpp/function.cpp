// A node of the autograd graph whose backward pass is a callback. All mathematics is on the other side of it, in Rust.
#include "guarded.h"
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <torch/csrc/autograd/custom_function.h>

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// Fills `inputs[i]` with a new tensor or null for each differentiable input; null is success, else the message of the failure, for
// the caller to free.
using Backward = char *(*)(void *closure, at::Tensor **gradients, int gradient_count, at::Tensor **saved, int saved_count,
                            at::Tensor **inputs, int input_count);
using Release = void (*)(void *closure);

// Owns the Rust closure for as long as the graph does.
struct Closure : torch::CustomClassHolder {
  void *closure;
  Backward backward;
  Release release;
  Closure(void *closure, Backward backward, Release release)
      : closure(closure), backward(backward), release(release) {}
  ~Closure() override { release(closure); }
};

struct Forward {
  variable_list outputs;
  variable_list saved;
  c10::intrusive_ptr<Closure> closure;
};

struct Function : torch::autograd::Function<Function> {
  // Inputs have to come as a TensorList: variables in a std::vector are not seen, and silently get no gradient.
  static variable_list forward(AutogradContext *context, at::TensorList inputs, Forward *forward) {
    context->save_for_backward(forward->saved);
    context->saved_data["closure"] = c10::IValue::make_capsule(forward->closure);
    context->saved_data["inputs"] = static_cast<int64_t>(inputs.size());
    variable_list outputs;
    for (auto &output : forward->outputs) outputs.push_back(output.detach());
    return outputs;
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    auto capsule = context->saved_data["closure"].toCapsule();
    auto *closure = static_cast<Closure *>(capsule.get());
    const auto count = context->saved_data["inputs"].toInt();
    std::vector<at::Tensor *> gradient_pointers, saved_pointers, inputs(count, nullptr);
    for (auto &tensor : gradients) gradient_pointers.push_back(&tensor);
    for (auto &tensor : saved) saved_pointers.push_back(&tensor);
    char *failure = closure->backward(closure->closure, gradient_pointers.data(), gradient_pointers.size(),
                                      saved_pointers.data(), saved_pointers.size(), inputs.data(), count);
    variable_list result;
    for (auto *tensor : inputs) {
      if (tensor != nullptr) {
        result.push_back(std::move(*tensor));
        delete tensor;
      } else {
        result.emplace_back();
      }
    }
    if (failure != nullptr) {
      const std::string said = failure;
      free(failure);
      TORCH_CHECK(false, "the backward pass of a custom function failed: ", said);
    }
    result.emplace_back();  // the slot of `forward`
    return result;
  }
};

}  // namespace

extern "C" {

// Null is success; else the message of the failure, for the caller to free.
char *litesnn_function_apply(at::Tensor **inputs, int input_count, at::Tensor **outputs, int output_count,
                             at::Tensor **saved, int saved_count, void *closure, Backward backward, Release release,
                             at::Tensor **results) {
  auto owner = c10::make_intrusive<Closure>(closure, backward, release);
  try {
    variable_list arguments;
    Forward forward;
    forward.closure = owner;
    for (int i = 0; i < input_count; i++) arguments.push_back(*inputs[i]);
    for (int i = 0; i < output_count; i++) forward.outputs.push_back(*outputs[i]);
    for (int i = 0; i < saved_count; i++) forward.saved.push_back(*saved[i]);
    auto graph = Function::apply(at::TensorList(arguments), &forward);
    for (int i = 0; i < output_count; i++) results[i] = new at::Tensor(graph[i]);
    return nullptr;
  } catch (const std::exception &error) {
    return message_of(error);
  }
}

void litesnn_parallel_for(int64_t count, int64_t grain, void *closure, void (*body)(void *, int64_t, int64_t)) {
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) { body(closure, begin, end); });
}

// Whether autograd records on this thread.
int litesnn_records() { return at::GradMode::is_enabled() ? 1 : 0; }

// The next backward pass hands its gradient over, and adds to none.
void litesnn_forget_gradient(at::Tensor *tensor) { tensor->mutable_grad().reset(); }

// Counts the changes of a tensor's values.
int64_t litesnn_version(at::Tensor *tensor) { return tensor->_version(); }

// Counts a change that libtorch has not seen.
void litesnn_changed(at::Tensor *tensor) { tensor->unsafeGetTensorImpl()->bump_version(); }
}
