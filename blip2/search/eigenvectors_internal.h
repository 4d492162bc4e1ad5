#pragma once

#include <cstddef>
#include <vector>

namespace blip2 {

// The eigenvectors of a symmetric matrix [n, n], a row for each, of the largest eigenvalue first
// (Jacobi's method, Golub and Van Loan, section 8.5). They are orthonormal to the precision of
// doubles.
std::vector<double> eigenvectors(std::vector<double> matrix, std::size_t n);

}  // namespace blip2
