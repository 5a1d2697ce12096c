"""The commands of ``dd-recipes``, one module each; imported when they are called."""
