// What CUDA does with an operator and the CPU does not, by the operator's name.
#pragma once

#include <string>

namespace pretended {

// The name without namespace, overload and the mark of an operator that writes into its argument: `add` of `aten::add_.Tensor`.
std::string base_name(const std::string &full_name);

// May a tensor of the CPU without dimensions stand beside one of the device?
bool takes_scalars(const std::string &base);
// May indices lie on the CPU?
bool takes_indices_of_the_cpu(const std::string &base);
// Does the host wait for the size or the value of the result?
bool waits(const std::string &base);
// May the result differ from one call to the next, because threads add in no fixed order or write to one place?
bool may_vary(const std::string &base);

}  // namespace pretended
