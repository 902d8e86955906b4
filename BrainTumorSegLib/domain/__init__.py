"""The field's concepts: sequences, labels, images and their place in space. Needs numpy and scipy alone."""
