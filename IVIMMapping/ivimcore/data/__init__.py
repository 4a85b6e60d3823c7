"""Files in, files out: one DwiSeries from whatever holds a diffusion-weighted series, one set of maps back."""
