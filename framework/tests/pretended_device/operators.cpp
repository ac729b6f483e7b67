// The operators of the device. Nearly all are one: it sees the device's tensors as the CPU's, has the CPU compute, and hands the results
// back as tensors of the device. On the way it refuses what a GPU refuses, and counts what a GPU would be asked for.
#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_local_scalar_dense.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "memory.h"
#include "report.h"
#include "rules.h"
#include "tensors.h"

namespace pretended {
namespace {

using at::Tensor;
using c10::IValue;
using Stack = torch::jit::Stack;

// Tensors that one launch of libtorch's multi-tensor kernels takes, by the number of lists (MultiTensorApply.cuh).
constexpr size_t TENSORS_OF_A_LAUNCH[] = {110, 64, 48, 36, 30};

// One call of an operator.
class Call {
 public:
  Call(const c10::OperatorHandle &op, Stack &stack)
      : schema_(op.schema()), stack_(stack), name_(schema_.operator_name().name), base_(base_name(name_)) {
    const auto &overload = schema_.operator_name().overload_name;
    if (!overload.empty()) name_ += "." + overload;
    name_ = name_.substr(name_.rfind(':') + 1);
    first_ = stack.size() - schema_.arguments().size();
    given_.assign(stack.begin() + static_cast<std::ptrdiff_t>(first_), stack.end());
  }

  void run(const c10::OperatorHandle &op) {
    inspect();
    hosts_.reserve(given_.size());
    for (size_t i = 0; i < given_.size(); i++) hosts_.push_back(argument(given_[i], schema_.arguments()[i]));
    std::copy(hosts_.begin(), hosts_.end(), stack_.begin() + static_cast<std::ptrdiff_t>(first_));
    {
      OnDevice device;
      op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack_);
    }
    for (size_t i = 0; i < given_.size(); i++) {
      if (writes(schema_.arguments()[i].alias_info())) follow_all(given_[i], hosts_[i]);
    }
    const size_t results = stack_.size() - schema_.returns().size();
    for (size_t i = 0; i < schema_.returns().size(); i++) {
      stack_[results + i] = result(stack_[results + i], schema_.returns()[i].alias_info());
    }
  }

 private:
  const c10::FunctionSchema &schema_;
  Stack &stack_;
  std::string name_, base_;
  size_t first_ = 0;
  std::vector<IValue> given_, hosts_;

  static bool writes(const c10::AliasInfo *alias) { return alias != nullptr && alias->isWrite(); }

  template <class Body>
  static void for_each_tensor(const IValue &value, Body body) {
    if (value.isTensor()) {
      body(value.toTensor());
    } else if (value.isTensorList()) {
      for (const Tensor &tensor : value.toTensorList()) body(tensor);
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<Tensor> &tensor : value.toOptionalTensorList()) {
        if (tensor) body(*tensor);
      }
    }
  }

  // Refuses and counts.
  void inspect() const {
    for (size_t i = 0; i < given_.size(); i++) {
      const bool written = writes(schema_.arguments()[i].alias_info());
      for_each_tensor(given_[i], [&](const Tensor &tensor) { check(tensor, written); });
      if (takes_indices_of_the_cpu(base_) && given_[i].isOptionalTensorList()) check_indices(given_[i]);
    }
    operated(name_, launches());
    if (may_vary(base_) && really_varies()) varies(name_);
    // With the size of the result given, nothing is read.
    const bool sized = base_ == "repeat_interleave" && !given_.back().isNone();
    if (waits(base_) && !sized) waited(base_);
  }

  void check(const Tensor &tensor, bool written) const {
    if (!tensor.defined() || tensor.is_cuda()) return;
    if (tensor.is_cpu() && !written && tensor.dim() == 0) {
      if (tensor.unsafeGetTensorImpl()->is_wrapped_number() || takes_scalars(base_)) return;
    }
    if (tensor.is_cpu() && !written && takes_indices_of_the_cpu(base_)) return;
    TORCH_CHECK(false, "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and ",
                tensor.device(), "! (`", name_, "` was given a tensor of shape ", tensor.sizes(), ")");
  }

  // Indices of the CPU are copied; a mask is counted first, and the count is read.
  static void check_indices(const IValue &indices) {
    for_each_tensor(indices, [&](const Tensor &index) {
      if (index.defined() && index.is_cpu()) waited("copy host to device");
      if (index.defined() && index.is_cuda() && (index.scalar_type() == at::kBool || index.scalar_type() == at::kByte)) {
        waited("index by a mask");
      }
    });
  }

  // Of the operators that may vary, those that do for these arguments.
  bool really_varies() const {
    const auto given = [&](const char *argument) -> const IValue * {
      const auto at = schema_.argumentIndexWithName(argument);
      return at ? &given_[static_cast<size_t>(*at)] : nullptr;
    };
    if (base_ == "scatter") return given("src") != nullptr;
    if (base_ == "bincount") return given("weights") && given("weights")->isTensor();
    if (base_ == "cumsum") return given("self")->toTensor().is_floating_point();
    if (base_ == "median" || base_ == "nanmedian") return given("dim") != nullptr;
    // Where the parts that are averaged do not overlap, each gradient is written once (AdaptiveAveragePooling.cu).
    if (base_ == "_adaptive_avg_pool2d_backward") {
      const auto &to = given("grad_output")->toTensor(), &from = given("self")->toTensor();
      return from.size(-1) % to.size(-1) != 0 || from.size(-2) % to.size(-2) != 0;
    }
    // Those that add are sorted first.
    if (base_ == "index_put" || base_ == "_index_put_impl") return !given("accumulate")->toBool();
    return true;
  }

  // A list of tensors is computed in as many launches as its kernels take tensors at a time.
  size_t launches() const {
    if (base_.rfind("_foreach", 0) != 0 && base_.rfind("_fused_", 0) != 0) return 1;
    size_t lists = 0, tensors = 0;
    for (const auto &value : given_) {
      if (!value.isTensorList()) continue;
      lists++;
      tensors = std::max(tensors, value.toTensorList().size());
    }
    // Operators that return a list write it as one more.
    lists += schema_.returns().empty() ? 0 : 1;
    const size_t depth = TENSORS_OF_A_LAUNCH[std::clamp<size_t>(lists, 1, 5) - 1];
    return std::max<size_t>(1, (tensors + depth - 1) / depth);
  }

  // An argument as the CPU sees it.
  IValue argument(const IValue &value, const c10::Argument &form) const {
    if (value.isTensor()) return as_host(value.toTensor());
    if (value.isTensorList()) {
      std::vector<Tensor> hosts;
      for (const Tensor &tensor : value.toTensorList()) hosts.push_back(as_host(tensor));
      return hosts;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> hosts;
      for (const std::optional<Tensor> &tensor : value.toOptionalTensorList()) {
        hosts.push_back(tensor ? std::optional(as_host(*tensor)) : std::nullopt);
      }
      return hosts;
    }
    if (value.isDevice()) return at::Device(at::kCPU);
    TORCH_CHECK(!value.isStorage(), "the pretended device has no `", name_, "`, which is given a storage");
    // The device's own random numbers, and not those of the host.
    if (value.isNone() && form.name() == "generator") return device_generator();
    return value;
  }

  static void follow_all(const IValue &device, const IValue &host) {
    std::vector<Tensor> hosts;
    for_each_tensor(host, [&](const Tensor &tensor) { hosts.push_back(tensor); });
    size_t next = 0;
    for_each_tensor(device, [&](const Tensor &tensor) { follow(tensor, hosts[next++]); });
  }

  // A result as a tensor of the device: the argument that it is, or a new one.
  IValue result(const IValue &value, const c10::AliasInfo *alias) const {
    if (writes(alias)) {
      for (size_t i = 0; i < given_.size(); i++) {
        const auto *own = schema_.arguments()[i].alias_info();
        if (writes(own) && *own == *alias) return given_[i];
      }
    }
    TORCH_CHECK(alias == nullptr, "the pretended device has no `", name_, "`, which returns a view");
    if (value.isTensor()) return as_device(value.toTensor());
    if (value.isTensorList()) {
      std::vector<Tensor> results;
      for (const Tensor &tensor : value.toTensorList()) results.push_back(as_device(tensor));
      return results;
    }
    return value;
  }
};

void compute(const c10::OperatorHandle &op, Stack *stack) { Call(op, *stack).run(op); }

// New memory holds anything: NaN for floats, and no other number that could be meant.
void poison(const Tensor &tensor) {
  const auto &storage = tensor.storage();
  const int byte = tensor.scalar_type() == at::kBool ? 1 : 0xff;
  if (storage.nbytes() > 0) std::memset(to_open(storage.data()), byte, storage.nbytes());
}

Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  if (device) require(*device);
  Tensor tensor =
      at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), device_allocator(),
                                c10::DispatchKeySet(c10::DispatchKey::CUDA), c10::dtype_or_default(type), format);
  poison(tensor);
  return tensor;
}

Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride, std::optional<at::ScalarType> type,
                     std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  if (device) require(*device);
  Tensor tensor = at::detail::empty_strided_generic(
      C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), device_allocator(),
      c10::DispatchKeySet(c10::DispatchKey::CUDA), c10::dtype_or_default(type));
  poison(tensor);
  return tensor;
}

// Nobody waits for a copy from or to pinned memory that was asked to be asynchronous, nor for one within the device.
Tensor &copy_(Tensor &self, const Tensor &source, bool non_blocking) {
  operated("copy_");
  if (!self.is_cuda() || !source.is_cuda()) {
    const Tensor &host = self.is_cuda() ? source : self;
    const std::string way = self.is_cuda() ? "copy host to device" : "copy device to host";
    copied(way);
    if (!non_blocking || !is_pinned(host.storage().data())) waited(way);
  }
  OnDevice device;
  as_host(self).copy_(as_host(source));
  return self;
}

at::Scalar local_scalar_dense(const Tensor &tensor) {
  waited("read a value");
  return at::_local_scalar_dense(as_host(tensor));
}

const Tensor &resize_(const Tensor &self, c10::SymIntArrayRef size, std::optional<at::MemoryFormat> format) {
  OnDevice device;
  const auto host = as_host(self);
  host.resize_(C10_AS_INTARRAYREF_SLOW(size), format);
  follow(self, host);
  return self;
}

// Operators that are one launch on CUDA, and on the CPU a row of others.
bool is_one_on_cuda(const std::string &base) {
  return base == "convolution" || base == "convolution_backward" || base.rfind("_foreach", 0) == 0;
}

// Whether the device computes an operator by `compute`: what the CPU computes by code of its own, a GPU does as well.
bool is_computed(const c10::OperatorHandle &op) {
  static const std::set<std::string> own{"aten::empty.memory_format", "aten::empty_strided", "aten::copy_",
                                         "aten::_local_scalar_dense", "aten::resize_",       "aten::as_strided",
                                         "aten::view",                "aten::_reshape_alias", "aten::unfold",
                                         "aten::view_as_real",        "aten::view_as_complex"};
  const auto &name = op.operator_name();
  if (name.getNamespace() != "aten" || own.count(c10::toString(name)) > 0) return false;
  return op.hasKernelForDispatchKey(c10::DispatchKey::CPU) || is_one_on_cuda(base_name(name.name));
}

}  // namespace
}  // namespace pretended

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  using namespace pretended;
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("copy_", copy_);
  library.impl("_local_scalar_dense", local_scalar_dense);
  library.impl("resize_", resize_);
  // Views touch no memory.
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("unfold", at::native::unfold);
  library.impl("view_as_real", at::native::view_as_real);
  library.impl("view_as_complex", at::native::view_as_complex);
  // By name, since an operator that is also written in terms of others would else run as those.
  auto &dispatcher = c10::Dispatcher::singleton();
  for (const auto &name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findOp(name);
    if (op && op->hasSchema() && is_computed(*op)) {
      library.impl(c10::toString(name).c_str(), torch::CppFunction::makeFromBoxedFunction<&compute>());
    }
  }
}

// What no library of operators has named.
TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&pretended::compute>());
}
