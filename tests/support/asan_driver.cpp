// Runs softmax_regression_epoch under AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer.
//
// Every array is a heap block of exactly its size, so that one element too far is seen. Shapes are the
// awkward ones: partial batches, sizes around multiples of vector registers, one class, one feature.
// Results are compared with a plain double-precision loop, because an access that goes astray inside an
// array is seen by no sanitizer. Prints how many runs it made; exits with 1 if a number is off.
#include "softmax_regression.hpp"

#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

namespace {

// Numbers in [-1, 1) that are the same everywhere.
class Random {
public:
    double next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<double>(state >> 11) / (1ull << 52) - 1;
    }

private:
    std::uint64_t state = 1;
};

std::vector<double> reference(const float *X, const std::uint8_t *y, const float *theta, std::size_t m,
                              std::size_t n, std::size_t k, double lr, std::size_t batch) {
    std::vector<double> weights(theta, theta + n * k);
    for (std::size_t start = 0; start < m; start += batch) {
        const std::size_t end = m - start < batch ? m : start + batch;
        std::vector<double> gradient(n * k);
        for (std::size_t i = start; i < end; ++i) {
            std::vector<double> z(k);
            double largest = -INFINITY, sum = 0;
            for (std::size_t c = 0; c < k; ++c) {
                for (std::size_t j = 0; j < n; ++j) z[c] += X[i * n + j] * weights[j * k + c];
                largest = std::fmax(largest, z[c]);
            }
            for (double &value : z) sum += value = std::exp(value - largest);
            for (std::size_t c = 0; c < k; ++c)
                for (std::size_t j = 0; j < n; ++j)
                    gradient[j * k + c] += X[i * n + j] * (z[c] / sum - (c == y[i]));
        }
        const double step = lr / static_cast<double>(end - start);
        for (std::size_t q = 0; q < n * k; ++q) weights[q] -= step * gradient[q];
    }
    return weights;
}

bool agrees(std::size_t m, std::size_t n, std::size_t k, std::size_t batch, Random &random) {
    const std::unique_ptr<float[]> X(new float[m * n]), theta(new float[n * k]);
    const std::unique_ptr<std::uint8_t[]> y(new std::uint8_t[m]);
    for (std::size_t q = 0; q < m * n; ++q) X[q] = static_cast<float>(random.next());
    for (std::size_t q = 0; q < n * k; ++q) theta[q] = static_cast<float>(random.next());
    for (std::size_t i = 0; i < m; ++i)
        y[i] = static_cast<std::uint8_t>((random.next() + 1) / 2 * static_cast<double>(k));

    const auto expected = reference(X.get(), y.get(), theta.get(), m, n, k, 0.5, batch);
    softmax_regression_epoch(X.get(), y.get(), theta.get(), m, n, k, 0.5f, batch);
    for (std::size_t q = 0; q < n * k; ++q)
        if (!(std::abs(theta[q] - expected[q]) < 1e-4)) {
            std::printf("m=%zu n=%zu k=%zu batch=%zu: theta[%zu] is %g, not %g\n", m, n, k, batch, q,
                        static_cast<double>(theta[q]), expected[q]);
            return false;
        }
    return true;
}

}  // namespace

int main() {
    Random random;
    int runs = 0;
    for (std::size_t m : {0, 1, 2, 3, 4, 5, 7, 10, 13})
        for (std::size_t n : {1, 3, 7, 8, 9, 15, 16, 17, 33})
            for (std::size_t k : {1, 2, 3, 5, 10, 17, 33})
                for (std::size_t batch : {1, 3, 4, 5, 100}) {
                    if (!agrees(m, n, k, batch, random)) return 1;
                    ++runs;
                }
    std::printf("%d runs\n", runs);
}
