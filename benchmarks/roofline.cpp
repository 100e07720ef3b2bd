// Measures the limits of this machine, with two loops in one thread. Prints two numbers:
//
//   GFLOP/s  of multiply-adds that never leave the registers (2 operations each)
//   GB/s     of adding up an array that is too large for the caches
//
// Argument: the number of floats in that array.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using Lanes [[gnu::vector_size(32)]] = float;
constexpr std::size_t LANES = sizeof(Lanes) / sizeof(float);
constexpr std::size_t SUMS = 12;  // independent sums, so that one addition need not wait for another

volatile float sink, one = 1;  // volatile: the compiler neither knows their values nor leaves out code that uses them

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double multiply_adds() {
    constexpr std::size_t ROUNDS = 20'000'000;
    Lanes sums[SUMS];
    for (auto &sum : sums) sum = Lanes{} + one;
    const Lanes factor = Lanes{} + one, term = Lanes{} + one;
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t round = 0; round < ROUNDS; ++round)
        for (auto &sum : sums) sum = sum * factor + term;
    const double seconds = seconds_since(start);
    for (const auto &sum : sums) sink = sum[0];
    return 2.0 * ROUNDS * SUMS * LANES / seconds / 1e9;
}

double reads(std::size_t size) {
    const std::vector<Lanes> array(size / LANES, Lanes{} + one);
    Lanes sums[SUMS] = {};
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i + SUMS <= array.size(); i += SUMS)
        for (std::size_t s = 0; s < SUMS; ++s) sums[s] += array[i + s];
    const double seconds = seconds_since(start);
    for (const auto &sum : sums) sink = sum[0];
    return static_cast<double>(array.size() * sizeof(Lanes)) / seconds / 1e9;
}

}  // namespace

int main(int, char **arguments) {
    std::printf("%.3f %.3f\n", multiply_adds(), reads(std::strtoull(arguments[1], nullptr, 10)));
}
