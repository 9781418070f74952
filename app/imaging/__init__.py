"""Pure functions over bytes, images and arrays. Knows no Flask and no model."""
