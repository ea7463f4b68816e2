"""Fitted models as numpy code that is served; imports no scikit-learn, of which `sklearn_kernels` takes one compiled function."""
