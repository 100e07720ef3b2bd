// Makes softmax_regression_epoch callable from Python. Given: do not change it.
//
// Every argument is checked here, so that softmax_regression.cpp can rely on what it is told about
// pointers and sizes. Nothing is converted or copied on the way: an update of a copy of theta would be
// lost without a word. Wrong types raise TypeError; wrong shapes, layouts and values raise ValueError.
// Each message says which argument is meant, what it is, and what to pass.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <string>

#include "softmax_regression.hpp"

namespace py = pybind11;

namespace {

std::string text(const py::handle &object) { return py::str(object).cast<std::string>(); }

std::string type_name(const py::handle &object) {
    const py::type type = py::type::of(object);
    const std::string module = text(type.attr("__module__"));
    return (module == "builtins" ? "" : module + ".") + text(type.attr("__qualname__"));
}

std::string shape_of(const py::array &array) { return text(array.attr("shape")); }

// The NumPy array behind `object`, if it has elements of type T; otherwise TypeError.
template <typename T>
py::array array_of(const py::object &object, const std::string &name, const std::string &dtype,
                   const std::string &advice = "") {
    if (!py::isinstance<py::array>(object))
        throw py::type_error(name + " is of type " + type_name(object) +
                             ", not a NumPy array; pass np.asarray(" + name + ", dtype=np." + dtype + ")" +
                             advice);
    if (!py::isinstance<py::array_t<T, 0>>(object))
        throw py::type_error(name + " has dtype " + text(object.attr("dtype")) + ", not " + dtype +
                             "; pass " + name + ".astype(np." + dtype + ")" + advice);
    return py::reinterpret_borrow<py::array>(object);
}

void require_dimensions(const py::array &array, py::ssize_t dimensions, const std::string &name,
                        const std::string &remedy) {
    if (array.ndim() != dimensions)
        throw py::value_error(name + " has shape " + shape_of(array) + ", but must be " +
                              std::to_string(dimensions) + "-dimensional; pass " + remedy);
}

// C-contiguous, and aligned as the processor wants it: what a plain pointer can be used for.
void require_contiguous(const py::array &array, const std::string &name, const std::string &advice = "") {
    if (!(array.flags() & py::array::c_style))
        throw py::value_error(name + " is not C-contiguous (shape " + shape_of(array) + ", strides " +
                              text(array.attr("strides")) + "); pass np.ascontiguousarray(" + name + ")" +
                              advice);
    if (!array.attr("flags").attr("aligned").cast<bool>())
        throw py::value_error(name + " is not aligned in memory; pass " + name + ".copy()" + advice);
}

bool overlap(const py::array &a, const py::array &b) {
    const auto *a_begin = static_cast<const char *>(a.data()), *b_begin = static_cast<const char *>(b.data());
    const std::less<const char *> before;
    return a.nbytes() > 0 && b.nbytes() > 0 && before(a_begin, b_begin + b.nbytes()) &&
           before(b_begin, a_begin + a.nbytes());
}

void require_apart(const py::array &array, const std::string &name, const py::array &theta) {
    if (overlap(array, theta))
        throw py::value_error(name + " shares memory with theta, which is updated in place; pass " + name +
                              ".copy()");
}

float learning_rate(const py::object &lr) {
    const double value = PyFloat_AsDouble(lr.ptr());
    if (PyErr_Occurred()) {
        const bool too_large = PyErr_ExceptionMatches(PyExc_OverflowError);
        PyErr_Clear();
        if (too_large) throw py::value_error("lr is too large for a float32; pass a number such as 0.1");
        throw py::type_error("lr is of type " + type_name(lr) + "; pass a number such as 0.1");
    }
    if (!(std::abs(value) <= std::numeric_limits<float>::max()))
        throw py::value_error("lr is " + text(lr) + ", not a finite float32; pass a number such as 0.1");
    return static_cast<float>(value);
}

std::size_t batch_size(const py::object &batch) {
    if (!PyIndex_Check(batch.ptr()))
        throw py::type_error("batch is of type " + type_name(batch) + "; pass an int such as 100");
    const py::ssize_t value = PyNumber_AsSsize_t(batch.ptr(), nullptr);  // clipped when it is huge
    if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
    if (value <= 0)
        throw py::value_error("batch is " + text(batch) + "; pass an int of at least 1");
    return static_cast<std::size_t>(value);
}

void epoch(const py::object &X_object, const py::object &y_object, const py::object &theta_object,
           const py::object &lr_object, const py::object &batch_object) {
    const std::string in_place = ", and keep that array: theta is updated in place";

    const py::array X = array_of<float>(X_object, "X", "float32");
    const py::array y = array_of<std::uint8_t>(y_object, "y", "uint8");
    py::array theta = array_of<float>(theta_object, "theta", "float32", in_place);
    const float lr = learning_rate(lr_object);
    const std::size_t batch = batch_size(batch_object);

    require_dimensions(X, 2, "X", "one row per example: X.reshape(len(X), -1)");
    require_dimensions(y, 1, "y", "one label per example: y.ravel()");
    require_dimensions(theta, 2, "theta", "one row per feature, one column per class");
    if (y.shape(0) != X.shape(0))
        throw py::value_error("y has " + std::to_string(y.shape(0)) + " labels, but X has " +
                              std::to_string(X.shape(0)) + " rows; pass one label per row of X");
    if (theta.shape(0) != X.shape(1))
        throw py::value_error("theta has " + std::to_string(theta.shape(0)) + " rows, but X has " +
                              std::to_string(X.shape(1)) + " columns; pass theta of " +
                              std::to_string(X.shape(1)) + " rows");

    require_contiguous(X, "X");
    require_contiguous(y, "y");
    require_contiguous(theta, "theta", in_place);
    if (!theta.writeable()) throw py::value_error("theta is read-only; pass theta.copy()" + in_place);
    require_apart(X, "X", theta);
    require_apart(y, "y", theta);

    const auto m = static_cast<std::size_t>(X.shape(0)), n = static_cast<std::size_t>(X.shape(1));
    const auto k = static_cast<std::size_t>(theta.shape(1));
    const auto *labels = static_cast<const std::uint8_t *>(y.data());
    const auto *wrong = std::find_if(labels, labels + m, [k](std::uint8_t label) { return label >= k; });
    if (wrong != labels + m)
        throw py::value_error("y[" + std::to_string(wrong - labels) + "] is " + std::to_string(*wrong) +
                              ", but theta has " + std::to_string(k) + (k == 1 ? " column" : " columns") +
                              "; pass labels below that, or theta with a column for every class");

    const auto *features = static_cast<const float *>(X.data());
    auto *weights = static_cast<float *>(theta.mutable_data());
    const py::gil_scoped_release release;
    softmax_regression_epoch(features, labels, weights, m, n, k, lr, batch);
}

}  // namespace

PYBIND11_MODULE(_softmax_regression, module) {
    py::register_local_exception_translator([](std::exception_ptr error) {
        try {
            if (error) std::rethrow_exception(error);
        } catch (const NotImplemented &missing) {
            PyErr_SetString(PyExc_NotImplementedError, missing.task);
        }
    });
    module.def("softmax_regression_epoch_cpp", &epoch, py::arg("X"), py::arg("y"), py::arg("theta"),
               py::arg("lr") = 0.1, py::arg("batch") = 100,
               R"(One epoch of minibatch SGD for softmax regression. Updates theta in place, returns None.

X      float32 (m, n), C-contiguous: one example per row.
y      uint8 (m,), C-contiguous: labels below k.
theta  float32 (n, k), C-contiguous, writeable.
lr     learning rate, finite.
batch  examples in a minibatch, at least 1. The last minibatch may be smaller and counts as its own size.

Examples are taken in their order. The arguments are used as they are, never converted or copied: what
does not fit raises TypeError (type, dtype) or ValueError (shape, layout, values). Other threads run
meanwhile, and must leave the three arrays alone.)");
}
