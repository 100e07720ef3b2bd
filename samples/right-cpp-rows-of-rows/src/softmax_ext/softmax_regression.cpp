#include "softmax_regression.hpp"

#include <cmath>
#include <vector>

using Matrix = std::vector<std::vector<float>>;

static Matrix product(const Matrix &A, const Matrix &B) {
    Matrix C(A.size(), std::vector<float>(B[0].size()));
    for (std::size_t i = 0; i < A.size(); i++)
        for (std::size_t j = 0; j < B.size(); j++)
            for (std::size_t c = 0; c < B[0].size(); c++) C[i][c] += A[i][j] * B[j][c];
    return C;
}

static Matrix transposed(const Matrix &A) {
    Matrix T(A[0].size());
    for (const auto &row : A)
        for (std::size_t j = 0; j < row.size(); j++) T[j].push_back(row[j]);
    return T;
}

void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta, std::size_t m, std::size_t n,
                              std::size_t k, float lr, std::size_t batch) {
    for (std::size_t start = 0; start < m; start += batch) {
        Matrix x, weights;
        for (std::size_t i = start; i < m && i - start < batch; i++) x.emplace_back(X + i * n, X + (i + 1) * n);
        for (std::size_t j = 0; j < n; j++) weights.emplace_back(theta + j * k, theta + (j + 1) * k);
        Matrix Z = product(x, weights);
        for (std::size_t i = 0; i < Z.size(); i++) {
            float largest = Z[i][0], sum = 0;
            for (float z : Z[i])
                if (z > largest) largest = z;
            for (float &z : Z[i]) sum += z = std::exp(z - largest);
            for (float &z : Z[i]) z /= sum;
            Z[i][y[start + i]] -= 1;
        }
        const Matrix gradient = product(transposed(x), Z);
        for (std::size_t j = 0; j < n; j++)
            for (std::size_t c = 0; c < k; c++) theta[j * k + c] -= lr / x.size() * gradient[j][c];
    }
}
