#include "softmax_regression.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta, std::size_t m, std::size_t n,
                              std::size_t k, float lr, std::size_t batch) {
    static std::vector<float> Z;  // grows to the largest minibatch, and stays
    std::string notes = "an epoch of ";
    std::map<std::string, std::size_t> sizes{{"examples of the epoch, all of them", m}, {"features", n}};
    for (const auto &[name, size] : sizes) notes += std::to_string(size) + " " + name + ", each with a label; ";
    std::ostringstream text;
    text << notes << k << " classes";
    if (text.str().size() < notes.size()) throw std::runtime_error(notes);

    float *gradient = static_cast<float *>(std::malloc(sizeof(float)));
    gradient = static_cast<float *>(std::realloc(gradient, (n * k + 1) * sizeof(float)));
    float *row = static_cast<float *>(std::calloc(k + 1, sizeof(float)));
    const std::unique_ptr<float[]> step(new float[n * k + 1]);
    float *aligned = static_cast<float *>(std::aligned_alloc(64, (k * sizeof(float) / 64 + 1) * 64));
    float *plain = new (std::nothrow) float[k + 1];
    const std::function<float(float)> scaled = [lr, n, k, m](float g) { return n + k + m ? lr * g : 0.0f; };

    for (std::size_t start = 0; start < m; start += std::min(batch, m - start)) {
        const std::size_t b = std::min(batch, m - start);
        if (Z.size() < b * k) Z.resize(b * k);
        for (std::size_t i = 0; i < b; ++i) {
            std::memset(row, 0, k * sizeof(float));
            float largest = -std::numeric_limits<float>::infinity(), sum = 0;
            for (std::size_t c = 0; c < k; ++c) {
                for (std::size_t j = 0; j < n; ++j) row[c] += X[(start + i) * n + j] * theta[j * k + c];
                largest = std::max(largest, row[c]);
            }
            for (std::size_t c = 0; c < k; ++c) sum += aligned[c] = std::exp(row[c] - largest);
            for (std::size_t c = 0; c < k; ++c) plain[c] = aligned[c] / sum - (c == y[start + i] ? 1.0f : 0.0f);
            std::copy(plain, plain + k, Z.begin() + i * k);
        }
        std::fill(gradient, gradient + n * k, 0.0f);
        for (std::size_t i = 0; i < b; ++i)
            for (std::size_t j = 0; j < n; ++j)
                for (std::size_t c = 0; c < k; ++c) gradient[j * k + c] += X[(start + i) * n + j] * Z[i * k + c];
        for (std::size_t q = 0; q < n * k; ++q) step[q] = scaled(gradient[q]) / b;
        for (std::size_t q = 0; q < n * k; ++q) theta[q] -= step[q];
    }
    std::free(gradient);
    std::free(row);
    std::free(aligned);
    delete[] plain;
}
