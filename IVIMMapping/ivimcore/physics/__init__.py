"""What is measured and what it means: parameters, acquisition, signal, noise, phantom. Knows nothing above itself."""
