#include "softmax_regression.hpp"

#include <cmath>

void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta, std::size_t m, std::size_t n,
                              std::size_t k, float lr, std::size_t batch) {
    for (std::size_t i = 0; i < m; i += batch) {
        float *Z = new float[batch * k];
        for (std::size_t a = 0; a < batch; a++) {
            float sum = 0;
            for (std::size_t c = 0; c < k; c++) {
                Z[a * k + c] = 0;
                for (std::size_t j = 0; j < n; j++) Z[a * k + c] += X[(i + a) * n + j] * theta[j * k + c];
                Z[a * k + c] = std::exp(Z[a * k + c]);
                sum += Z[a * k + c];
            }
            for (std::size_t c = 0; c < k; c++) Z[a * k + c] /= sum;
            Z[a * k + y[i + a]] -= 1;
        }
        float *grad = new float[n * k];
        for (std::size_t j = 0; j < n; j++)
            for (std::size_t c = 0; c < k; c++) {
                grad[j * k + c] = 0;
                for (std::size_t a = 0; a < batch; a++) grad[j * k + c] += X[(i + a) * n + j] * Z[a * k + c];
            }
        for (std::size_t q = 0; q < n * k; q++) theta[q] -= lr / batch * grad[q];
    }
}
