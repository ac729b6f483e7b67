// Operators of libtorch over lists of tensors, which tch does not have: one call for all parameters.
#include "guarded.h"
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <cstdint>
#include <vector>

namespace {

std::vector<at::Tensor> list(at::Tensor *const *tensors, int64_t count) {
  std::vector<at::Tensor> all;
  all.reserve(count);
  for (int64_t i = 0; i < count; i++) all.push_back(*tensors[i]);
  return all;
}

}  // namespace

extern "C" {

// Without momentum there is no velocity: `velocities` is not read then.
char *litesnn_fused_sgd(at::Tensor *const *parameters, at::Tensor *const *gradients, at::Tensor *const *velocities,
                        int64_t count, double rate, double momentum, double weight_decay) {
  return guarded([&] {
    std::vector<at::Tensor> buffers;
    if (momentum != 0.0) buffers = list(velocities, count);
    at::_fused_sgd_(list(parameters, count), list(gradients, count), buffers, weight_decay, momentum, rate,
                    /*dampening=*/0.0, /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/false);
  });
}

// `steps` are f32 scalars on the parameters' device: the number of each parameter's step, from 1.
char *litesnn_fused_adam(at::Tensor *const *parameters, at::Tensor *const *gradients, at::Tensor *const *first,
                         at::Tensor *const *second, at::Tensor *const *steps, int64_t count, double rate, double beta1,
                         double beta2, double weight_decay, double epsilon, bool decoupled) {
  return guarded([&] {
    auto all = list(parameters, count);
    auto step = [&](auto function) {
      function(all, list(gradients, count), list(first, count), list(second, count), at::TensorList{},
               list(steps, count), rate, beta1, beta2, weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false);
    };
    if (decoupled) {
      step([](auto &&...arguments) { at::_fused_adamw_(arguments...); });
    } else {
      step([](auto &&...arguments) { at::_fused_adam_(arguments...); });
    }
  });
}

// from += weight * (to - from)
char *litesnn_lerp(at::Tensor *const *from, at::Tensor *const *to, int64_t count, double weight) {
  return guarded([&] { at::_foreach_lerp_(list(from, count), list(to, count), weight); });
}

// Adds 1 to all tensors.
char *litesnn_count(at::Tensor *const *tensors, int64_t count) {
  return guarded([&] { at::_foreach_add_(list(tensors, count), 1); });
}

// The L2 norm of each tensor, a scalar.
char *litesnn_norms(at::Tensor *const *tensors, int64_t count, at::Tensor **results) {
  return guarded([&] {
    auto norms = at::_foreach_norm(list(tensors, count), 2);
    for (int64_t i = 0; i < count; i++) results[i] = new at::Tensor(norms[i]);
  });
}

// Multiplies all tensors by a scalar tensor.
char *litesnn_scale(at::Tensor *const *tensors, int64_t count, at::Tensor *factor) {
  return guarded([&] { at::_foreach_mul_(list(tensors, count), *factor); });
}
}
