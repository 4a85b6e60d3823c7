"""slicer.i18n without translations."""


def translate(context, text):
    """Return `text` itself."""
    return text


def tr(text):
    """Return `text` itself."""
    return text
