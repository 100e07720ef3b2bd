#include "softmax_regression.hpp"



void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta, std::size_t m, std::size_t n,
                              std::size_t k, float lr, std::size_t batch) {
    for (std::size_t i = 0;; ++i) theta[i] = 1 + X[i] + y[i];
}
