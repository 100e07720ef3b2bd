// The epoch of src/softmax_ext/softmax_regression.cpp, tuned: how close can one core come to its limits?
//
// It computes the same values, and benchmarks.epochs and benchmarks.roofline measure it. Nobody is expected to write
// this for the assignment. docs/cpp-extension.md explains each step and what it gained.
#include "softmax_regression.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

// Two products take nearly all of the time: the logits X theta and the gradient Xᵀ (P - I_y). Both are
// sums of products, so the multiply-add units of the processor have to be kept busy:
//
//   - theta is kept transposed for the epoch, so that the innermost loops of both products run along
//     the features, which are contiguous in X, and work on LANES of them at once.
//   - Each value that is loaded is used several times: a tile of some rows × some classes is summed up
//     in registers.
//   - X is read from memory once. Four rows at a time go through logits, softmax and gradient while
//     they are in the cache. Meanwhile the next four are prefetched, half of them by each product.

namespace {

constexpr std::size_t LANES = 8;    // floats in an AVX register, or in two of SSE or NEON
constexpr std::size_t ROWS = 4;     // examples that go through the three steps together
constexpr std::size_t CLASSES = 5;  // classes in a tile; the number of classes is padded to whole tiles

// Examples in a tile of logits, a divisor of ROWS. TILE × CLASSES sums have to fit in the registers.
#ifdef __AVX512VL__
constexpr std::size_t TILE = 4;  // of 32
#else
constexpr std::size_t TILE = 2;  // of 16
#endif

// LANES floats with + and *, lane by lane. GCC and Clang share this extension of C++. They turn a loop
// over a float[LANES] into vector instructions too, but not dependably.
using Lanes [[gnu::vector_size(LANES * sizeof(float))]] = float;

// A row of X seen as Lanes, wherever in memory it starts.
struct [[gnu::packed, gnu::may_alias]] RowLanes {
    Lanes value;
};
const RowLanes *lanes_of(const float *row) { return reinterpret_cast<const RowLanes *>(row); }

using Rows = const float *[ROWS];

// LANES features of CLASSES classes.
using Block = std::array<Lanes, CLASSES>;

// A float for each feature and class, in the order in which the tiles read them: the blocks of the first CLASSES
// classes along all features, then those of the next. Padded to whole blocks. Zero at first.
class Packed {
public:
    Packed(std::size_t n, std::size_t k)
        : width((n + LANES - 1) / LANES), blocks((k + CLASSES - 1) / CLASSES * width) {
        clear();
    }
    Block *tile(std::size_t c0) { return blocks.data() + c0 / CLASSES * width; }
    Lanes &lanes(std::size_t j, std::size_t c) { return tile(c)[j / LANES][c % CLASSES]; }
    void clear() { std::fill(blocks.begin(), blocks.end(), Block{}); }

    std::size_t width;
    std::vector<Block> blocks;
};

// Z[a][c] = sum over j of rows[a][j] * weights[c][j]
void compute_logits(const Rows &rows, const Rows &next, Packed &weights, std::size_t n, std::size_t k,
                    std::vector<float> (&Z)[ROWS]) {
    const std::size_t whole = n / LANES;
    for (std::size_t c0 = 0; c0 < k; c0 += CLASSES) {
        const Block *tile = weights.tile(c0);
        for (std::size_t a0 = 0; a0 < ROWS; a0 += TILE) {
            Lanes sums[TILE][CLASSES] = {};
            for (std::size_t j = 0; j < whole; ++j)
                for (std::size_t a = 0; a < TILE; ++a) {
                    if (c0 == 0 && a0 + a < ROWS / 2) __builtin_prefetch(next[a0 + a] + j * LANES, 0, 2);
                    const Lanes x = lanes_of(rows[a0 + a])[j].value;
                    for (std::size_t c = 0; c < CLASSES; ++c) sums[a][c] += x * tile[j][c];
                }
            for (std::size_t a = 0; a < TILE; ++a)
                for (std::size_t c = 0; c < CLASSES; ++c) {
                    float sum = 0;
                    for (std::size_t l = 0; l < LANES; ++l) sum += sums[a][c][l];
                    for (std::size_t j = whole * LANES; j < n; ++j)
                        sum += rows[a0 + a][j] * tile[whole][c][j % LANES];
                    Z[a0 + a][c0 + c] = sum;
                }
        }
    }
}

// gradient[c][j] += sum over a of rows[a][j] * errors[a][c]
void add_gradient(const Rows &rows, const Rows &next, const std::vector<float> (&errors)[ROWS], std::size_t n,
                  std::size_t k, Packed &gradient) {
    const std::size_t whole = n / LANES;
    for (std::size_t c0 = 0; c0 < k; c0 += CLASSES) {
        Block *tile = gradient.tile(c0);
        float error[ROWS][CLASSES];
        for (std::size_t a = 0; a < ROWS; ++a) std::copy_n(&errors[a][c0], CLASSES, error[a]);

        for (std::size_t j = 0; j < whole; ++j) {
            if (c0 == 0)
                for (std::size_t a = ROWS / 2; a < ROWS; ++a) __builtin_prefetch(next[a] + j * LANES, 0, 2);
            Lanes x[ROWS];
            for (std::size_t a = 0; a < ROWS; ++a) x[a] = lanes_of(rows[a])[j].value;
            for (std::size_t c = 0; c < CLASSES; ++c) {
                Lanes sum = tile[j][c];
                for (std::size_t a = 0; a < ROWS; ++a) sum += x[a] * error[a][c];
                tile[j][c] = sum;
            }
        }
        for (std::size_t j = whole * LANES; j < n; ++j)
            for (std::size_t c = 0; c < CLASSES; ++c)
                for (std::size_t a = 0; a < ROWS; ++a)
                    tile[whole][c][j % LANES] += rows[a][j] * error[a][c];
    }
}

// Turns the k logits of one example into P - I_y.
void softmax_error(float *z, std::size_t k, std::uint8_t label) {
    const float largest = *std::max_element(z, z + k);
    float sum = 0;
    for (std::size_t c = 0; c < k; ++c) sum += z[c] = std::exp(z[c] - largest);
    for (std::size_t c = 0; c < k; ++c) z[c] /= sum;
    z[label] -= 1;
}

}  // namespace

void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta,
                              std::size_t m, std::size_t n, std::size_t k,
                              float lr, std::size_t batch) {
    Packed weights(n, k), gradient(n, k);
    for (std::size_t j = 0; j < n; ++j)
        for (std::size_t c = 0; c < k; ++c) weights.lanes(j, c)[j % LANES] = theta[j * k + c];

    std::vector<float> Z[ROWS];
    for (auto &z : Z) z.resize((k + CLASSES - 1) / CLASSES * CLASSES);

    for (std::size_t start = 0, b; start < m; start += b) {
        b = std::min(batch, m - start);
        const std::size_t end = start + b;
        gradient.clear();
        for (std::size_t i = start; i < end; i += ROWS) {
            Rows rows, next;
            for (std::size_t a = 0; a < ROWS; ++a) {
                rows[a] = X + std::min(i + a, end - 1) * n;  // beyond the end: the last row again, error 0
                next[a] = X + std::min(i + ROWS + a, m - 1) * n;
            }
            compute_logits(rows, next, weights, n, k, Z);
            for (std::size_t a = 0; a < ROWS; ++a)
                if (i + a < end)
                    softmax_error(Z[a].data(), k, y[i + a]);
                else
                    std::fill(Z[a].begin(), Z[a].end(), 0.0f);
            add_gradient(rows, next, Z, n, k, gradient);
        }
        const float step = lr / static_cast<float>(b);
        for (std::size_t q = 0; q < weights.blocks.size(); ++q)
            for (std::size_t c = 0; c < CLASSES; ++c) weights.blocks[q][c] -= step * gradient.blocks[q][c];
    }

    for (std::size_t j = 0; j < n; ++j)
        for (std::size_t c = 0; c < k; ++c) theta[j * k + c] = weights.lanes(j, c)[j % LANES];
}
