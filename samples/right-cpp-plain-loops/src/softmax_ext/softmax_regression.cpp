// Another right solution of src/softmax_ext/softmax_regression.cpp: short and slow. The wrong ones start from it.
#include "softmax_regression.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta, std::size_t m, std::size_t n,
                              std::size_t k, float lr, std::size_t batch) {
    for (std::size_t start = 0; start < m; start += batch) {
        const std::size_t b = std::min(batch, m - start);
        std::vector<float> Z(b * k);
        std::vector<float> gradient(n * k);
        for (std::size_t i = 0; i < b; ++i) {
            const float *x = X + (start + i) * n;
            float *z = &Z[i * k];
            for (std::size_t j = 0; j < n; ++j)
                for (std::size_t c = 0; c < k; ++c) z[c] += x[j] * theta[j * k + c];
            const float largest = *std::max_element(z, z + k);
            float sum = 0;
            for (std::size_t c = 0; c < k; ++c) sum += z[c] = std::exp(z[c] - largest);
            for (std::size_t c = 0; c < k; ++c) z[c] /= sum;
            z[y[start + i]] -= 1;
            for (std::size_t j = 0; j < n; ++j)
                for (std::size_t c = 0; c < k; ++c) gradient[j * k + c] += x[j] * z[c];
        }
        for (std::size_t q = 0; q < n * k; ++q) theta[q] -= lr / b * gradient[q];
    }
}
