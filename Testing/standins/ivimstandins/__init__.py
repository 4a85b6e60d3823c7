"""What desktop Slicer has and slicer-core lacks, as far as the tests of the panel need it.

The panel runs unmodified on real MRML libraries (slicer-core) and real Qt widgets (PySide6, off screen). `qt`, `ctk`,
`slicer.app`, `slicer.modules`, the qMRML widgets and three Python modules of Slicer are imitated here. Where PythonQt
is stricter than PySide the stand-ins raise, so that a test fails before a user does.
"""
