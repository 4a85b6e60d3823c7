"""How good an estimator is, and against what: metrics, limits, benchmarks."""
