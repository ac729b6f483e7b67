#include "rules.h"

#include <set>

namespace pretended {
namespace {

// Pointwise operators of libtorch's TensorIterator that are built with `allow_cpu_scalars`, and those that read a value that they are
// given as a tensor.
const std::set<std::string> SCALARS{
    "add", "sub", "mul", "div", "rsub", "remainder", "fmod", "floor_divide", "true_divide", "pow", "atan2", "hypot",
    "maximum", "minimum", "fmax", "fmin", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or",
    "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "copysign", "nextafter", "heaviside", "xlogy",
    "logaddexp", "addcmul", "addcdiv", "lerp", "where", "clamp", "clamp_min", "clamp_max", "masked_fill", "fill",
    "index_fill", "index_put", "_index_put_impl", "copy", "sigmoid_backward", "tanh_backward", "threshold_backward",
    "threshold", "smooth_l1_loss", "mse_loss", "huber_loss", "_fused_adam", "_fused_adamw", "_fused_sgd",
    "_foreach_mul", "_foreach_div", "_foreach_add"};

const std::set<std::string> INDICES{"index", "index_put", "_index_put_impl"};

// Operators whose CUDA code reads something back, mostly the size of the result.
const std::set<std::string> WAITS{"nonzero",   "masked_select",      "_unique",      "_unique2", "unique_dim",
                                  "bincount",  "unique_consecutive", "unique_dim_consecutive", "equal",
                                  "histc",     "_embedding_bag",     "_ctc_loss",    "repeat_interleave",
                                  "is_nonzero", "linalg_inv_ex",     "linalg_eig",   "_linalg_svd",
                                  "allclose"};

// torch.use_deterministic_algorithms of PyTorch 2.11 lists them, those with a slower way that is the same every time among them;
// here by the operator that runs, which for some is the one of the backward pass.
const std::set<std::string> VARYING{
    // Additions in no fixed order.
    "index_add", "scatter_add", "scatter_reduce", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward", "avg_pool3d_backward", "max_pool3d_with_indices_backward",
    "fractional_max_pool2d_backward", "fractional_max_pool3d_backward", "upsample_linear1d_backward",
    "upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "upsample_trilinear3d_backward",
    "_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward", "reflection_pad1d_backward",
    "reflection_pad2d_backward", "reflection_pad3d_backward", "replication_pad1d_backward",
    "replication_pad2d_backward", "replication_pad3d_backward", "nll_loss2d_forward", "_ctc_loss_backward",
    "_embedding_bag_dense_backward", "grid_sampler_2d_backward", "grid_sampler_3d_backward", "histc", "bincount",
    "cumsum", "put",
    // One of several values is written.
    "scatter", "index_copy", "index_put", "_index_put_impl", "max_unpool2d", "max_unpool3d", "median", "nanmedian",
    "kthvalue"};

}  // namespace

std::string base_name(const std::string &full_name) {
  const auto colons = full_name.rfind("::");
  auto name = colons == std::string::npos ? full_name : full_name.substr(colons + 2);
  name = name.substr(0, name.find('.'));
  return name.size() > 1 && name.back() == '_' ? name.substr(0, name.size() - 1) : name;
}

bool takes_scalars(const std::string &base) { return SCALARS.count(base) > 0; }
bool takes_indices_of_the_cpu(const std::string &base) { return INDICES.count(base) > 0; }
bool waits(const std::string &base) { return WAITS.count(base) > 0; }
bool may_vary(const std::string &base) { return VARYING.count(base) > 0; }

}  // namespace pretended
