"""Do the images fit what the model was made for?"""
