#include "blip2/search/eigenvectors_internal.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace blip2 {
namespace {

// Rows a and b become cos * a - sin * b and sin * a + cos * b.
void turn_rows(std::vector<double>& matrix, std::size_t n, std::size_t a, std::size_t b, double cos,
               double sin) {
  double* x = matrix.data() + a * n;
  double* y = matrix.data() + b * n;
  for (std::size_t i = 0; i < n; ++i) {
    const double p = x[i], q = y[i];
    x[i] = cos * p - sin * q;
    y[i] = sin * p + cos * q;
  }
}

void turn_columns(std::vector<double>& matrix, std::size_t n, std::size_t a, std::size_t b,
                  double cos, double sin) {
  for (double* row = matrix.data(); row != matrix.data() + n * n; row += n) {
    const double p = row[a], q = row[b];
    row[a] = cos * p - sin * q;
    row[b] = sin * p + cos * q;
  }
}

// Turns rows and columns a and b so that the number where they meet becomes 0.
void annihilate(std::vector<double>& matrix, std::vector<double>& vectors, std::size_t n,
                std::size_t a, std::size_t b) {
  const double slope = (matrix[b * n + b] - matrix[a * n + a]) / (2 * matrix[a * n + b]);
  const double tan = std::copysign(1.0, slope) / (std::abs(slope) + std::hypot(1.0, slope));
  const double cos = 1 / std::hypot(1.0, tan), sin = tan * cos;
  turn_rows(matrix, n, a, b, cos, sin);
  turn_columns(matrix, n, a, b, cos, sin);
  turn_rows(vectors, n, a, b, cos, sin);
  matrix[a * n + b] = matrix[b * n + a] = 0;
}

// Annihilates every number above the diagonal that is more than `least`; how many there were.
std::size_t sweep(std::vector<double>& matrix, std::vector<double>& vectors, std::size_t n,
                  double least) {
  std::size_t turned = 0;
  for (std::size_t a = 0; a + 1 < n; ++a) {
    for (std::size_t b = a + 1; b < n; ++b) {
      if (std::abs(matrix[a * n + b]) <= least) continue;
      annihilate(matrix, vectors, n, a, b);
      ++turned;
    }
  }
  return turned;
}

}  // namespace

std::vector<double> eigenvectors(std::vector<double> matrix, std::size_t n) {
  constexpr int kMostSweeps = 30;
  std::vector<double> vectors(n * n);
  for (std::size_t i = 0; i < n; ++i) vectors[i * n + i] = 1;
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += std::abs(matrix[i * n + i]);
  // What is left beside the diagonal only mixes directions of nearly the same size.
  const double least = 1e-9 * trace / static_cast<double>(std::max<std::size_t>(n, 1));
  for (int i = 0; i < kMostSweeps && sweep(matrix, vectors, n, least) > 0; ++i) {
  }
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return matrix[a * n + a] > matrix[b * n + b];
  });
  std::vector<double> sorted;
  sorted.reserve(n * n);
  for (const std::size_t i : order) {
    sorted.insert(sorted.end(), vectors.begin() + static_cast<std::ptrdiff_t>(i * n),
                  vectors.begin() + static_cast<std::ptrdiff_t>((i + 1) * n));
  }
  return sorted;
}

}  // namespace blip2
