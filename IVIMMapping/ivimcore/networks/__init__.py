"""The only room that imports torch; it is reached inside `fit`, never when a file is imported."""
