"""What X may be: rows, arrays of images, files and datasets."""
