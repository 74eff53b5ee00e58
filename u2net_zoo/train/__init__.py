"""Training, in Torch and in Keras, and the metrics of the field."""
