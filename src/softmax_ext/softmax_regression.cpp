// Task1: one epoch of minibatch stochastic gradient descent for softmax regression, in C++.
//
// This is the only C++ file you write. binding.cpp, which is given, checks what Python passes in and
// calls the function below; importing the package compiles both. `python -m src.softmax_ext.build`
// shows everything the compiler has to say.
//
//   void softmax_regression_epoch(X, y, theta, m, n, k, lr, batch)
//
//   X      m × n floats, row-major: example i starts at X[i * n]. Read only.
//   y      m labels, each in 0 … k-1, up to 255. The highest classes need not occur. Read only.
//   theta  n × k floats, row-major: the weight of feature j for class c is theta[j * k + c].
//          Updated in place: it is the only result.
//   lr     the learning rate.
//   batch  examples in a minibatch, at least 1. It may be larger than m, by any amount.
//
// Go through the examples once, in their order, without shuffling: rows 0 … batch-1 are the first
// minibatch, the next `batch` rows the second, and so on. The last minibatch has the rows that are
// left over, possibly fewer than `batch`. For each minibatch X_b of b rows, with labels y_b, do what
// the NumPy version does:
//
//   Z      = X_b theta                      b × k, the logits, with theta as the last minibatch left it
//   P      = softmax(Z), row by row         P_ic = exp(Z_ic) / sum over c of exp(Z_ic)
//   theta -= lr / b * X_bᵀ (P - I_y)        I_y is one-hot: 1 at (i, y_i), 0 elsewhere
//
// Here b is the number of rows in this minibatch, so the last one is divided by its own size.
//
// What your code must also be
//   stable     Logits of ±10000 give finite, right results: exp overflows a float beyond 88, so
//              subtract the largest logit of a row from all of them first. It cancels in P.
//   careful    It reads and writes nothing outside the arrays, those that it allocates included: the last
//              minibatch ends at row m. The elements of `new float[n]` can be anything before you set them.
//   tidy       What it allocates it frees: new[] with delete[], malloc with free. Use std::vector, which
//              does so by itself: `float Z[batch * k]` is not C++, and a large minibatch overflows the stack.
//   float      float arithmetic is enough: results agree with NumPy's float32 to about 1e-5.
//
// m may be 0: then nothing changes. k may be 1, or more than 256. There are no other threads to think
// of, and none are needed.
#include "softmax_regression.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

// ### BEGIN SOLUTION
namespace {

// A sum is kept as LANES partial sums: vector registers add them side by side, and none has to wait
// for another.
constexpr std::size_t LANES = 16;

float total(const float (&sums)[LANES]) {
    float sum = 0;
    for (std::size_t l = 0; l < 4; ++l) sum += (sums[l] + sums[l + 4]) + (sums[l + 8] + sums[l + 12]);
    return sum;
}

// z[0], z[k], z[2 * k], z[3 * k] = the dot products of w with four rows. Each w[j] is loaded once for
// all four.
void dot_products(const float *const (&x)[4], const float *w, std::size_t n, float *z, std::size_t k) {
    float s0[LANES] = {}, s1[LANES] = {}, s2[LANES] = {}, s3[LANES] = {};
    const auto add = [&](std::size_t j, std::size_t lanes) {
        for (std::size_t l = 0; l < lanes; ++l) {
            s0[l] += x[0][j + l] * w[j + l];
            s1[l] += x[1][j + l] * w[j + l];
            s2[l] += x[2][j + l] * w[j + l];
            s3[l] += x[3][j + l] * w[j + l];
        }
    };
    std::size_t j = 0;
    for (; j + LANES <= n; j += LANES) add(j, LANES);
    add(j, n - j);
    z[0] = total(s0);
    z[k] = total(s1);
    z[2 * k] = total(s2);
    z[3 * k] = total(s3);
}

// Turns the k logits of one example into its row of P - I_y.
void softmax_error(float *z, std::size_t k, std::uint8_t label) {
    const float largest = *std::max_element(z, z + k);
    float sum = 0;
    for (std::size_t c = 0; c < k; ++c) sum += z[c] = std::exp(z[c] - largest);
    for (std::size_t c = 0; c < k; ++c) z[c] /= sum;
    z[label] -= 1;
}

}  // namespace
// ### END SOLUTION

void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta,
                              std::size_t m, std::size_t n, std::size_t k,
                              float lr, std::size_t batch) {
    // ### BEGIN SOLUTION
    std::vector<float> weights(k * n);  // theta transposed: the features of a class are contiguous, as in X
    for (std::size_t j = 0; j < n; ++j)
        for (std::size_t c = 0; c < k; ++c) weights[c * n + j] = theta[j * k + c];

    for (std::size_t start = 0; start < m; start += batch) {
        const std::size_t b = std::min(batch, m - start), end = start + b;
        std::vector<float> Z(4 * k);
        std::vector<float> gradient(k * n);  // transposed, as the weights are
        for (std::size_t i = start; i < end; i += 4) {
            const float *x[4];
            for (std::size_t a = 0; a < 4; ++a) x[a] = X + std::min(i + a, end - 1) * n;
            for (std::size_t c = 0; c < k; ++c) dot_products(x, weights.data() + c * n, n, &Z[c], k);
            for (std::size_t a = 0; a < 4; ++a)
                if (i + a < end)
                    softmax_error(&Z[a * k], k, y[i + a]);
                else  // beyond the last row, which x[a] repeats
                    std::fill_n(&Z[a * k], k, 0.0f);
            for (std::size_t c = 0; c < k; ++c) {
                const float e0 = Z[c], e1 = Z[k + c], e2 = Z[2 * k + c], e3 = Z[3 * k + c];
                float *g = gradient.data() + c * n;
                for (std::size_t j = 0; j < n; ++j)
                    g[j] += x[0][j] * e0 + x[1][j] * e1 + x[2][j] * e2 + x[3][j] * e3;
            }
        }
        for (std::size_t q = 0; q < k * n; ++q) weights[q] -= lr / b * gradient[q];
    }

    for (std::size_t j = 0; j < n; ++j)
        for (std::size_t c = 0; c < k; ++c) theta[j * k + c] = weights[c * n + j];
    // ### END SOLUTION
}
