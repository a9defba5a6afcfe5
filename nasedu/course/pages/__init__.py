"""The course as pages for a browser: one file each, without scripts, that needs no network."""
