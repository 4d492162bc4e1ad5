// The one source that owns the precompiled torch header; every other target reuses it.
