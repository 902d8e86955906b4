"""3D Slicer's surroundings without the application: the module file runs on a real MRML scene and real Qt widgets.

The scene, its nodes and logics come from slicer-core, the widgets from PySide6 on Qt's off-screen platform. This
package adds what lies between the two inside the application, at least as strict as the original: PythonQt's way
to spell Qt (:mod:`.pythonqt`), CTK and qMRML widgets, ``slicer.app``, file readers and writers, and the Python base
classes. :func:`.start.start` puts it together, once per process, since it changes PySide6 for the whole process.
"""
