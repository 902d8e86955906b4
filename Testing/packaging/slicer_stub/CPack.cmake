# Slicer packs what was installed; there is nothing to do for that here.
