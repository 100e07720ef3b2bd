import tensorflow as tf


class ManualLinear(tf.Module): ...
