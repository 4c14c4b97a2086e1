//! The cluster router. (being built)
