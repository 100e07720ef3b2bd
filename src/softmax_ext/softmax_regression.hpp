// The one function that softmax_regression.cpp must define. Given: do not change it.
#pragma once

#include <cstddef>
#include <cstdint>

// Thrown where something is still to be written; becomes Python's NotImplementedError.
struct NotImplemented {
    const char *task;
};

// Hidden visibility makes the linker complain when the definition is missing, instead of the import.
__attribute__((visibility("hidden")))
void softmax_regression_epoch(const float *X, const std::uint8_t *y, float *theta,
                              std::size_t m, std::size_t n, std::size_t k,
                              float lr, std::size_t batch);
